"""Are the images any good? E-GAN's and the refiner's, measured fold by fold, in one table over all folds.

A fold's folder holds them as quality.json, a `Quality`, and pairs.npy, the nearest pairs:
(kinds, 2, k, C, H, W) float32 in [-1, 1], the kinds being `KINDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from components.core.contract import Run
from components.core.images import ALL, ImageSet
from components.core.training import seed_draws, train_judge
from components.evaluation.cardiac.fold import Drawn
from components.evaluation.page import MISSING
from components.evaluation.quality.kernel import over_folds
from components.evaluation.quality.measures import (
    FEATURES,
    JUDGE,
    PIXELS,
    RANDOM,
    REAL,
    Kind,
    Measures,
    Quality,
    measure,
)
from components.evaluation.statistics import Difference
from components.evaluation.summary import summarise

KINDS = (REAL, "egan", "simgan")
MADE = KINDS[1:]

FEATURE_NAMES = {JUDGE: "the judge’s features", RANDOM: "features that learned nothing"}

PER_CLASS = ("fidelity", "belief", "contradicting")
"""Figures of which there is one a class."""

QUALITY, PAIRS = "quality.json", "pairs.npy"


def save_quality(
    training: ImageSet, held_out: ImageSet, made: Sequence[ImageSet], run: Run, threads: int, pictured: int
) -> None:
    """Measure a fold's generated images and write what was found into the run's folder.

    Args:
        training, held_out: the fold's real images.
        made: E-GAN's, and the same refined, in their order.
        threads: for sums outside torch, which hang on them.
        pictured: nearest pairs of each kind to keep, at most.
    """
    with threadpool_limits(threads):
        seed_draws(run, "judge")
        judge = train_judge(training.images, training.labels, len(training.classes))
        quality, pairs = measure(judge, training, held_out, dict(zip(MADE, made, strict=True)), pictured)
    (run.out / QUALITY).write_text(quality.model_dump_json(indent=1) + "\n")
    np.save(run.out / PAIRS, pairs)


@dataclass(frozen=True)
class ImageQuality:
    """All folds'.

    Attributes:
        classes: their names.
        folds: their measures.
        drawn: what became of their E-GAN images where they were drawn, by class.
        pairs: the nearest of all folds, (kinds, 2, k, C, H, W).
    """

    classes: Sequence[str]
    folds: Sequence[Quality]
    drawn: Sequence[Mapping[str, Drawn]]
    pairs: np.ndarray

    @classmethod
    def read(
        cls, directories: Sequence[Path], classes: Sequence[str], drawn: Sequence[Mapping[str, Drawn]]
    ) -> "ImageQuality":
        """Read what `save_quality` wrote; `drawn` is every fold's."""
        folds = [Quality.model_validate_json((path / QUALITY).read_text()) for path in directories]
        pairs = [np.load(path / PAIRS) for path in directories]
        count = min(each.shape[2] for each in pairs)
        nearest = []
        for index, kind in enumerate(KINDS):
            ratios = np.concatenate([fold.kinds[kind].pictured for fold in folds])
            chosen = np.argsort(ratios, kind="stable")[:count]
            nearest.append(np.concatenate([each[index] for each in pairs], axis=1)[:, chosen])
        return cls(classes, folds, drawn, np.array(nearest))

    def mean(self, kind: str, value: Callable[[Kind], float | None]) -> float | None:
        """Of a figure of one kind of images, over the folds that define it."""
        return summarise(value(fold.kinds[kind]) for fold in self.folds).mean

    def of_class(self, kind: str, name: str, value: Callable[[Measures], float | None]) -> float | None:
        """Of a figure of one class of them, or of `ALL`."""
        return self.mean(kind, lambda each: value(self._measures(each, name)))

    def distance(self, kind: str, features: str, name: str = ALL) -> Difference:
        """Kernel distance from held-out people; of real images, the training people's."""
        measured = (self._measures(fold.kinds[kind], name) for fold in self.folds)
        return over_folds(each.kernel_distance[features] for each in measured)

    def contradicting(self, name: str) -> list[float]:
        """Share of a class's E-GAN images that contradicted their label where they were drawn, of every fold."""
        return [fold[name].contradicting / fold[name].drawn for fold in self.drawn]

    def left(self, name: str) -> int:
        """So many of them stayed, in all folds."""
        return sum(fold[name].left for fold in self.drawn)

    def likeness(self, kind: str) -> dict[str, list[float]]:
        """Of every fold, what health calls `sharpness_ratio` and `diversity_ratio`; NaN where unknown."""
        every = [fold.kinds[kind].every for fold in self.folds]
        figures = {"sharpness_ratio": "sharpness", "diversity_ratio": "diversity"}
        return {
            column: [np.nan if (value := getattr(each, figure)) is None else value for each in every]
            for column, figure in figures.items()
        }

    @property
    def changes(self) -> dict[str, Difference]:
        """What the refiner changes of the kernel distance, by features; below 0 it brings the images nearer."""
        return {features: over_folds(fold.changes[features] for fold in self.folds) for features in FEATURES}

    @property
    def answer(self) -> str:
        """Does the refiner bring the images nearer to real ones, as the paper says? In one sentence.

        It takes both kinds of features to say so, hence no correction for asking twice.
        """
        changes = self.changes
        told = "; ".join(
            f"in {FEATURE_NAMES[features]} {'farther' if change.estimate > 0 else 'nearer'} by "
            f"{number(abs(change.estimate))}, 95 % interval of the change {reach(change)}"
            for features, change in changes.items()
        )
        verdict = {
            ("no", "no"): "Yes, the refiner brings the images nearer to real ones",
            ("yes", "yes"): "No, the refiner takes the images farther from real ones",
        }.get(
            tuple(change.answer() for change in changes.values()),
            "It is not shown that the refiner brings the images nearer to real ones",
        )
        return f"{verdict}: {told}."

    def as_json(self) -> dict[str, Any]:
        """What they add to metrics.json: means over the folds, by kind, and what the refiner changes."""
        refiner = {features: _list(change) for features, change in self.changes.items()}
        return {"images": {kind: self._kind(kind) for kind in KINDS} | {"refiner": refiner | {"answer": self.answer}}}

    def headline_metrics(self) -> dict[str, float]:
        """`images/<kind>/<figure>`, for whoever compares runs; what is said of classes are means over them."""
        found = {}
        for kind in KINDS:
            every = self._kind(kind)
            shown = {name: value[0] if isinstance(value, list) else value for name, value in every.items()}
            shown |= {name: summarise(every[name].values()).mean for name in PER_CLASS if name in every}
            found |= {f"images/{kind}/{name}": value for name, value in shown.items() if isinstance(value, float)}
        return found

    def _kind(self, kind: str) -> dict[str, Any]:
        every = {
            "classes_apart": self.mean(kind, lambda each: each.classes_apart),
            "real_apart": self.mean(kind, lambda each: each.real_apart),
            "taught": self.mean(kind, lambda each: each.taught),
            "near_copies": self.mean(kind, lambda each: each.near_copies[PIXELS]),
            "near_copies_judge": self.mean(kind, lambda each: each.near_copies[JUDGE]),
            "fidelity": {name: self.of_class(kind, name, lambda each: each.fidelity) for name in self.classes},
            "belief": {name: self.of_class(kind, name, lambda each: each.belief) for name in self.classes},
        }
        if kind == MADE[0]:
            shares = {name: self.contradicting(name) for name in self.classes}
            every |= {
                "contradicting": {name: summarise(each).mean for name, each in shares.items()},
                "contradicting_folds": shares,
                "contradicting_left": {name: self.left(name) for name in self.classes},
            }
        by_class = {name: self._figures(kind, name) for name in self.classes}
        return self._figures(kind, ALL) | every | {"classes": by_class}

    def _measures(self, kind: Kind, name: str) -> Measures:
        return kind.every if name == ALL else kind.classes[self.classes.index(name)]

    def _figures(self, kind: str, name: str) -> dict[str, Any]:
        plain = {
            figure: self.of_class(kind, name, lambda each, figure=figure: getattr(each, figure))
            for figure in ("diversity", "sharpness", "spectrum")
        }
        by_features = {
            f"{figure}_{features}": self.of_class(
                kind, name, lambda each, figure=figure, features=features: getattr(each, figure)[features]
            )
            for figure in ("density", "coverage")
            for features in FEATURES
        }
        distances = {features: _list(self.distance(kind, features, name)) for features in FEATURES}
        return plain | {"kernel_distance": distances[JUDGE], "kernel_distance_random": distances[RANDOM]} | by_features


def _list(distance: Difference) -> list[float | None]:
    """Estimate, low and high; null where unknown."""
    low, high = distance.interval if distance.known else (None, None)
    return [distance.estimate if np.isfinite(distance.estimate) else None, low, high]


def number(value: float) -> str:
    """A distance: −0.12, or – where it is unknown."""
    return f"{value:.2f}".replace("-", "−") if np.isfinite(value) else MISSING


def reach(distance: Difference) -> str:
    """Both ends of its interval."""
    return " to ".join(map(number, distance.interval)) if distance.known else MISSING
