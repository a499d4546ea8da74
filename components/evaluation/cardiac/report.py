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
    area_charts,
    classifier_charts,
    egan_charts,
    ratio_charts,
    refiner_charts,
    survivor_charts,
)
from components.evaluation.cardiac.findings import MARGIN, Findings, answer, area, best, ends, interval, verdict
from components.evaluation.cardiac.fold import KINDS, MILESTONES, Fold
from components.evaluation.cardiac.quality import ImageQuality, number, reach
from components.evaluation.cardiac.scores import METRICS, Scores, answers, by_fold, commonest, score
from components.evaluation.charts import Chart
from components.evaluation.histories import History, failures, read_history
from components.evaluation.output import write_report
from components.evaluation.page import points, render
from components.evaluation.statistics import REPLICATES

TITLES = {"auc": "Area under the ROC curve", "balanced_accuracy": "Balanced accuracy (%)", "accuracy": "Accuracy (%)"}
"""What scores of people are called."""

AMPLIFIED = 10
"""How much stronger than it is the refiner's change is shown."""


@dataclass(frozen=True)
class CardiacReport:
    """All trainings on all folds, scored and drawn.

    Attributes:
        trainings: by fold, then replicate.
        samples: of the first, (kinds, classes, k, C, H, W) in [-1, 1].
        milestones: of the first, the same images (classes, k, C, H, W) after so many updates of its refiner's training.
        quality: of the generated images.
        charts: by section of the page.
    """

    trainings: Sequence[Fold]
    scores: Scores
    findings: Findings
    samples: np.ndarray
    milestones: Mapping[int, np.ndarray]
    quality: ImageQuality
    steps: Mapping[str, int | str]
    charts: Mapping[str, Sequence[Chart]]

    @classmethod
    def read(cls, directories: Sequence[Path], windows: int) -> "CardiacReport":
        """Read what `gather` wrote, in any order; curves are averaged over `windows` parts of a training.

        Raises:
            UserError: the folds do not belong together.
        """
        loaded = sorted(((Fold.load(path), path) for path in directories), key=lambda pair: _place(pair[0]))
        trainings, paths = zip(*loaded, strict=True)
        _check_alike(trainings)
        scores, findings = score(trainings), Findings.find(trainings)
        quality = ImageQuality.read(paths, trainings[0].classes, [each.drawn for each in trainings])
        first = trainings[0]
        classes, networks = first.classes, list(scores.accuracy)
        egan = {name: _histories(paths, f"egan-{name}") for name in classes}
        simgan = _histories(paths, "simgan")
        gans = {f"E-GAN of {name}": each for name, each in egan.items()} | {"SimGAN": simgan}
        failed = failures(
            {
                f"{name}, fold {training.fold}, replicate {training.replicate},": history
                for name, each in gans.items()
                for training, history in zip(trainings, each, strict=True)
            }
        )
        classifiers = {
            network: {name: _histories(paths, f"{network}-{name}") for name in sets}
            for network, sets in scores.accuracy.items()
        }
        return cls(
            trainings=trainings,
            scores=scores,
            findings=findings,
            samples=np.load(paths[0] / "samples.npy"),
            milestones=dict(sorted((int(path.stem), np.load(path)) for path in (paths[0] / MILESTONES).iterdir())),
            quality=quality,
            steps={
                "E-GAN, generations": _length(egan[classes[0]]),
                "E-GAN, survivors chosen by": first.selection,
                "SimGAN, optimiser steps": _length(simgan),
                "Classifiers, updates": _length(classifiers[networks[0]]["none"]),
                "Adversarial trainings that collapsed": "; ".join(failed) or "none",
            },
            charts={
                "people": area_charts(findings),
                "accuracy": accuracy_charts(scores),
                "ratio": ratio_charts(scores, findings),
                "egan": egan_charts(egan, windows),
                "survivors": survivor_charts(egan, windows),
                "simgan": refiner_charts(simgan, quality.likeness("egan"), windows),
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
        return self.findings.as_json() | self.quality.as_json() | self.scores.as_json() | paper

    def headline_metrics(self) -> dict[str, float]:
        """The primary comparison, and mean scores by `<metric>/<network>/<training set>`: of people by `people/…` and
        `external/…`, else image by image; the majority line; and what the images are like, by `images/…`.
        """
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
        values |= {
            f"{whom}/{metric}/{network}/{name}": value
            for whom, scores in (("people", self.findings.scores), ("external", self.findings.external))
            for metric, table in scores.items()
            for network, sets in table.items()
            for name, value in sets.items()
            if value is not None
        }
        told = {f"primary/{name}": value for name, value in primary.items() if math.isfinite(value)}
        return told | {"majority": self.scores.majority.mean} | values | self.quality.headline_metrics()

    @property
    def verdict(self) -> str:
        """The answer to the paper's question in one sentence."""
        return verdict(self.findings.primary)

    def html(self) -> str:
        """The page."""
        first = self.trainings[0]
        return render(
            "cardiac.html.jinja",
            verdict=self.verdict,
            answer=answer(self.findings, self.scores),
            best=best(self.findings, self.scores),
            findings=self.findings,
            margin=MARGIN,
            replicates=REPLICATES,
            area=area,
            interval=interval,
            points=points,
            scores=self.scores,
            folds=[replicates[0] for replicates in by_fold(self.trainings).values()],
            sets={name: published.SET_NAMES[name] for name in self.findings.areas[first.classifications[0].network]},
            titles=TITLES,
            replicated=len(by_fold(self.trainings)) < len(self.trainings),
            classes=first.classes,
            commonest=commonest(first),
            kinds=KINDS,
            samples=self.samples,
            milestones=self.milestones,
            change=_change(self.milestones),
            amplified=AMPLIFIED,
            quality=self.quality,
            measured=self.quality.as_json()["images"],
            number=number,
            reach=reach,
            training_images=self._training_images(),
            steps=self.steps,
            charts=self.charts,
            published=published,
        )

    def _training_images(self) -> dict[str, float]:
        """Mean number of training images, over all trainings, by training set."""
        counts: dict[str, list[int]] = {}
        for fold in self.trainings:
            for each in fold.classifications:
                counts.setdefault(each.training_set, []).append(each.images)
        return {name: float(np.mean(found)) for name, found in counts.items()}

    def _save_confusion(self, directory: Path) -> None:
        """A file for each classifier and training set: a row an image, its true class and the answer."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for fold in self.trainings:
            for each in fold.classifications:
                pairs = zip(each.labels, answers(each), strict=True)
                named = [(fold.classes[actual], fold.classes[given]) for actual, given in pairs]
                rows.setdefault(f"confusion-{each.network}-{each.training_set}.csv", []).extend(named)
        for name, named in rows.items():
            with (directory / name).open("w", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerows([("actual", "predicted"), *named])


def _check_alike(trainings: Sequence[Fold]) -> None:
    """Assert that each training is there once, every fold's as often as another's, with the same classes, classifiers,
    ratios and people.
    """
    places = [_place(fold) for fold in trainings]
    if len(set(places)) < len(places):
        numbers = [fold for fold, _ in places]
        raise UserError(f"A fold was given twice, among {numbers}; give each fold's gathered folder once.")
    replicates = {fold: [_place(each)[1] for each in found] for fold, found in by_fold(trainings).items()}
    first = trainings[0]
    for fold in trainings[1:]:
        here, there = replicates[first.fold], replicates[fold.fold]
        if here != there:
            raise UserError(f"Fold {first.fold} has the trainings {here}, fold {fold.fold} {there}; give every fold's.")
        if _shape(fold) != _shape(first):
            raise UserError(
                f"Folds {first.fold} and {fold.fold} differ in their classes, classifiers, ratios or external people; "
                "gather both from one pipeline."
            )


def _change(milestones: Mapping[int, np.ndarray]) -> np.ndarray:
    """What the last milestone differs by from the first, amplified, as levels about grey."""
    first, last = (milestones[choose(milestones)].astype(int) for choose in (min, max))
    return np.clip(128 + AMPLIFIED * (last - first), 0, 255).astype(np.uint8)


def _place(fold: Fold) -> tuple[int, int]:
    return fold.fold, fold.replicate


def _shape(fold: Fold) -> tuple[Any, ...]:
    return (
        fold.classes,
        fold.external_people,
        [(each.network, each.training_set) for each in fold.classifications],
        [(each.network, each.training_set, each.ratio) for each in fold.points],
    )


def _histories(paths: Sequence[Path], name: str) -> list[History]:
    return [read_history(path / "histories" / f"{name}.csv") for path in paths]


def _length(histories: Sequence[History]) -> int:
    return len(histories[0]["step"])
