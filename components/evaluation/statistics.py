"""What may be said of the difference between two treatments: its interval, and what the run could have shown.

A training set, a loss, a network is a treatment; people, photographs are the *units* a score is a mean over; a fold's
training, or one seed's, is a *training*. Both are samples, and both move the difference: other people, or the same
recipe trained once more. Trainings are the readers and units the cases of a multi-reader multi-case study, whose
statistics these are:

- Obuchowski & Rockette 1995, "Hypothesis testing of diagnostic accuracy for multiple readers and multiple tests", with
  the degrees of freedom of Hillis 2007, where several trainings answered for the same units;
- Obuchowski, Gallas & Hillis 2012, "Multi-reader ROC studies with split-plot designs": folds are blocks, each with
  units and trainings of its own; where each fold was trained once, what is left is Student's t over the folds;
- external units, whom every fold's trainings answered for, are one block with all of these trainings: paired by unit.
  For a mean over the folds the model needs no more: the variance is a training's own, divided by their number, and the
  covariance of any two, however alike those of one fold are; what folds differ by on the whole adds to the error;
- DeLong, DeLong & Clarke-Pearson 1988 for the covariance over units of paired areas under the ROC curve, at the cost of
  Sun & Xu 2014.

A bootstrap over people alone holds the trainings fixed and finds effects where there are none: `tests/benchmarks/power`
counts how often, and what is found of true ones. The training part is not resampled: another cohort to *train* on is
beyond these intervals (Bengio & Grandvalet 2004: no unbiased estimator of that variance exists).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import rankdata, t

LEVEL = 0.05
"""Two-sided chance of an interval that leaves out the true difference, and of a wrong verdict."""

POWER = 0.8
"""With which the smallest effect that a run could have shown would have been found."""

REPLICATES = 3
"""From so many trainings of a fold on, a difference is the recipe's; below, it is that of the models at hand."""

Answer = Literal["yes", "no", "no worse", "not shown", "open"]

Shares = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Labels (n,) and probabilities (..., n, classes) → every unit's share (..., n) in a score.

A score is the sum over the classes of the mean of the class's shares. So much of any score is enough for its interval,
since units of a class are a sample; for the area under the ROC curve they are Hoeffding's projection.
"""


@dataclass(frozen=True)
class Block:
    """Units that the same trainings answered for: a fold's test people, external people, test photographs.

    Attributes:
        shares: (trainings, units), each unit's share in a score, or in the difference of two treatments': its sum over
            the classes of the class's mean.
        labels: (units,) the class each unit was sampled from; all equal where there are none.
        parts: training parts that the trainings divide evenly into, such as folds whose trainings all answered for
            external people; trainings on one part are replicates.
    """

    shares: np.ndarray
    labels: np.ndarray
    parts: int = 1

    def scores(self) -> np.ndarray:
        """(trainings,) the score, or difference of scores, of each training."""
        return sum(self.shares[:, self.labels == label].mean(axis=1) for label in np.unique(self.labels))


@dataclass(frozen=True)
class Difference:
    """A difference of two treatments' scores.

    Attributes:
        estimate: not a number where nothing could be scored.
        error: standard error; infinite where one training leaves its chance unknown.
        freedom: degrees of freedom of the error.
        replicates: trainings behind it on each training part.
    """

    estimate: float
    error: float
    freedom: float
    replicates: int

    @property
    def interval(self) -> tuple[float, float]:
        """Holds the true difference in 95 % of runs."""
        margin = t.ppf(1 - LEVEL / 2, self.freedom) * self.error
        return float(self.estimate - margin), float(self.estimate + margin)

    @property
    def smallest_effect(self) -> float:
        """The smallest true difference that such a run finds with `POWER`, to first order."""
        return float((t.ppf(1 - LEVEL / 2, self.freedom) + t.ppf(POWER, self.freedom)) * self.error)

    @property
    def p(self) -> float:
        """Two-sided chance of a difference as large without a true one."""
        if not self.known:
            return 1.0
        if not self.error:  # equal answers everywhere, as a judge gives that has learnt nothing
            return float(not self.estimate)
        return float(2 * t.sf(abs(self.estimate) / self.error, self.freedom))

    @property
    def known(self) -> bool:
        """Whether anything can be said of the error."""
        return math.isfinite(self.error)

    @property
    def scope(self) -> str:
        """Whom a verdict is about."""
        return "this recipe" if self.replicates >= REPLICATES else "these models"

    def answer(self, margin: float | None = None, p: float | None = None) -> Answer:
        """Is the first treatment better?

        Args:
            margin: a loss that would not matter, where non-inferiority is the question: "no worse" where no gain is
                shown, but any loss is smaller. One interval answers both questions without a correction (CPMP 2000,
                "Points to consider on switching between superiority and non-inferiority").
            p: in place of the difference's own, where it is one of several (`holm`).
        """
        if not self.known:
            return "open"
        if (self.p if p is None else p) < LEVEL:
            return "yes" if self.estimate > 0 else "no"
        return "no worse" if margin is not None and self.interval[0] > -margin else "not shown"


def difference(blocks: Sequence[Block]) -> Difference:
    """The mean over the blocks of the difference of two treatments' scores, over units and trainings.

    With several trainings a block, the variance is that between them plus the units' covariance across trainings; with
    one, that between blocks, which holds both. An error is never below what one unit weighs in its block: few people
    may agree by chance in every fold.

    Args:
        blocks: disjoint sets of units, each with trainings of its own, equally many.
    """
    if not blocks:
        return Difference(math.nan, math.inf, math.inf, 0)
    count, trainings = len(blocks), len(blocks[0].shares)
    scores = np.array([block.scores() for block in blocks])  # (blocks, trainings)
    least = np.mean([1 / len(block.labels) ** 2 for block in blocks])
    units, freedom = _covariance(blocks) if trainings > 1 else (0.0, 0.0)
    if freedom:
        chance = scores.var(axis=1, ddof=1).mean() / trainings
        variance = chance + units
        freedom = variance**2 / (chance**2 / (count * (trainings - 1)) + units**2 / freedom) if variance else freedom
    else:
        folds = of_trainings(scores.mean(axis=1))
        variance, freedom = folds.error**2 * count, folds.freedom
    error, replicates = math.sqrt(max(variance, least) / count), trainings // blocks[0].parts
    return Difference(float(scores.mean()), error, float(freedom), replicates)


def of_trainings(differences: Sequence[float]) -> Difference:
    """The mean over trainings of a score that is a training's as a whole, as an Inception Score is: Student's t.

    Args:
        differences: of the two treatments, one for each pair of trainings.
    """
    count = len(differences)
    error = float(np.std(differences, ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return Difference(float(np.mean(differences)), error, count - 1 or math.inf, count)


def of_parts(differences: Sequence[float]) -> Difference:
    """The same of one training each, over parts of what they made: of these models, whatever they were made to draw.

    Args:
        differences: of the two treatments, one for each pair of parts.
    """
    return replace(of_trainings(differences), replicates=1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several comparisons for each other (Holm 1979): below 0.05 holds for all of them at once."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(len(order), 0, -1))
    return np.minimum(adjusted, 1).tolist()


def unit_means(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Mean over each unit's images, the units in the order of their names: (..., N, C), (N,) → (..., units, C)."""
    _, index, counts = np.unique(units, return_inverse=True, return_counts=True)
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    return np.add.reduceat(values[..., np.argsort(index, kind="stable"), :], starts, axis=-2) / counts[:, None]


