"""Trials: a training set put together, a network trained on it, its probabilities on a fold's test part."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from components.classification.classifier import fit
from components.classification.networks import NETWORKS
from components.classification.params import ClassifyParams
from components.core.contract import Run
from components.core.errors import UserError
from components.core.images import ImageSet
from components.core.training import History, classic_copies, device, seed_draws


@dataclass(frozen=True)
class Outcome:
    """A trained network, the number of images it was trained on, and its probabilities (N, classes) in the test."""

    network: nn.Module
    history: History
    images: int
    probabilities: np.ndarray
    scores: dict[str, float]


class Trial:
    """One network's trials on one fold; only the training set differs from one to the next.

    Args:
        data: the prepared image set.
        generated: images that descend from this fold's training part, or None.
        fold: its test part is the test.
        network: a key of `NETWORKS`.
        params: settings of the classifier.
        run: of the step.

    Raises:
        UserError: the generated images descend from anything but this fold's training part (a leak).
    """

    def __init__(
        self, data: Path, generated: Path | None, fold: int, network: str, params: ClassifyParams, run: Run
    ) -> None:
        real = ImageSet.load(data)
        self._training, self._test = real.training(fold), real.test(fold)
        self._generated = ImageSet.load(generated) if generated else None
        self._network, self._params, self._run = network, params, run
        self.config = {"classes": len(real.classes), "in_channels": real.images.shape[1], "width": params.width}
        self.origin = self._training.digest()
        self.test_labels = self._test.labels.tolist()
        if self._generated and self._generated.origin != self.origin:
            raise UserError(
                f"The images in {generated} do not descend from the training part of fold {fold}; generate them again."
            )
        run.journal.dataset(f"fold {fold}, training part", self.origin, str(data), self._training.counts())

    def conduct(self, ratio: int, *, classic: bool, name: str) -> Outcome:
        """Train on the real images, `ratio` generated ones per real one and, with `classic`, augmented copies; test.

        Args:
            ratio: each class gets `ratio` × its own number of real images, so the balance of the classes stays.
            classic: whether flipped and shifted copies of the real images join in.
            name: of the training's checkpoint.
        """
        seed_draws(self._run, "augmentation")
        images, labels = self._training_set(ratio, classic)
        seed_draws(self._run, "network")
        network = NETWORKS[self._network](**self.config)
        classifier, history = fit(network, images, labels, self._params, self._run, name)
        test_images, _ = tensors(self._test)
        probabilities = classifier.predict(test_images.to(device())).double().cpu().numpy()
        return Outcome(network, history, len(images), probabilities, scores(self._test.labels, probabilities))

    def _training_set(self, ratio: int, classic: bool) -> tuple[Tensor, Tensor]:
        images, labels = tensors(self._training)
        parts = [(images, labels)]
        if classic:
            copies = classic_copies(images, self._params.translation)
            parts = [(copies, labels.repeat(len(copies) // len(images)))]
        if ratio:
            parts += [self._generated_part(label, ratio) for label in self._training.classes]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _generated_part(self, label: str, ratio: int) -> tuple[Tensor, Tensor]:
        needed = ratio * len(self._training.of_class(label))
        there = self._generated.of_class(label) if self._generated else ()
        if len(there) < needed:
            raise UserError(
                f"A ratio of {ratio} needs {needed} generated images of class '{label}', there are {len(there)}; "
                "raise cardiac.synthesize.ratio."
            )
        return tensors(there.where(np.arange(needed)))


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, and balanced accuracy: the mean over the classes of the share that is recognised."""
    right = probabilities.argmax(axis=1) == labels
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    return {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}


def tensors(part: ImageSet) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of a set."""
    return torch.from_numpy(np.array(part.images)), torch.from_numpy(part.labels)
