"""How often verdicts are wrong, and how often they find what is there: `python tests/benchmarks/power.py`.

Simulated experiments: people with slices, four folds, one training or three a fold, trainings that scatter by 0.03 to
0.05 of area under the ROC curve. Three tables.

1. One curve over the people of all folds, or the mean of one curve a fold: the area (0.8 is true) and the deviation of
   the difference of two treatments, where the folds' models differ in level by so many of a logit's deviations.
2. Experiments without an effect that end in a verdict, of which 5 % are allowed: ours, and a bootstrap over people
   alone, for the folds' people and for external ones, whom all folds' models answer for.
3. Experiments with an effect where ours says "yes", and the smallest effect that it says it would have shown in 80 %.

The exit code is 1 where ours is wrong more often than chance allows.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import binom, norm

from components.evaluation.statistics import LEVEL, Block, Difference, auc_shares, difference, unit_means

Fold = tuple[np.ndarray, np.ndarray]
"""Labels (people,) and probabilities (treatments, experiments, trainings, people, classes) of the same people."""


@dataclass(frozen=True)
class World:
    """Where experiments come from: two treatments, and people whom both treatments' models answer for.

    A slice's logit is its class's mean, the person's own part that all models see, what one model sees in the person
    and in the slice, and the model's level; the classes' distance differs from training to training.

    Attributes:
        positive: share of people who are.
        scatter: standard deviation of a training's area under the curve; trainings are independent.
        area: under the curve, the first treatment's; the second's is larger by `effect`.
        likeness: correlation of two models' opinions of people.
        kinship: of what a model alone sees in a person, the share that all trainings on its fold see.
        level: standard deviation of a model's level, in those of a logit within a class.
        external: whether all folds' models answer for the same people, or each fold's for its own.
    """

    people: int = 40
    positive: float = 0.75
    folds: int = 4
    replicates: int = 1
    slices: int = 2
    scatter: float = 0.04
    area: float = 0.8
    effect: float = 0.0
    likeness: float = 0.6
    kinship: float = 0.0
    level: float = 0.5
    external: bool = False

    def experiments(self, count: int, seed: int) -> list[Fold]:
        """So many experiments at once, fold by fold; external people are one fold with all the trainings."""
        random = np.random.default_rng(seed)
        if self.external:
            return [self._fold(self.people, self.folds, count, random)]
        return [self._fold(self.people // self.folds, 1, count, random) for _ in range(self.folds)]

    def _fold(self, people: int, parts: int, count: int, random: np.random.Generator) -> Fold:
        labels = (np.arange(people) >= people * (1 - self.positive)).astype(int)
        shape = (2, count, parts * self.replicates, people, self.slices)

        def noise(variance: float, *axes: int, trainings: int = shape[2]) -> np.ndarray:
            """Normal, with an axis of its own for each axis that it differs along."""
            full = (*shape[:2], trainings, *shape[3:])
            return math.sqrt(variance) * random.standard_normal([n if i in axes else 1 for i, n in enumerate(full)])

        distance = math.sqrt(2) * norm.ppf(np.array([self.area, self.area + self.effect])).reshape(2, 1, 1, 1, 1)
        slope = norm.pdf(distance / math.sqrt(2)) / math.sqrt(2)
        distance = distance + noise(self.scatter**2, 0, 1, 2) / slope
        logits = distance * labels[:, None] + noise(self.likeness, 1, 3) + noise(self.level**2, 0, 1, 2)
        alone = (1 - self.likeness) / 2
        logits = logits + noise(alone * (1 - self.kinship), 0, 1, 2, 3)
        if self.kinship:
            kin = noise(alone * self.kinship, 0, 1, 2, 3, trainings=parts)
            logits = logits + np.repeat(kin, self.replicates, axis=2)
        logits = logits + noise((1 - self.likeness) / 2 * self.slices, 0, 1, 2, 3, 4)
        positive = expit(logits).reshape(*shape[:3], -1)
        slices = np.repeat(np.arange(people), self.slices)
        return labels, unit_means(np.stack([1 - positive, positive], axis=-1), slices)


def judge(folds: Sequence[Fold], parts: int = 1) -> list[Difference]:
    """The difference of the area under the curve, one for each experiment.

    Args:
        parts: training parts that the trainings of each entry of `folds` are of.
    """
    shares = [(labels, np.subtract(*auc_shares(labels, answers)[::-1])) for labels, answers in folds]
    count = len(shares[0][1])
    return [difference([Block(each[number], labels, parts) for labels, each in shares]) for number in range(count)]


def bootstrap_over_people(folds: Sequence[Fold], resamples: int = 400) -> np.ndarray:
    """Whether a percentile bootstrap over people, class by class in every fold, leaves out 0: (experiments,)."""
    random = np.random.default_rng(0)
    resampled = 0
    for labels, answers in folds:
        negative, positive = (answers[..., labels == label, 1] for label in (0, 1))
        right = (positive[..., :, None] > negative[..., None, :]).mean(axis=2)  # treatments, experiments, pairs
        weights = [
            random.multinomial(n, np.full(n, 1 / n), resamples) / n for n in (positive.shape[-1], negative.shape[-1])
        ]
        resampled = resampled + ((weights[0] @ (right[1] - right[0])) * weights[1]).sum(axis=-1) / len(folds)
    low, high = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2], axis=1)
    return (low > 0) | (high < 0)


def allowed(experiments: int) -> float:
    """The largest share of wrong verdicts that a method with 5 % shows in 999 of 1000 runs of the simulation."""
    return float(binom.ppf(0.999, experiments, LEVEL)) / experiments


def curves(level: float, experiments: int) -> tuple[list[float], list[float]]:
    """Mean area and standard deviation of a difference: one curve over all folds, and the mean of one a fold."""
    folds = World(people=100, level=level, scatter=0).experiments(experiments, seed=2)
    labels = np.concatenate([each for each, _ in folds])
    one = areas(labels, np.concatenate([answers for _, answers in folds], axis=-2))
    means = np.mean([areas(*fold) for fold in folds], axis=0)
    return [found.mean() for found in (one, means)], [(found[1] - found[0]).std() for found in (one, means)]


def areas(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Under the ROC curve: (people,) and (..., people, classes) → (...)."""
    shares = auc_shares(labels, answers)
    return sum(shares[..., labels == label].mean(axis=-1) for label in np.unique(labels))


