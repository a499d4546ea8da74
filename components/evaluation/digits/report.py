"""The digits report: what two networks draw in two experiments, as one page, as metrics.json and as plots."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from components.core.contract import Run
from components.core.images import TEST_FOLD
from components.core.training import seed_draws
from components.evaluation.charts import Chart
from components.evaluation.digits import published
from components.evaluation.digits.charts import (
    LOSSES,
    SIGNS,
    histogram_chart,
    nearest_chart,
    score_chart,
    training_chart,
)
from components.evaluation.digits.findings import (
    advantages,
    answer,
    failed_trainings,
    health,
    primary,
    subjects,
    verdict,
)
from components.evaluation.digits.inception_score import InceptionScore
from components.evaluation.digits.judging import Drawings, Judgement, draw, judge, recognised
from components.evaluation.digits.neighbours import CLOSE
from components.evaluation.digits.params import EvaluateDigitsParams
from components.evaluation.digits.sources import Sources
from components.evaluation.digits.trainings import EXPERIMENTS, NETWORKS, Experiment, Network, Training
from components.evaluation.histories import History
from components.evaluation.output import write_report
from components.evaluation.page import render
from components.evaluation.statistics import REPLICATES

COMPARABLE = "MNIST"
"""Stands in the description of any images whose numbers may be held against the paper's."""


@dataclass(frozen=True)
class DigitsReport:
    """Everything that is known of the generators.

    Attributes:
        judgements: by experiment.
        recognised: share of a network's images of experiment 2 that the ten-digit network takes for the digit.
        recognised_held_out: the same of the real held-out images.
        histories: by experiment and network, in the order of the replicates.
        failed: which trainings collapsed or were begun anew.
        charts: by section of the page.
    """

    sources: Sources
    params: EvaluateDigitsParams
    judgements: Mapping[Experiment, Judgement]
    recognised: Mapping[Network, float]
    recognised_held_out: float
    histories: Mapping[Experiment, Mapping[Network, Sequence[History]]]
    failed: Sequence[str]
    charts: Mapping[str, Sequence[Chart]]

    @classmethod
    def make(cls, sources: Sources, params: EvaluateDigitsParams, run: Run) -> "DigitsReport":
        """Draw from every generator, both networks' of one number from equal noise, and judge."""

        def drawn_by(experiment: Experiment, training: Training) -> np.ndarray:
            seed_draws(run, "noise", experiment, training.replicate)
            return draw(training.generator(), params.images, params.batch_size)

        drawn = {
            experiment: {
                network: [drawn_by(experiment, training) for training in several]
                for network, several in trainings.items()
            }
            for experiment, trainings in sources.trainings.items()
        }
        judgements: dict[Experiment, Judgement] = {
            "complex": judge(sources.real, sources.concept, drawn["complex"], params),
            "simple": judge(sources.styles, sources.style_concept, drawn["simple"], params),
        }
        histories = {
            experiment: {network: [each.history() for each in several] for network, several in trainings.items()}
            for experiment, trainings in sources.trainings.items()
        }

        def share_recognised(images: np.ndarray) -> float:
            return recognised(sources.concept, images, sources.real.classes.index(sources.label), params.batch_size)

        return cls(
            sources=sources,
            params=params,
            judgements=judgements,
            recognised={network: fmean(map(share_recognised, sets)) for network, sets in drawn["simple"].items()},
            recognised_held_out=share_recognised(sources.styles.test(TEST_FOLD).images),
            histories=histories,
            failed=failed_trainings(sources.trainings, sources.label),
            charts={
                "scores": _each(score_chart, judgements, sources.label),
                "histograms": _each(histogram_chart, judgements, sources.label),
                "nearest": _each(nearest_chart, judgements, sources.label),
                "losses": _training_charts("loss", LOSSES, histories, sources.label, params.windows),
                "signs": _training_charts("signs", SIGNS, histories, sources.label, params.windows),
            },
        )

    def save(self, directory: Path) -> None:
        """Write report.html, metrics.json and plots/*.csv."""
        charts = (chart for section in self.charts.values() for chart in section)
        write_report(directory, self.html(), self.metrics(), charts)

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        judgements, found = self.judgements, advantages(self.judgements)

        def of_drawings(value: Callable[[Drawings], Any]) -> dict[Network, dict[Experiment, Any]]:
            return _by_network(lambda experiment, network: value(judgements[experiment].drawings[network]))

        return {
            "data": self.sources.real.source,
            "replicates": judgements["complex"].replicates,
            "primary": primary(found),
            "inception_score": of_drawings(lambda each: _score(each.score)),
            "ceiling": {experiment: each.ceiling.score.mean for experiment, each in judgements.items()},
            "held_out": {experiment: _score(each.ceiling) for experiment, each in judgements.items()},
            "advantage": {experiment: each.as_json() for experiment, each in found.items()},
            "concept_accuracy": judgements["complex"].accuracy,
            "style_accuracy": judgements["simple"].accuracy,
            "distance": of_drawings(lambda each: each.distance.as_json()),
            "floor": {experiment: each.floor.as_json() for experiment, each in judgements.items()},
            "histogram": of_drawings(
                lambda each: {
                    **asdict(each.histogram),
                    "forgotten": each.histogram.forgotten,
                    "variation": each.histogram.variation,
                }
            ),
            "recognised": {**self.recognised, "held_out": self.recognised_held_out},
            "memorisation": of_drawings(lambda each: {**asdict(each.memorisation), "ratio": each.memorisation.ratio}),
            "iterations": self._iterations(),
            "collapsed": list(self.failed),
            "published": {"inception_score": published.INCEPTION_SCORE},
        }

    def headline_metrics(self) -> dict[str, float]:
        """Scores by `inception_score/<network>/<experiment>`, ceilings and accuracies, for whoever compares runs."""
        scores = {
            f"inception_score/{network}/{experiment}": self.judgements[experiment].drawings[network].score.score.mean
            for network in NETWORKS
            for experiment in EXPERIMENTS
        }
        ceilings = {f"ceiling/{experiment}": each.ceiling.score.mean for experiment, each in self.judgements.items()}
        accuracies = {
            "concept_accuracy": self.judgements["complex"].accuracy,
            "style_accuracy": self.judgements["simple"].accuracy,
        }
        return scores | ceilings | accuracies

    def html(self) -> str:
        """The page."""
        found = advantages(self.judgements)
        label, trainings = self.sources.label, self.sources.trainings
        replicates = self.judgements["complex"].replicates
        concepts = len(self.judgements["complex"].concepts)
        part_size = self.params.images // self.params.parts
        return render(
            "digits.html.jinja",
            verdict=verdict(found),
            answer=answer(found, self.judgements, label, self.failed),
            health=health(self.failed),
            failed=self.failed,
            advantages=found,
            replicates=replicates,
            recipe=REPLICATES,
            several=replicates > 1 or self.params.parts > 1,
            comparable=COMPARABLE in self.sources.real.source,
            source=self.sources.real.source or "images of unknown source",
            origin=trainings["complex"]["gan"][0].origin,
            label=label,
            titles=subjects(label),
            judgements=self.judgements,
            evenly=math.log(concepts),
            part_size=part_size,
            bias=(concepts - 1) / (2 * part_size),
            close=CLOSE,
            milestones={
                experiment: {network: several[0].milestones() for network, several in by_network.items()}
                for experiment, by_network in trainings.items()
            },
            recognised=self.recognised,
            recognised_held_out=self.recognised_held_out,
            iterations=self._iterations(),
            charts=self.charts,
            params=self.params,
            published=published,
        )

    def _iterations(self) -> dict[Network, dict[Experiment, int]]:
        return _by_network(lambda experiment, network: len(self.histories[experiment][network][0]["step"]))


