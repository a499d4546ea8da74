"""The paper's question, answered in words from the numbers: do generated images help a classifier?"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.evaluation.cardiac.fold import Fold, Network, TrainingSet
from components.evaluation.cardiac.people import SHARES, People, areas_by_ratio, gain, score_people, training_scores
from components.evaluation.cardiac.published import ACCURACY, NETWORK_NAMES, SET_NAMES
from components.evaluation.cardiac.scores import CURVES, Scores, by_fold
from components.evaluation.page import MISSING, percent, points
from components.evaluation.statistics import Answer, Difference, holm
from components.evaluation.summary import Summary

PRIMARY: tuple[TrainingSet, TrainingSet] = ("simgan", "classic")
"""The comparison that the verdict is about: do refined images do more than augmentation, which costs nothing?"""

CONTROL: tuple[TrainingSet, TrainingSet] = ("oracle", "none")
"""The comparison that must be a gain, if this apparatus can see one; it stands for itself, like the primary one."""

OTHERS: tuple[tuple[TrainingSet, TrainingSet], ...] = (
    ("classic", "none"),
    ("egan", "none"),
    ("simgan", "none"),
    ("egan", "classic"),
    ("simgan", "egan"),
    ("simgan", "repeat"),
    ("oracle", "classic"),
)
"""What is adjusted for each other, as far as the run has these training sets; over `repeat`: is it mere exposure?"""

METRIC = "auc"
"""What is compared, of people; unlike accuracy it hangs on no threshold, and not on which class is common."""

PHRASES: dict[TrainingSet, str] = {
    "none": "the real images alone",
    "classic": "classic augmentation",
    "egan": "E-GAN images",
    "simgan": "SimGAN images",
    "oracle": "images of further people",
    "repeat": "the real images repeated",
}

MARGIN = 0.03
"""Of `METRIC`: a smaller loss would not matter."""


@dataclass(frozen=True)
class Comparison:
    """What a training set adds over another.

    Attributes:
        changes: by score of people.
        p: of the change of `METRIC`, adjusted for the other comparisons where it is one of `OTHERS`.
        published: the paper's difference in accuracy, mean over the classifiers; None where it has none.
    """

    training_set: TrainingSet
    baseline: TrainingSet
    changes: dict[str, Difference]
    p: float
    published: float | None

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

    Comparisons are made of the external test people where there are some: nothing was ever trained or chosen on them,
    there are more of them, and all trainings answer for the same. Else of the folds' own test people.

    Attributes:
        control: the comparison that must be a gain; None where the run lacks it.
        out_of_fold: the primary comparison of the folds' own test people, where external ones decide; else None.
        people: number of people compared.
        scores: of the folds' test people, by score, network and training set; None where undefined.
        external: of the external people, likewise; empty where there are none.
        areas: of the people compared, every training's `METRIC`, by network and training set.
        ratio: of the folds' test people, `METRIC` by curve of Figure 7, network and ratio of generated images.
    """

    primary: Comparison
    control: Comparison | None
    others: Sequence[Comparison]
    out_of_fold: Comparison | None
    people: int
    folds: int
    scores: dict[str, dict[Network, dict[TrainingSet, float | None]]]
    external: dict[str, dict[Network, dict[TrainingSet, float | None]]]
    areas: dict[Network, dict[TrainingSet, Summary]]
    ratio: dict[TrainingSet, dict[Network, dict[int, Summary]]]

    @classmethod
    def find(cls, trainings: Sequence[Fold]) -> "Findings":
        """Compare the training sets over people."""
        folds = [People.of(*replicates) for replicates in by_fold(trainings).values()]
        external = People.external(trainings)
        compared = [external] if external else folds
        networks = list(folds[0].answers)
        given = folds[0].answers[networks[0]]

        def compare(pair: tuple[TrainingSet, TrainingSet], people: Sequence[People]) -> Comparison:
            changes = {score: gain(people, *pair, score) for score in SHARES}
            return Comparison(*pair, changes, changes[METRIC].p, _published(networks, *pair))

        others = [compare(pair, compared) for pair in OTHERS if set(pair) <= given.keys()]
        adjusted = holm([each.p for each in others])
        return cls(
            primary=compare(PRIMARY, compared),
            control=compare(CONTROL, compared) if set(CONTROL) <= given.keys() else None,
            others=[replace(each, p=p) for each, p in zip(others, adjusted, strict=True)],
            out_of_fold=compare(PRIMARY, folds) if external else None,
            people=sum(len(each.labels) for each in compared),
            folds=len(folds),
            scores={score: score_people(folds, score) for score in SHARES},
            external={score: score_people([external], score) for score in SHARES} if external else {},
            areas=training_scores(compared, METRIC),
            ratio={name: areas_by_ratio(trainings, name) for name in CURVES},
        )

    @property
    def decisive(self) -> dict[str, dict[Network, dict[TrainingSet, float | None]]]:
        """The scores of those people whom the comparisons are made of."""
        return self.external or self.scores

    @property
    def whom(self) -> str:
        """Whom the comparisons are made of."""
        folds = f"{self.folds} folds" if self.folds > 1 else "one fold"
        return f"{self.people} external people" if self.external else f"{self.people} people in {folds}"

    def as_json(self) -> dict[str, Any]:
        """What they add to metrics.json."""
        compared = {"people": "external" if self.external else "out of fold"}
        tree: dict[str, Any] = {"primary": self.primary.as_json() | compared}
        if self.control:
            tree["control"] = self.control.as_json() | compared
        tree["others"] = [each.as_json() | compared for each in self.others]
        if self.out_of_fold:
            tree["out_of_fold"] = self.out_of_fold.as_json() | {"people": "out of fold"}
        tree["people"] = self.scores
        if self.external:
            tree["external"] = {
                network: {name: {score: self.external[score][network][name] for score in SHARES} for name in sets}
                for network, sets in self.external[METRIC].items()
            }
        for name, curves in (("ratio_auc", self.ratio["egan"]), ("ratio_auc_refined", self.ratio["simgan"])):
            tree[name] = {
                network: {str(ratio): each.mean for ratio, each in curve.items()} for network, curve in curves.items()
            }
        return tree


