"""The trainings of the colour pipeline: found, checked, and what they recorded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np

from components.core.errors import UserError
from components.core.images import ALL, TEST_FOLD, ImageSet, model_facts
from components.evaluation.colour.params import Variant
from components.evaluation.histories import History, read_history

VARIANTS: tuple[Variant, ...] = get_args(Variant)


@dataclass(frozen=True)
class Training:
    """One GAN's training.

    Attributes:
        dataset: the class of its photographs, `ALL` for every one.
        replicate: its number.
        origin: digest of the training part that it saw.
    """

    folder: Path
    variant: Variant
    dataset: str
    replicate: int
    origin: str

    @classmethod
    def read(cls, folder: Path) -> "Training":
        facts = model_facts(folder)
        return cls(folder, facts["kind"], facts["dataset"], facts["replicate"], facts["origin"])

    def __str__(self) -> str:
        return _name((self.variant, self.dataset, self.replicate))

    def rendered(self) -> np.ndarray:
        """The test photographs in its colours, (M, 3, s, s) uint8."""
        return np.load(self.folder / "rendered.npy")

    def history(self) -> History:
        return read_history(self.folder / "history.csv")


Trainings = Mapping[str, Mapping[Variant, Sequence[Training]]]
"""By data set, the first being the largest; each variant's in the order of the replicates."""


def subject(dataset: str) -> str:
    """A data set in words."""
    return "all photographs" if dataset == ALL else dataset


def find_trainings(folders: Iterable[Path], data: ImageSet) -> Trainings:
    """Every variant's trainings on every data set; the order of folders is forgotten.

    Args:
        folders: what `train_colour` wrote.
        data: the photographs, from whose training part all must descend.

    Raises:
        UserError: one is absent, there twice, or of other photographs.
    """
    found = [Training.read(folder) for folder in folders]
    names = {each.dataset for each in found}
    datasets = [name for name in (ALL, *data.classes) if name in names]
    if unknown := sorted(names - set(datasets)):
        raise UserError(f"There are trainings on {', '.join(unknown)}, of which there are no photographs; remove them.")
    replicates = sorted({each.replicate for each in found})
    counts = Counter((each.variant, each.dataset, each.replicate) for each in found)
    if missing := [_name(key) for key in product(VARIANTS, datasets, replicates) if not counts[key]]:
        raise UserError(f"The evaluation lacks the training of {', '.join(missing)}; run it.")
    if twice := [_name(key) for key, count in counts.items() if count > 1]:
        raise UserError(f"The evaluation was given the training of {', '.join(twice)} twice; give each once.")
    origins = {name: data.of_class(name).training(TEST_FOLD).digest() for name in datasets}
    if leaks := [str(each) for each in found if each.origin != origins[each.dataset]]:
        raise UserError(
            f"Not trained on the training part of these photographs: {', '.join(leaks)}; "
            "train again on it, else the test photographs leak."
        )
    by_key = {(each.dataset, each.variant, each.replicate): each for each in found}
    return {
        dataset: {variant: [by_key[dataset, variant, number] for number in replicates] for variant in VARIANTS}
        for dataset in datasets
    }


def _name(key: tuple[Variant, str, int]) -> str:
    variant, dataset, replicate = key
    return f"{variant} on {dataset} (replicate {replicate})"