def _each(
    chart: Callable[[Experiment, str, Judgement], Chart], judgements: Mapping[Experiment, Judgement], label: str
) -> list[Chart]:
    """A chart of each experiment."""
    titles = subjects(label)
    return [chart(experiment, titles[experiment], judgement) for experiment, judgement in judgements.items()]


def _training_charts(
    name: str,
    columns: Mapping[str, str],
    histories: Mapping[Experiment, Mapping[Network, Sequence[History]]],
    label: str,
    windows: int,
) -> list[Chart]:
    """A chart of each network in each experiment."""
    titles = subjects(label)
    return [
        training_chart(
            f"{name}-{network}-{experiment}",
            f"{published.NETWORK_NAMES[network]}, {titles[experiment]}",
            columns,
            several,
            windows,
        )
        for experiment, by_network in histories.items()
        for network, several in by_network.items()
    ]


def _score(score: InceptionScore) -> dict[str, Any]:
    return {
        **asdict(score.score),
        "marginal_entropy": score.marginal_entropy.mean,
        "conditional_entropy": score.conditional_entropy.mean,
    }


def _by_network(value: Callable[[Experiment, Network], Any]) -> dict[Network, dict[Experiment, Any]]:
    return {network: {experiment: value(experiment, network) for experiment in EXPERIMENTS} for network in NETWORKS}
