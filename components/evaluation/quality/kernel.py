"""Kernel distance with the chance it is measured with: people, not images, are a sample.

Squared maximum mean discrepancy with the cubic kernel, unbiased (Bińkowski et al. 2018, "Demystifying MMD GANs"):
around 0 for sets from one distribution, below it as often as above. Its mean over pairs is taken over pairs of
different *groups*: two slices of one person are more alike than two people are, and such pairs would tell apart two
groups of people that differ in nothing.

Its interval is the jackknife's, one group left out at a time (Efron & Stein 1981: the variance it gives is never too
small on average, also where both sets come from one distribution and a bootstrap of the statistic fails). It needs no
draws, and two distances from the same real people, or of images made from each other, can be subtracted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.evaluation.statistics import Difference, of_trainings

Array = TypeVar("Array")


def cubic_kernel(some: Array, others: Array) -> Array:
    """(x·y / F + 1)³ of features (N, F) and (M, F): (N, M), NumPy's or torch's."""
    return (some @ others.T / some.shape[1] + 1) ** 3


class Estimate(BaseModel):
    """A statistic with its standard error, as JSON.

    Attributes:
        value, error: None where there are too few people to say.
        freedom: degrees of freedom of the error.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    error: float | None
    freedom: int

    @classmethod
    def unknown(cls) -> "Estimate":
        return cls(value=None, error=None, freedom=0)


@dataclass(frozen=True)
class Sampled:
    """A statistic of several samples, and what it would have been without each of their units.

    Attributes:
        estimate: not a number where a sample has fewer than two units.
        left_out: a sample each, (units,), in the order of the units' names; not a number where too few are left.
    """

    estimate: float
    left_out: tuple[np.ndarray, ...]

    def __sub__(self, other: "Sampled") -> "Sampled":
        """The difference of two statistics of the same samples, or of samples paired unit by unit."""
        pairs = zip(self.left_out, other.left_out, strict=True)
        return Sampled(self.estimate - other.estimate, tuple(ours - theirs for ours, theirs in pairs))

    def summary(self) -> Estimate:
        """The estimate with the jackknife's standard error; its degrees of freedom are those of the smallest sample."""
        variance = sum((len(each) - 1) * float(np.var(each)) for each in self.left_out)
        return Estimate(
            value=self.estimate if np.isfinite(self.estimate) else None,
            error=variance**0.5 if np.isfinite(variance) else None,
            freedom=min(len(each) for each in self.left_out) - 1,
        )


def kernel_distance(
    real: np.ndarray, fake: np.ndarray, people: np.ndarray, fake_groups: np.ndarray | None = None
) -> Sampled:
    """The distance of images from real ones.

    Args:
        real: features, (N, F).
        fake: features, (M, F).
        people: (N,) whom each real image shows.
        fake_groups: (M,) where the images to compare show people, too; else each stands for itself.
    """
    groups = np.arange(len(fake)) if fake_groups is None else fake_groups
    ours, theirs = _within(cubic_kernel(real, real), people), _within(cubic_kernel(fake, fake), groups)
    crossed = cubic_kernel(real, fake)
    between = _beyond(crossed.sum(axis=1), len(fake), people), _beyond(crossed.sum(axis=0), len(real), groups)
    mean = float(crossed.mean())
    return Sampled(
        ours.estimate + theirs.estimate - 2 * mean,
        (
            ours.left_out[0] + theirs.estimate - 2 * between[0],
            ours.estimate + theirs.left_out[0] - 2 * between[1],
        ),
    )


def over_folds(estimates: Iterable[Estimate]) -> Difference:
    """The mean over folds, each with people and a training of its own, with Student's interval.

    The error is that between the folds, which holds both chances, people's and trainings'; it is never taken to be
    smaller than people and images alone make it, since few folds may agree by chance. One fold has the latter only.
    """
    known = [each for each in estimates if each.value is not None]
    if not known:
        return Difference(math.nan, math.inf, math.inf, 0)
    errors = [each.error for each in known if each.error is not None]
    within = math.sqrt(sum(error**2 for error in errors)) / len(known)
    between = of_trainings([each.value for each in known])
    if between.known:
        return replace(between, error=max(between.error, within), replicates=1)
    return replace(between, error=within if errors else math.inf, freedom=max(1, known[0].freedom))


def _within(kernel: np.ndarray, groups: np.ndarray) -> Sampled:
    """Mean of the kernel over all pairs of images of different groups."""
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    rows = kernel.sum(axis=1) - np.where(index[:, None] == index, kernel, 0).sum(axis=1)
    sums, pairs = np.bincount(index, rows), sizes * (len(groups) - sizes)
    return Sampled(_ratio(sums.sum(), pairs.sum()).item(), (_ratio(sums.sum() - 2 * sums, pairs.sum() - 2 * pairs),))


def _beyond(rows: np.ndarray, columns: int, groups: np.ndarray) -> np.ndarray:
    """Mean of a kernel between two sets, without each group of the first: `rows` are its sums over the second."""
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return _ratio(rows.sum() - np.bincount(index, rows), (len(groups) - sizes) * columns)


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    sums, counts = np.asarray(sums, dtype=np.float64), np.asarray(counts)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