def main() -> int:
    arguments = read_arguments()
    print("level   area: one curve  a fold's   deviation of a difference: one curve  a fold's")
    for level in (0, 0.5, 1):
        areas, deviations = curves(level, 1000)
        print(f"{level:5.1f}  {areas[0]:16.3f}  {areas[1]:8.3f}  {deviations[0]:37.3f}  {deviations[1]:8.3f}")

    print("\npeople       folds x trainings  scatter   wrong verdicts: ours  bootstrap over people")
    limit, sound = allowed(arguments.experiments), True
    for external in (False, True):
        for people in arguments.people:
            for replicates in (1, 3):
                for scatter in (0.03, 0.05):
                    world = World(people, replicates=replicates, scatter=scatter, external=external)
                    folds = world.experiments(arguments.experiments, seed=0)
                    ours = statistics.fmean(each.p < LEVEL for each in judge(folds))
                    theirs = bootstrap_over_people(folds).mean()
                    sound = sound and ours <= limit
                    print(f"{_row(world)}  {100 * ours:18.1f} %  {100 * theirs:19.1f} %", flush=True)

    print("\npeople       folds x trainings  scatter   effect   found   smallest effect, as told")
    for external in (False, True):
        for people in arguments.people:
            for replicates in (1, 3):
                for effect in (0.05, 0.1):
                    world = World(people, replicates=replicates, effect=effect, external=external)
                    found = judge(world.experiments(arguments.experiments, seed=1))
                    share = statistics.fmean(each.answer() == "yes" for each in found)
                    told = statistics.median(each.smallest_effect for each in found)
                    print(f"{_row(world)}  {effect:7.2f}  {100 * share:4.0f} %  {told:25.2f}", flush=True)
    if not sound:
        print(f"Verdicts are wrong in more than {100 * limit:.1f} % of experiments without an effect.", file=sys.stderr)
    return 0 if sound else 1


def _row(world: World) -> str:
    kind = "external" if world.external else ""
    return f"{world.people:6d} {kind:8s}  {world.folds:10d} x {world.replicates:1d}  {world.scatter:9.2f}"


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[40, 100, 240])
    parser.add_argument("--experiments", type=int, default=2000)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
