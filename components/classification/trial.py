"""Trials: a training set put together, a network trained on it, its probabilities on test images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from components.classification.classifier import Classifier, fit
from components.classification.networks import NETWORKS
from components.classification.params import ClassifyParams
from components.core.contract import Run, derive_seed
from components.core.errors import UserError
from components.core.images import EXTERNAL, RESERVE, ImageSet
from components.core.training import Batches, History, as_floats, device, flip_turn_and_shift, seed_draws


@dataclass(frozen=True)
class Outcome:
    """A trained network and its answers.

    Attributes:
        images: number of training images, real ones and others.
        probabilities: (N, classes), of the fold's test part.
        external: (M, classes), of the external test people's images.
        scores: of both, by name.
    """

    network: nn.Module
    history: History
    images: int
    probabilities: np.ndarray
    external: np.ndarray
    scores: dict[str, float]


class Trial:
    """One network's trials on one fold; only the training set differs from one to the next.

    Every trial begins with the same weights and sees the same real images in the same order, turned and shifted alike.

    Args:
        data: the prepared image set.
        fold: its test part is the test.
        network: a key of `NETWORKS`.
        params: settings of the classifier.
        run: of the step.
    """

    def __init__(self, data: Path, fold: int, network: str, params: ClassifyParams, run: Run) -> None:
        real = ImageSet.load(data)
        self.training, self.test, self.external = real.training(fold), real.test(fold), real.test(EXTERNAL)
        self._reserve = real.test(RESERVE)
        self._fold, self._network, self._params, self._run = fold, network, params, run
        self.config = {"classes": len(real.classes), "in_channels": real.images.shape[1], "width": params.width}
        self.origin = self.training.digest()
        run.journal.dataset(f"fold {fold}, training part", self.origin, str(data), self.training.counts())

    def generated(self, directory: Path | None, ratio: int) -> ImageSet:
        """Generated images, `ratio` per real one.

        Raises:
            UserError: there are too few, or they descend from anything but this fold's training part (a leak).
        """
        if directory is None:
            raise UserError("A training set with generated images needs them; give the folder that has them.")
        images = ImageSet.load(directory)
        if images.origin != self.origin:
            raise UserError(
                f"The images in {directory} do not descend from the training part of fold {self._fold}; "
                "generate them again."
            )
        return self._enough(images, ratio, "generated images", "raise cardiac.synthesize.ratio")

    def oracle(self, ratio: int) -> ImageSet:
        """Images of further people, `ratio` per real one: what a perfect generator would draw.

        Raises:
            UserError: there are too few; only a simulated cohort has any.
        """
        remedy = "raise cardiac.simulate.reserve, or leave the control 'oracle' out where the cohort is not simulated"
        return self._enough(self._reserve, ratio, "images of people in reserve", remedy)

    def repeat(self, ratio: int) -> ImageSet:
        """The real images again, `ratio` times: what comes from seeing more images a batch, and not from new ones."""
        return self.training.where(np.tile(np.arange(len(self.training)), ratio))

    def conduct(self, added: ImageSet | None, *, augmented: bool, name: str) -> Outcome:
        """Train on the real images, half of every batch where others join them; test.

        Args:
            added: images beside the real ones, or None.
            augmented: whether all images are varied on the fly.
            name: of the training's checkpoint.
        """
        params, run = self._params, self._run
        parts = {"real": self.training} | ({"generated": added} if added else {})
        sources = {purpose: self._batches(part, purpose) for purpose, part in parts.items()}
        seed_draws(run, "network")
        network = NETWORKS[self._network](**self.config)
        join = self._join(augmented)
        classifier, history = fit(network, list(sources.values()), params, run, augment=join, name=name)
        # The test images are real; half of what the network has seen may not be.
        seed_draws(run, "statistics")
        epoch = range(-(-len(self.training) // params.batch_size))
        classifier.estimate_statistics(join(sources["real"][number])[0] for number in epoch)
        probabilities, external = (_answers(classifier, part) for part in (self.test, self.external))
        tested = scores(self.test, probabilities)
        if len(self.external):
            tested |= {f"external_{score}": value for score, value in scores(self.external, external).items()}
        return Outcome(network, history, sum(map(len, parts.values())), probabilities, external, tested)

    def _batches(self, part: ImageSet, purpose: str) -> Batches:
        """Real images and those that join them each have an order of their own, so neither hangs on the other."""
        images, labels = tensors(part)
        seed = derive_seed(self._run.seed, purpose)
        return Batches(images.to(device()), labels.to(device()), batch_size=self._params.batch_size, seed=seed)

    def _join(self, augmented: bool) -> Callable[[list[Tensor]], list[Tensor]]:
        """What makes one batch of real images and labels, and of those that join them, if any do."""

        def join(batch: list[Tensor]) -> list[Tensor]:
            parts = [as_floats(images) for images in batch[::2]]
            if augmented:  # the real ones first: their draws hang on nothing that joins them
                extent = self._params.augmentation
                parts = [flip_turn_and_shift(images, extent.rotation, extent.shift) for images in parts]
            return [torch.cat(parts), torch.cat(batch[1::2])]

        return join

    def _enough(self, images: ImageSet, ratio: int, what: str, remedy: str) -> ImageSet:
        """The first images of each class, `ratio` × its number of real ones, so the balance of the classes stays."""
        chosen = []
        for index, (label, count) in enumerate(self.training.counts().items()):
            there = np.flatnonzero(images.labels == index)
            if len(there) < ratio * count:
                raise UserError(
                    f"A ratio of {ratio} needs {ratio * count} {what} of class '{label}', there are {len(there)}; "
                    f"{remedy}."
                )
            chosen.append(there[: ratio * count])
        return images.where(np.concatenate(chosen))


def scores(part: ImageSet, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, balanced accuracy (mean over the classes of the share that is recognised), and the people's AUC.

    A person's probabilities are the means over their images'. The AUC (for more than two classes, the mean of each
    against the rest) is left out where a class is absent or images belong to nobody.
    """
    right = probabilities.argmax(axis=1) == part.labels
    recalls = [right[part.labels == label].mean() for label in np.unique(part.labels)]
    found = {"accuracy": float(right.mean()), "balanced_accuracy": float(np.mean(recalls))}
    _, first, person = np.unique(part.groups, return_index=True, return_inverse=True)
    labels, classes = part.labels[first], probabilities.shape[1]
    if len(np.unique(labels)) == classes:
        means = np.array([np.bincount(person, each) for each in probabilities.T]).T / np.bincount(person)[:, None]
        answers = means[:, 1] if classes == 2 else means
        found["person_auc"] = float(roc_auc_score(labels, answers, multi_class="ovr"))
    return found


def tensors(part: ImageSet) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and labels (N,) of a set."""
    return torch.from_numpy(np.array(part.images)), torch.from_numpy(part.labels)


def _answers(classifier: Classifier, part: ImageSet) -> np.ndarray:
    """Probabilities (N, classes) of a set's images, which may be none."""
    images, _ = tensors(part)
    return classifier.predict(images.to(device())).double().cpu().numpy()