@dataclass(frozen=True)
class Best:
    """The classifier and training set with the highest `METRIC` of people, without the controls."""

    network: Network
    training_set: TrainingSet
    area: float
    accuracy: Summary
    balanced_accuracy: Summary


def best(findings: Findings, scores: Scores) -> Best:
    """The best of all classifiers and the paper's training sets; accuracy decides a tie, and where no area is known."""
    every = [
        Best(
            network,
            name,
            math.nan if area is None else area,
            scores.accuracy[network][name],
            scores.balanced_accuracy[network][name],
        )
        for network, sets in findings.decisive[METRIC].items()
        for name, area in sets.items()
        if name in ACCURACY[network]
    ]
    return max(every, key=lambda each: (0 if math.isnan(each.area) else each.area, each.accuracy.mean))


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
    """The verdict's numbers: change and interval, what could have been shown, the control, and the best classifier."""
    told = [_change(findings), _reach(findings.primary), _control(findings.control), _standing(findings, scores)]
    return [sentence for sentence in told if sentence]


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
    trainings = f"{change.replicates} trainings" if change.replicates > 1 else "one training"
    each = "of each fold" if findings.external else "each"
    sentence = (
        f"{primary.title}: the area under the ROC curve changes by {area(change.estimate)}, 95 % interval "
        f"{interval(change, area)}; {findings.whom}, {networks}, {trainings} {each}."
    )
    if findings.out_of_fold:
        within = findings.out_of_fold.change
        sentence += f" In the folds’ own test people: {area(within.estimate)}, {interval(within, area)}."
    return sentence


def _control(control: Comparison | None) -> str:
    """Whether the apparatus sees the gain that it must."""
    if not control or not control.change.known:
        return ""
    change = f"the area changes by {area(control.change.estimate)}, {interval(control.change, area)}"
    told = "Control: with images of further simulated people in place of generated ones"
    if control.answer == "yes":
        return f"{told} {change} over the real images alone, so a gain like that would have been seen."
    return f"{told} {change} over the real images alone: this run could not have seen what a perfect generator gains."


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


def _standing(findings: Findings, scores: Scores) -> str:
    leader, line = best(findings, scores), scores.majority.mean
    name = f"{NETWORK_NAMES[leader.network]} on “{SET_NAMES[leader.training_set]}”"
    distance = leader.accuracy.mean - line
    if abs(distance) < 0.0005:
        standing = "exactly what always answering the commoner class gets: accuracy says nothing here"
    elif distance < 0:
        standing = f"{points(-distance)[1:]} points below always answering the commoner class ({percent(line)} %)"
    else:
        standing = f"{points(distance)[1:]} points above always answering the commoner class ({percent(line)} %)"
    known = "" if math.isnan(leader.area) else f", an area of {leader.area:.2f}"
    return (
        f"The best is {name}{known}. Image by image, as the paper counts, its accuracy is "
        f"{percent(leader.accuracy.mean)} %, {standing}; its balanced accuracy is "
        f"{percent(leader.balanced_accuracy.mean)} %."
    )


def _published(networks: Sequence[Network], training_set: TrainingSet, baseline: TrainingSet) -> float | None:
    if not {training_set, baseline} <= ACCURACY[networks[0]].keys():
        return None
    return sum(ACCURACY[network][training_set] - ACCURACY[network][baseline] for network in networks) / len(networks)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
