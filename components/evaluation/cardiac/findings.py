"""The paper's question, answered in words from the numbers: do generated images help a classifier?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.cardiac.fold import Fold, Network, TrainingSet
from components.evaluation.cardiac.people import SHARES, People, gain, score_people
from components.evaluation.cardiac.published import ACCURACY, NETWORK_NAMES, SET_NAMES
from components.evaluation.cardiac.scores import Scores
from components.evaluation.page import MISSING, percent, points
from components.evaluation.statistics import Answer, Difference, holm
from components.evaluation.summary import Summary

PRIMARY: tuple[TrainingSet, TrainingSet] = ("simgan", "classic")
"""The comparison that the verdict is about: do refined images do more than augmentation, which costs nothing?"""

OTHERS: tuple[tuple[TrainingSet, TrainingSet], ...] = (
    ("classic", "none"),
    ("egan", "none"),
    ("simgan", "none"),
    ("egan", "classic"),
    ("simgan", "egan"),
)

METRIC = "auc"
"""What is compared, of people; unlike accuracy it hangs on no threshold, and not on which class is common."""

PHRASES: dict[TrainingSet, str] = {
    "none": "the real images alone",
    "classic": "classic augmentation",
    "egan": "E-GAN images",
    "simgan": "SimGAN images",
}

MARGIN = 0.03
"""Of `METRIC`: a smaller loss would not matter."""


@dataclass(frozen=True)
class Comparison:
    """What a training set adds over another.

    Attributes:
        changes: by score of people.
        p: of the change of `METRIC`, adjusted for all comparisons but the primary one, which stands for itself.
        published: the paper's difference in accuracy, mean over the classifiers.
    """

    training_set: TrainingSet
    baseline: TrainingSet
    changes: dict[str, Difference]
    p: float
    published: float

    @property
    def title(self) -> str:
        baseline = SET_NAMES[self.baseline]
        return f"{SET_NAMES[self.training_set]} over {baseline if self.baseline == 'egan' else baseline.lower()}"

    @property
    def change(self) -> Difference:
        return self.changes[METRIC]

    @property
    def is_primary(self) -> bool:
        return (self.training_set, self.baseline) == PRIMARY

    @property
    def answer(self) -> Answer:
        return self.change.answer(MARGIN if self.is_primary else None, self.p)

    def as_json(self) -> dict[str, Any]:
        """For metrics.json; what is not known is null."""
        change = self.change
        return {
            "comparison": f"{self.training_set} - {self.baseline}",
            "metric": METRIC,
            "estimate": _finite(change.estimate),
            "interval": [_finite(each) for each in ends(change)],
            "smallest_effect": _finite(change.smallest_effect),
            "p": self.p,
            "verdict": verdict(self),
        }


@dataclass(frozen=True)
class Findings:
    """Every comparison of training sets that is worth a line, and the scores of people that they compare.

    Attributes:
        people: number of test people.
        scores: of people, by score, network and training set; None where undefined.
    """

    primary: Comparison
    others: Sequence[Comparison]
    people: int
    folds: int
    scores: dict[str, dict[Network, dict[TrainingSet, float | None]]]

    @classmethod
    def find(cls, folds: Sequence[Fold]) -> "Findings":
        """Compare the training sets over the folds' people."""
        people = [People.of(fold) for fold in folds]
        changes = [{score: gain(people, *pair, score) for score in SHARES} for pair in (PRIMARY, *OTHERS)]
        p_values = [changes[0][METRIC].p, *holm([each[METRIC].p for each in changes[1:]])]
        networks = list(people[0].answers)
        primary, *others = (
            Comparison(*pair, change, p, _published(networks, *pair))
            for pair, change, p in zip((PRIMARY, *OTHERS), changes, p_values, strict=True)
        )
        scores = {score: score_people(people, score) for score in SHARES}
        return cls(primary, others, sum(len(each.labels) for each in people), len(folds), scores)

    def as_json(self) -> dict[str, Any]:
        """What they add to metrics.json."""
        others = [each.as_json() for each in self.others]
        return {"primary": self.primary.as_json(), "others": others, "people": self.scores}


@dataclass(frozen=True)
class Best:
    """The classifier and training set with the highest mean accuracy, balanced accuracy deciding a tie."""

    network: Network
    training_set: TrainingSet
    accuracy: Summary
    balanced_accuracy: Summary


