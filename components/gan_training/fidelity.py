"""Class fidelity: do generated images show the class that their label says?

The generator of one class may draw the other's hearts. Networks that learned from the fold's real training people tell,
each from all but a part of them. What such a network says of the people it did not see is the scale for what it says of
generated images: one contradicts its label where it shows the class less than all but a few of the class's real images
do. So atypical hearts stay, as there are some among real ones; and where people are too few to teach how the classes
differ, real images are called all ways, too, and next to nothing contradicts. (A cross-conformal predictor: Vovk 2015,
"Cross-conformal predictors".)
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from components.core.contract import Run
from components.core.images import ImageSet
from components.core.training import Judge, as_floats, seed_draws, train_judge

PARTS = 5
"""Of the training people, each unseen by one network; fewer where a class has fewer people."""

FEW = 0.1
"""Share of a class's real images. On five folds of simulated people of other seeds 45 % of the other class's hearts
contradict, and 10 % of honest ones; with 0.05 30 and 6 %, with 0.2 64 and 20 %; where the networks'
plain answer decides, 71 and 29 %, and of healthy hearts in two folds more than half."""

BATCH_SIZE = 100
"""Images that a network is shown at once."""


@dataclass(frozen=True)
class Count:
    """What became of one class's images.

    Attributes:
        drawn: images, with those drawn again.
        contradicting: of these.
        left: images that stay although they contradict, as they did however often they were drawn.
    """

    drawn: int
    contradicting: int
    left: int

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class _Juror:
    """One network, and what it says of the real images that it did not see.

    Attributes:
        labels: (N,) of these images.
        beliefs: (N, classes), logarithms of probabilities.
    """

    judge: Judge
    labels: np.ndarray
    beliefs: np.ndarray


class Jury:
    """Networks that tell the classes of a training part apart.

    Where a class shows one person only there are none, and nothing contradicts.

    Args:
        real: the training part.
        run: of the step.
    """

    def __init__(self, real: ImageSet, run: Run) -> None:
        self._jurors = []
        parts = _parts(real)
        for part in range(1, parts.max() + 1):
            seed_draws(run, "jury", int(part))
            seen, unseen = real.where(parts != part), real.where(parts == part)
            judge = train_judge(seen.images, seen.labels, len(real.classes), members=1)
            self._jurors.append(_Juror(judge, unseen.labels, _beliefs(judge, unseen.images)))

    def typicality(self, images: np.ndarray, label: int) -> np.ndarray:
        """(N,) share of a class's real images that show the class no more than each of these (N, C, H, W) does."""
        if not self._jurors:
            return np.ones(len(images))
        real = [juror.beliefs[juror.labels == label, label] for juror in self._jurors]
        asked = [_beliefs(juror.judge, images)[:, label] for juror in self._jurors]
        below = [(known[:, None] <= said).sum(axis=0) for known, said in zip(real, asked, strict=True)]
        return np.sum(below, axis=0) / sum(map(len, real))

    def choose(
        self, draw: Callable[[int, int], np.ndarray], label: int, count: int, redraws: int
    ) -> tuple[np.ndarray, Count]:
        """Images of one class, drawn again where they contradict it; where they always do, the most typical stays.

        Args:
            draw: makes so many images, (n, C, H, W), for the so-many-th time, from 0.
            label: their class's index.
            count: of images.
            redraws: so often is an image drawn again, at most.
        """
        images = draw(count, 0)
        typical = self.typicality(images, label)
        drawn, contradicting = count, int((typical <= FEW).sum())
        for time in range(1, redraws + 1):
            wrong = np.flatnonzero(typical <= FEW)
            if not len(wrong):
                break
            again = draw(len(wrong), time)
            found = self.typicality(again, label)
            better = found > typical[wrong]
            images[wrong[better]], typical[wrong[better]] = again[better], found[better]
            drawn, contradicting = drawn + len(again), contradicting + int((found <= FEW).sum())
        return images, Count(drawn, contradicting, int((typical <= FEW).sum()))


def _parts(real: ImageSet) -> np.ndarray:
    """(N,) the part of each image, from 1: every class's people are dealt out in the order of their names."""
    people = [np.unique(real.of_class(name).groups) for name in real.classes]
    count = min(PARTS, *map(len, people))
    if count < 2:
        return np.zeros(len(real), dtype=int)
    dealt = {person: 1 + place % count for each in people for place, person in enumerate(each.tolist())}
    return np.array([dealt[person] for person in real.groups.tolist()])


def _beliefs(judge: Judge, images: np.ndarray) -> np.ndarray:
    """(N, classes), logarithms of probabilities."""
    with torch.no_grad():
        parts = torch.from_numpy(np.array(images)).split(BATCH_SIZE)
        return torch.cat([judge(as_floats(part)) for part in parts]).numpy()
