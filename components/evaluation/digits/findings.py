"""The paper's question, answered in words from the numbers: how much better than a plain GAN's are DCGAN's digits?"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from components.evaluation.digits.judging import Judgement
from components.evaluation.digits.published import INCEPTION_SCORE, NETWORK_NAMES, QUALITIES
from components.evaluation.digits.trainings import Experiment, Trainings
from components.evaluation.page import fixed, plus_minus, signed, thousands

CLEAR = 2
"""A difference of fewer standard deviations is not called one."""

AHEAD, LEVEL, BEHIND = "ahead of", "level with", "behind"


@dataclass(frozen=True)
class Advantage:
    """DCGAN's Inception Score less the plain GAN's.

    Attributes:
        deviation: standard deviation of the difference of two parts' scores.
        published: the paper's difference.
    """

    difference: float
    deviation: float
    published: float

    @property
    def deviations(self) -> float | None:
        """The difference in standard deviations; None where there is none."""
        return self.difference / self.deviation if self.deviation else None

    @property
    def standing(self) -> str:
        """Where DCGAN stands."""
        if abs(self.difference) <= CLEAR * self.deviation:
            return LEVEL
        return AHEAD if self.difference > 0 else BEHIND


Advantages = Mapping[Experiment, Advantage]


def advantages(judgements: Mapping[Experiment, Judgement]) -> Advantages:
    """DCGAN's advantage in each experiment."""
    return {experiment: _advantage(experiment, judgement) for experiment, judgement in judgements.items()}


def verdict(found: Advantages) -> str:
    """One sentence: is DCGAN the better one, in diversity and in quality?"""
    if any(each.deviations is None for each in found.values()):
        return "Open: without a deviation over several parts, a difference cannot be told from chance."
    standings = [each.standing for each in found.values()]
    places = [
        f"{each.standing} {'it' if position else 'the plain GAN'} in {QUALITIES[experiment]}"
        for position, (experiment, each) in enumerate(found.items())
    ]
    if set(standings) == {AHEAD}:
        diversity, quality = (_rounded(found[experiment].deviations) for experiment in ("complex", "simple"))
        return (
            f"Yes: DCGAN is ahead of the plain GAN, by {diversity} standard deviations in {QUALITIES['complex']} "
            f"and {quality} in {QUALITIES['simple']}."
        )
    return f"{'In part' if AHEAD in standings else 'No'}: DCGAN is {', and '.join(places)}."


def subjects(label: str) -> dict[Experiment, str]:
    """What each experiment is about; `label` is the digit of experiment 2."""
    return {"complex": "all digits", "simple": f"the digit {label}"}


def answer(found: Advantages, judgements: Mapping[Experiment, Judgement], trainings: Trainings) -> list[str]:
    """The verdict's numbers, then what a score does not say."""
    names = subjects(trainings["simple"]["gan"].label)
    scores = [
        _comparison(f"{QUALITIES[experiment].capitalize()}, on {names[experiment]}", judgement, found[experiment])
        for experiment, judgement in judgements.items()
    ]
    return [*scores, " ".join((_memory(judgements["complex"]), health(trainings)))]


def health(trainings: Trainings) -> str:
    """Which trainings collapsed, and when."""
    collapses = list(_collapses(trainings))
    return f"Collapsed: {'; '.join(collapses)}." if collapses else "No training collapsed."


def _advantage(experiment: Experiment, judgement: Judgement) -> Advantage:
    ours, theirs = (judgement.drawings[network].score.score for network in ("dcgan", "gan"))
    published = INCEPTION_SCORE["dcgan"][experiment] - INCEPTION_SCORE["gan"][experiment]
    return Advantage(ours.mean - theirs.mean, math.hypot(ours.std, theirs.std), published)


def _comparison(subject: str, judgement: Judgement, advantage: Advantage) -> str:
    dcgan, gan = (plus_minus(judgement.drawings[network].score.score, "fixed") for network in ("dcgan", "gan"))
    worth = "" if advantage.deviations is None else f", or {_rounded(abs(advantage.deviations))} standard deviations"
    return (
        f"{subject}: DCGAN scores {dcgan}, the plain GAN {gan}, a difference of {signed(advantage.difference)}{worth} "
        f"(the paper’s: {signed(advantage.published)}). "
        f"Real held-out images score {fixed(judgement.ceiling.score.mean)}."
    )


def _rounded(deviations: float) -> str:
    return f"{deviations:.{0 if deviations >= 10 else 1}f}"


def _memory(judgement: Judgement) -> str:
    """Which concepts a generator forgets."""
    losses = [
        f"{NETWORK_NAMES[network]} forgets {' and '.join(f'the {name}' for name in drawings.histogram.forgotten)}."
        for network, drawings in judgement.drawings.items()
        if drawings.histogram.forgotten
    ]
    return " ".join(losses) or "Neither generator forgets a digit."


def _collapses(trainings: Trainings) -> Iterator[str]:
    for networks in trainings.values():
        for network, training in networks.items():
            if training.collapsed_at:
                yield f"{NETWORK_NAMES[network]} on {training.label}, at iteration {thousands(training.collapsed_at)}"