def best(scores: Scores) -> Best:
    """The best of all classifiers and training sets."""
    every = [
        Best(network, name, accuracy, scores.balanced_accuracy[network][name])
        for network, sets in scores.accuracy.items()
        for name, accuracy in sets.items()
    ]
    return max(every, key=lambda each: (each.accuracy.mean, each.balanced_accuracy.mean))


def verdict(comparison: Comparison) -> str:
    """One sentence: is the training set better than its baseline, and whom is that said of?"""
    ours, theirs = PHRASES[comparison.training_set], PHRASES[comparison.baseline]
    scope = comparison.change.scope
    match comparison.answer:
        case "yes":
            return f"Yes: {scope} did better with {ours} than with {theirs}."
        case "no":
            return f"No: {scope} did worse with {ours} than with {theirs}."
        case "no worse":
            return f"No worse: with {ours} {scope} lost less than {MARGIN} of AUC against {theirs}; no gain is shown."
        case "not shown":
            return f"Not shown: in {scope}, the difference between {ours} and {theirs} may be chance."
        case "open":
            return f"Open: one training alone cannot tell whether {ours} did better than {theirs}."


def answer(findings: Findings, scores: Scores) -> list[str]:
    """The verdict's numbers: the change and its interval, what could have been shown, and the best classifier."""
    return [_change(findings), _reach(findings.primary), _standing(scores)]


def area(value: float) -> str:
    """A difference of areas under the curve: −0.012."""
    return MISSING if math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def interval(change: Difference, form: Callable[[float], str]) -> str:
    """Both ends, each written by `form`."""
    return " to ".join(form(end) for end in ends(change)) if change.known else MISSING


def ends(change: Difference) -> tuple[float, float]:
    """Of the interval, within what a difference of two scores can be; infinite where nothing is known."""
    low, high = change.interval
    return (max(low, -1.0), min(high, 1.0)) if change.known else (-math.inf, math.inf)


def _change(findings: Findings) -> str:
    primary, change = findings.primary, findings.primary.change
    networks = " and ".join(NETWORK_NAMES[network] for network in findings.scores[METRIC])
    folds = f"{findings.folds} folds" if findings.folds > 1 else "one fold"
    trainings = f"{change.replicates} trainings" if change.replicates > 1 else "one training"
    return (
        f"{primary.title}: the area under the ROC curve changes by {area(change.estimate)}, 95 % interval "
        f"{interval(change, area)}; {findings.people} people in {folds}, {networks}, {trainings} each."
    )


def _reach(primary: Comparison) -> str:
    change = primary.change
    if not change.known:
        return "It takes two folds, or a fold trained twice, to tell a gain from the luck of one training."
    loss = f"A loss of more than {MARGIN} is {'' if change.interval[0] > -MARGIN else 'not '}ruled out."
    if primary.answer in ("yes", "no"):
        return loss
    if change.smallest_effect >= 1:
        return f"So few people and trainings can show no change at all. {loss}"
    return f"A true change of {change.smallest_effect:.2f} or more would have been found in four of five runs. {loss}"


def _standing(scores: Scores) -> str:
    leader, line = best(scores), scores.majority.mean
    name = f"{NETWORK_NAMES[leader.network]} on “{SET_NAMES[leader.training_set]}”"
    accuracy = f"{percent(leader.accuracy.mean)} % accuracy"
    distance = leader.accuracy.mean - line
    if abs(distance) < 0.0005:
        standing = "exactly what always answering the commoner class gets: accuracy says nothing here"
    elif distance < 0:
        standing = f"{points(-distance)[1:]} points below always answering the commoner class ({percent(line)} %)"
    else:
        standing = f"{points(distance)[1:]} points above always answering the commoner class ({percent(line)} %)"
    balanced = percent(leader.balanced_accuracy.mean)
    return f"The most accurate is {name}: {accuracy}, {standing}; its balanced accuracy is {balanced} %."


def _published(networks: Sequence[Network], training_set: TrainingSet, baseline: TrainingSet) -> float:
    return sum(ACCURACY[network][training_set] - ACCURACY[network][baseline] for network in networks) / len(networks)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
