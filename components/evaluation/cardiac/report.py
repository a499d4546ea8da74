"""The cardiac report: what the folds say, as one page, as metrics.json and as data for `dvc plots`."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import UserError
from components.evaluation.cardiac import published
from components.evaluation.cardiac.charts import (
    accuracy_charts,
    classifier_charts,
    egan_charts,
    ratio_charts,
    refiner_charts,
    survivor_charts,
)
from components.evaluation.cardiac.findings import MARGIN, Findings, answer, area, best, ends, interval, verdict
from components.evaluation.cardiac.fold import KINDS, Fold
from components.evaluation.cardiac.scores import METRICS, Scores, answers, commonest, score
from components.evaluation.charts import Chart
from components.evaluation.histories import History, failures, read_history
from components.evaluation.output import write_report
from components.evaluation.page import points, render
from components.evaluation.statistics import REPLICATES


@dataclass(frozen=True)
class CardiacReport:
    """All folds, scored and drawn.

    Attributes:
        folds: by number.
        samples: of the first fold, (kinds, classes, k, C, H, W) in [-1, 1].
        charts: by section of the page.
    """

    folds: Sequence[Fold]
    scores: Scores
    findings: Findings
    samples: np.ndarray
    steps: Mapping[str, int | str]
    charts: Mapping[str, Sequence[Chart]]

    @classmethod
    def read(cls, directories: Sequence[Path], windows: int) -> "CardiacReport":
        """Read what `gather` wrote, in any order; curves are averaged over `windows` parts of a training.

        Raises:
            UserError: the folds do not belong together.
        """
        by_fold = sorted(((Fold.load(path), path) for path in directories), key=lambda pair: pair[0].fold)
        folds, paths = zip(*by_fold, strict=True)
        _check_alike(folds)
        scores = score(folds)
        classes, networks = folds[0].classes, list(scores.accuracy)
        egan = {name: _histories(paths, f"egan-{name}") for name in classes}
        simgan = _histories(paths, "simgan")
        gans = {f"E-GAN of {name}": each for name, each in egan.items()} | {"SimGAN": simgan}
        failed = failures(
            {
                f"{name}, fold {fold.fold},": history
                for name, each in gans.items()
                for fold, history in zip(folds, each, strict=True)
            }
        )
        classifiers = {
            network: {name: _histories(paths, f"{network}-{name}") for name in published.SET_NAMES}
            for network in networks
        }
        return cls(
            folds=folds,
            scores=scores,
            findings=Findings.find(folds),
            samples=np.load(paths[0] / "samples.npy"),
            steps={
                "E-GAN, generations": _length(egan[classes[0]]),
                "E-GAN, survivors chosen by": folds[0].selection,
                "SimGAN, optimiser steps": _length(simgan),
                "Classifiers, updates": _length(classifiers[networks[0]]["none"]),
                "Adversarial trainings that collapsed": "; ".join(failed) or "none",
            },
            charts={
                "accuracy": accuracy_charts(scores),
                "ratio": ratio_charts(scores),
                "egan": egan_charts(egan, windows),
                "survivors": survivor_charts(egan, windows),
                "simgan": refiner_charts(simgan, windows),
                "classifiers": [
                    chart for network in networks for chart in classifier_charts(network, classifiers[network], windows)
                ],
            },
        )

    def save(self, directory: Path) -> None:
        """Write report.html, metrics.json and plots/*.csv."""
        charts = (chart for section in self.charts.values() for chart in section)
        write_report(directory, self.html(), self.metrics(), charts)
        self._save_confusion(directory / "plots")

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        paper = {"published": {"accuracy": published.ACCURACY, "majority": published.MAJORITY}}
        return self.findings.as_json() | self.scores.as_json() | paper

    def headline_metrics(self) -> dict[str, float]:
        """The primary comparison, mean scores by `<metric>/<network>/<training set>`, and the majority line."""
        change = self.findings.primary.change
        low, high = ends(change)
        primary = {
            "estimate": change.estimate,
            "low": low,
            "high": high,
            "smallest_effect": change.smallest_effect,
        }
        values = {
            f"{metric}/{network}/{name}": summary.mean
            for metric in METRICS
            for network, sets in getattr(self.scores, metric).items()
            for name, summary in sets.items()
            if summary.mean is not None
        }
        told = {f"primary/{name}": value for name, value in primary.items() if math.isfinite(value)}
        return told | {"majority": self.scores.majority.mean} | values

    @property
    def verdict(self) -> str:
        """The answer to the paper's question in one sentence."""
        return verdict(self.findings.primary)

    def html(self) -> str:
        """The page."""
        first = self.folds[0]
        return render(
            "cardiac.html.jinja",
            verdict=self.verdict,
            answer=answer(self.findings, self.scores),
            best=best(self.scores),
            findings=self.findings,
            margin=MARGIN,
            replicates=REPLICATES,
            area=area,
            interval=interval,
            points=points,
            scores=self.scores,
            folds=self.folds,
            classes=first.classes,
            commonest=commonest(first),
            kinds=KINDS,
            samples=self.samples,
            training_images=self._training_images(),
            steps=self.steps,
            charts=self.charts,
            published=published,
        )

    def _training_images(self) -> dict[str, float]:
        """Mean number of training images, over folds, by training set."""
        counts: dict[str, list[int]] = {}
        for fold in self.folds:
            for each in fold.classifications:
                counts.setdefault(each.training_set, []).append(each.images)
        return {name: float(np.mean(found)) for name, found in counts.items()}

    def _save_confusion(self, directory: Path) -> None:
        """A file for each classifier and training set: a row an image, its true class and the answer."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for fold in self.folds:
            for each in fold.classifications:
                pairs = zip(each.labels, answers(each), strict=True)
                named = [(fold.classes[actual], fold.classes[given]) for actual, given in pairs]
                rows.setdefault(f"confusion-{each.network}-{each.training_set}.csv", []).extend(named)
        for name, named in rows.items():
            with (directory / name).open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows([("actual", "predicted"), *named])


def _check_alike(folds: Sequence[Fold]) -> None:
    """Assert that each fold is there once, with the same classes, classifiers and ratios."""
    numbers = [fold.fold for fold in folds]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"A fold was given twice, among {numbers}; give each fold's gathered folder once.")
    for fold in folds[1:]:
        if _shape(fold) != _shape(folds[0]):
            raise UserError(
                f"Folds {folds[0].fold} and {fold.fold} differ in their classes, classifiers or ratios; "
                "gather both from one pipeline."
            )


def _shape(fold: Fold) -> tuple[Any, ...]:
    return (
        fold.classes,
        [(each.network, each.training_set) for each in fold.classifications],
        [(each.network, each.augmented, each.ratio) for each in fold.points],
    )


def _histories(paths: Sequence[Path], name: str) -> list[History]:
    return [read_history(path / "histories" / f"{name}.csv") for path in paths]


def _length(histories: Sequence[History]) -> int:
    return len(histories[0]["step"])