def auc_shares(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, the mean over the classes of each against the rest; every class is among the labels.

    One curve a fold's models, never one over several folds': probabilities of different models have no common scale.
    Where models differ in level by half a logit's standard deviation within a class, one curve over four folds of 100
    people costs 0.02 of area; by a whole one, 0.06, and a quarter more deviation of a difference. Where they do not
    differ, it gains 4 % of deviation (`tests/benchmarks/power`).
    """
    classes = probabilities.shape[-1]
    sizes = np.bincount(labels, minlength=classes)
    shares = np.zeros(probabilities.shape[:-1])
    for label in range(classes):
        own, rest = labels == label, labels != label
        placements = rankdata(probabilities[..., label], axis=-1)  # below: among all, minus among one's own kind
        for kind, others in ((own, rest), (rest, own)):
            ranks = rankdata(probabilities[..., kind, label], axis=-1)
            placements[..., kind] = (placements[..., kind] - ranks) / others.sum()
        placements[..., rest] = 1 - placements[..., rest]
        area = placements[..., own].mean(axis=-1, keepdims=True)
        weights = np.where(own, 1, sizes[labels] / rest.sum())
        shares += (placements - area / 2) * weights / classes
    return shares


def accuracy_shares(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Share of units answered rightly."""
    return (probabilities.argmax(axis=-1) == labels) * (np.bincount(labels)[labels] / len(labels))


def balanced_accuracy_shares(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean over the classes present of the share answered rightly."""
    return (probabilities.argmax(axis=-1) == labels) / len(np.unique(labels))


def _covariance(blocks: Sequence[Block]) -> tuple[float, float]:
    """Covariance over units of two trainings' differences, the mean over blocks, with its degrees of freedom.

    Classes are pooled over the blocks, each about its block's mean. 0 degrees where no block has two units of a class.
    """
    trainings = len(blocks[0].shares)
    parts, freedoms = [], []
    for label in np.unique(np.concatenate([block.labels for block in blocks])):
        shares = [found for block in blocks if (found := block.shares[:, block.labels == label]).size]
        freedom = sum(each.shape[1] - 1 for each in shares)
        if not freedom:
            return 0.0, 0.0
        centred = np.concatenate([each - each.mean(axis=1, keepdims=True) for each in shares], axis=1)
        alone, together = (centred**2).sum() / trainings, (centred.mean(axis=0) ** 2).sum()
        covariance = (trainings * together - alone) / (trainings - 1) / freedom
        parts.append(covariance * sum(1 / each.shape[1] for each in shares) / len(blocks))
        freedoms.append(freedom)
    total = max(sum(parts), 0.0)
    spread = sum(part**2 / freedom for part, freedom in zip(parts, freedoms, strict=True))
    return total, total**2 / spread if total else float(sum(freedoms))
