"""What the colour evaluation is made from: photographs, and trainings that belong to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from components.core.errors import UserError
from components.core.images import TEST_FOLD, ImageSet, as_levels, to_grey
from components.core.training import as_floats, centre_crop
from components.evaluation.colour.params import Variant
from components.evaluation.colour.trainings import Trainings, find_trainings


@dataclass(frozen=True)
class Pictures:
    """The test photographs of one data set, each (M, 3, s, s) uint8.

    Attributes:
        names: of the photographs.
        training: number of photographs that the variants were trained on.
        grey: the grey value copied to three channels, what a rendering is made from.
        rendered: by variant, a set for each replicate.
    """

    names: tuple[str, ...]
    training: int
    originals: np.ndarray
    grey: np.ndarray
    rendered: Mapping[Variant, list[np.ndarray]]


@dataclass(frozen=True)
class Sources:
    """The inputs of the evaluation, checked."""

    data: ImageSet
    trainings: Trainings

    @classmethod
    def find(cls, *, data: Path, trainings: list[Path]) -> "Sources":
        """Load what is needed of them all.

        Raises:
            UserError: a training is absent, there twice, or of other photographs.
        """
        photographs = ImageSet.load(data)
        return cls(photographs, find_trainings(trainings, photographs))

    def pictures(self, dataset: str) -> Pictures:
        """A data set's test photographs beside their renderings.

        Raises:
            UserError: there is no test photograph, or a training rendered others.
        """
        part = self.data.of_class(dataset)
        test = part.test(TEST_FOLD)
        if not len(test):
            raise UserError(f"There is no test photograph of {dataset} to judge by; add some.")
        rendered = {
            variant: [training.rendered() for training in trainings]
            for variant, trainings in self.trainings[dataset].items()
        }
        size = next(iter(rendered.values()))[0].shape[-1]
        cropped = centre_crop(torch.from_numpy(test.images), size)
        originals = cropped.numpy()
        for variant, sets in rendered.items():
            for training, each in zip(self.trainings[dataset][variant], sets, strict=True):
                if each.shape != originals.shape:
                    raise UserError(
                        f"The training of {training} rendered pictures of shape {each.shape}, not the "
                        f"{originals.shape} of the test photographs; train it again."
                    )
        grey = as_levels(to_grey(as_floats(cropped)).numpy())
        return Pictures(
            names=tuple(test.groups.tolist()),
            training=len(part) - len(test),
            originals=originals,
            grey=np.repeat(grey, 3, axis=1),
            rendered=rendered,
        )
