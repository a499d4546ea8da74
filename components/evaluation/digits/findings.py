"""The paper's question, answered in words from the numbers: how much better than a plain GAN's are DCGAN's digits?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.digits.judging import Judgement
from components.evaluation.digits.published import INCEPTION_SCORE, NETWORK_NAMES, QUALITIES
from components.evaluation.digits.trainings import Experiment, Trainings
from components.evaluation.histories import failures
from components.evaluation.page import fixed, plus_minus, signed
from components.evaluation.statistics import Difference, of_parts, of_trainings

PRIMARY: Experiment = "complex"
"""The experiment that decides, all digits; the other is the only one beside it, so nothing is adjusted."""

PLACES = {"yes": "ahead of", "no": "behind"}

SCOPES = {"these models": "of these models", "this recipe": "by this recipe"}
"""Whom a verdict is about, in its words."""


@dataclass(frozen=True)
class Advantage:
    """DCGAN's Inception Score less the plain GAN's.

    Attributes:
        change: over the replicates; of one over the parts of its images, which speak of these models alone.
        published: the paper's difference.
    """

    change: Difference
    published: float

    def as_json(self) -> dict[str, Any]:
        """For metrics.json; what is not known is null."""
        change = self.change
        return {
            "difference": change.estimate,
            "interval": [_finite(end) for end in change.interval],
            "smallest_effect": _finite(change.smallest_effect),
            "p": change.p,
        }


Advantages = Mapping[Experiment, Advantage]


def advantages(judgements: Mapping[Experiment, Judgement]) -> Advantages:
    """DCGAN's advantage in each experiment."""
    return {experiment: _advantage(experiment, judgement) for experiment, judgement in judgements.items()}


def verdict(found: Advantages) -> str:
    """One sentence: is DCGAN the better one, in diversity and in quality, and whom is that said of?"""
    answers = {experiment: each.change.answer() for experiment, each in found.items()}
    if "open" in answers.values():
        return "Open: without several parts, or several replicates, a difference cannot be told from chance."
    shown = {experiment: PLACES[answer] for experiment, answer in answers.items() if answer in PLACES}
    unknown = " and ".join(f"in {QUALITIES[experiment]}" for experiment in answers if experiment not in shown)
    scope = SCOPES[found[PRIMARY].change.scope]
    if not shown:
        return f"Not shown: {scope}, DCGAN may differ from the plain GAN {unknown} by chance alone."
    places, named = [], ""
    for experiment, place in shown.items():
        where = f"in {QUALITIES[experiment]} ({signed(found[experiment].change.estimate)})"
        places.append(where if place == named else f"{place} {'it' if named else 'the plain GAN'} {where}")
        named = place
    ahead = [answer == "yes" for answer in answers.values()]
    begin = "Yes" if all(ahead) else "In part" if any(ahead) else "No"
    rest = f"; {unknown}, no difference is shown" if unknown else ""
    return f"{begin}: {scope}, DCGAN is {' and '.join(places)}{rest}."


def primary(found: Advantages) -> dict[str, Any]:
    """The comparison that decides, as every pipeline's metrics.json has it."""
    numbers = found[PRIMARY].as_json()
    return {
        "comparison": "dcgan - gan",
        "metric": f"inception_score/{PRIMARY}",
        "estimate": numbers.pop("difference"),
        **numbers,
        "verdict": verdict(found),
    }


def subjects(label: str) -> dict[Experiment, str]:
    """What each experiment is about; `label` is the digit of experiment 2."""
    return {"complex": "all digits", "simple": f"the digit {label}"}


def answer(
    found: Advantages, judgements: Mapping[Experiment, Judgement], label: str, failed: Sequence[str]
) -> list[str]:
    """The verdict's numbers, then what a score does not say.

    Args:
        label: the digit of experiment 2.
        failed: trainings that collapsed, as `failed_trainings` names them.
    """
    names = subjects(label)
    scores = [
        _comparison(f"{QUALITIES[experiment].capitalize()}, on {names[experiment]}", judgement, found[experiment])
        for experiment, judgement in judgements.items()
    ]
    return [*scores, " ".join((_memory(judgements["complex"]), health(failed)))]


def failed_trainings(trainings: Trainings, label: str) -> list[str]:
    """Which trainings collapsed or were begun anew, one phrase each."""
    names = subjects(label)
    return failures(
        {
            f"{NETWORK_NAMES[network]} of {names[experiment]}, replicate {training.replicate},": training.history()
            for experiment, networks in trainings.items()
            for network, several in networks.items()
            for training in several
        }
    )


def health(failed: Sequence[str]) -> str:
    """Which trainings collapsed, in a sentence."""
    return f"Adversarial trainings that collapsed: {'; '.join(failed)}." if failed else "No training collapsed."


def _advantage(experiment: Experiment, judgement: Judgement) -> Advantage:
    ours, theirs = (judgement.drawings[network].score.score.values for network in ("dcgan", "gan"))
    differences = [our - their for our, their in zip(ours, theirs, strict=True)]
    change = (of_trainings if judgement.replicates > 1 else of_parts)(differences)
    return Advantage(change, INCEPTION_SCORE["dcgan"][experiment] - INCEPTION_SCORE["gan"][experiment])


def _comparison(subject: str, judgement: Judgement, advantage: Advantage) -> str:
    dcgan, gan = (plus_minus(judgement.drawings[network].score.score, "fixed") for network in ("dcgan", "gan"))
    change = advantage.change
    interval = f", 95 % interval {' to '.join(map(signed, change.interval))}" if change.known else ""
    reach = (
        f" A true difference of {change.smallest_effect:.2f} or more would have been found in four of five runs."
        if change.answer() == "not shown"
        else ""
    )
    return (
        f"{subject}: DCGAN scores {dcgan}, the plain GAN {gan}, a difference of {signed(change.estimate)}{interval} "
        f"(the paper’s: {signed(advantage.published)}).{reach} "
        f"Real held-out images score {fixed(judgement.ceiling.score.mean)}."
    )


def _memory(judgement: Judgement) -> str:
    """Which concepts a generator forgets."""
    losses = [
        f"{NETWORK_NAMES[network]} forgets {' and '.join(f'the {name}' for name in drawings.histogram.forgotten)}."
        for network, drawings in judgement.drawings.items()
        if drawings.histogram.forgotten
    ]
    return " ".join(losses) or "Neither generator forgets a digit."


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
