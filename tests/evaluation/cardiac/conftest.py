"""Inputs of `gather` and `evaluate` as the steps before them write them: small, and made by code."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.core.images import EXTERNAL, ImageSet

CLASSES = ("non-patient", "patient")
NETWORKS = ("resnet50", "xception")
SETS = ("none", "classic", "egan", "simgan")
CONTROLS = ("oracle", "repeat")
MUTATIONS = ("minimax", "heuristic", "least_squares")


@dataclass
class Cohort:
    """Everything that stands before `gather`, for every fold and replicate.

    Attributes:
        sets: the training sets.
        swept: those with a sweep.
        external: external people of each class, with two slices each.
        accuracy: chance of a right answer, by training set.
    """

    root: Path
    images: np.ndarray
    labels: np.ndarray
    fold_count: int
    steps: int = 60
    ratios: Sequence[int] = (1, 2)
    sets: Sequence[str] = SETS
    swept: Sequence[str] = ("egan",)
    external: int = 0
    accuracy: dict[str, float] = field(
        default_factory=lambda: dict(zip((*SETS, *CONTROLS), (0.70, 0.74, 0.78, 0.80, 0.95, 0.74), strict=True))
    )

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(0)
        groups = np.array([f"patient{index // 3:03d}" for index in range(len(self.images))])
        folds = np.array([index // 3 % self.fold_count for index in range(len(self.images))])
        others = np.arange(4 * self.external)
        self.real = ImageSet(
            np.concatenate([self.images, self.images[others % len(self.images)]]),
            np.concatenate([self.labels, others // 2 % 2]),
            CLASSES,
            np.concatenate([groups, np.array([f"external{index // 2:03d}" for index in others], dtype=np.str_)]),
            np.concatenate([folds, np.full(len(others), EXTERNAL)]),
        )
        self.real.save(self.root / "data")

    def inputs(self, fold: int, replicate: int = 0) -> dict[str, Any]:
        """The arguments of `gather`, without parameters."""
        root = self.root / (f"fold-{fold}-{replicate}" if replicate else f"fold-{fold}")
        origin = self.real.training(fold).digest()
        self._generated(fold, origin, noise=0.35).save(root / "synthetic")
        drawn = {
            name: {"drawn": 10, "contradicting": index + fold, "left": index} for index, name in enumerate(CLASSES)
        }
        (root / "synthetic" / "fidelity.json").write_text(json.dumps(drawn))
        self._generated(fold, origin, noise=0.12).save(root / "refined")
        self._model(root / "refined" / "refiner", origin)
        self._history(
            root / "refined",
            refiner_loss=(1.2, 0.7),
            realism_loss=(0.9, 0.5),
            discriminator_loss=(0.7, 0.6),
            sharpness_ratio=(1.0, 1.2),
            diversity_ratio=(1.0, 1.1),
        )
        self._milestones(root / "refined" / "milestones")
        for name in CLASSES:
            self._model(root / f"generator-{name}", origin, label=name, selection="fitness")
            self._egan_history(root / f"generator-{name}")
        for network in NETWORKS:
            for name in self.sets:
                self._classification(root / f"{network}-{name}", origin, fold, network, name)
            for name in self.swept:
                self._sweep(root / f"sweep-{network}-{name}", fold, network, name)
        return {
            "data": self.root / "data",
            "generators": [root / f"generator-{name}" for name in CLASSES],
            "synthetic": root / "synthetic",
            "refined": root / "refined",
            "classifications": [root / f"{network}-{name}" for network in NETWORKS for name in self.sets],
            "sweeps": [root / f"sweep-{network}-{name}" for network in NETWORKS for name in self.swept],
            "fold": fold,
            "replicate": replicate,
        }

    def _generated(self, fold: int, origin: str, noise: float) -> ImageSet:
        sets = []
        for index, name in enumerate(CLASSES):
            images = self.real.training(fold).of_class(name).images
            noisy = np.clip(images + noise * self.random.standard_normal(images.shape), -1, 1).astype(np.float32)
            sets.append(ImageSet.generated(noisy, index, CLASSES, origin))
        return ImageSet.concatenate(sets)

    def _model(self, directory: Path, origin: str, **facts: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps({"network": {}, "facts": {"origin": origin, **facts}}))
        (directory / "weights.safetensors").write_bytes(self.random.bytes(64))

    def _milestones(self, directory: Path) -> None:
        """Three images of each class, brighter from one milestone to the next."""
        directory.mkdir(parents=True, exist_ok=True)
        for update in (0, 30, 60):
            np.save(directory / f"{update:06d}.npy", np.full((2, 3, 1, 8, 8), update, np.uint8))

    def _history(self, directory: Path, **ends: tuple[float, float]) -> None:
        """Metrics that run from one value to another, noisily."""
        time = np.linspace(0, 1, self.steps)
        columns = {
            name: last + (first - last) * np.exp(-4 * time) + 0.03 * self.random.standard_normal(self.steps)
            for name, (first, last) in ends.items()
        }
        _write_history(directory, columns)

    def _egan_history(self, directory: Path) -> None:
        time = np.linspace(0, 1, self.steps)
        noise = self.random.standard_normal((3, self.steps))
        quality, diversity = 0.3 + 0.15 * time + 0.04 * noise[0], 0.5 - time + 0.2 * noise[1]
        survivors = (self.random.random(self.steps) > 0.2 + 0.5 * time).astype(int) * 2
        columns = {
            "discriminator_loss": 0.69 - 0.05 * time + 0.01 * noise[2],
            "fitness": quality + 0.1 * diversity,
            "quality": quality,
            "diversity": diversity,
            "survivor": np.where(self.random.random(self.steps) < 0.2, 1, survivors),
            **{f"fitness_{name}": quality for name in MUTATIONS},
            "sharpness_ratio": 0.3 + 0.5 * time,
            "diversity_ratio": 1.4 - 0.5 * time,
        }
        _write_history(directory, columns)

    def _classification(self, directory: Path, origin: str, fold: int, network: str, name: str) -> None:
        self._model(directory, origin, kind=network)
        self._history(directory, loss=(0.7, 0.1), accuracy=(0.6, 0.98))
        result = {
            "network": network,
            "training_set": name,
            "fold": fold,
            "ratio": {"none": 0, "classic": 0, "egan": 3}.get(name, 4),
            "images": len(self.real.training(fold)) * (1 + self.sets.index(name)),
            **self._answers(fold, self.accuracy[name]),
            "external": self._answers(EXTERNAL, self.accuracy[name]),
        }
        (directory / "result.json").write_text(json.dumps(result))

    def _answers(self, part: int, accuracy: float) -> dict[str, Any]:
        """Labels of a part's images, and probabilities that are right so often."""
        labels = self.real.test(part).labels
        right = self.random.random(len(labels)) < accuracy
        sure = 0.5 + 0.5 * self.random.random(len(labels))
        of_patient = np.where(right == (labels == 1), sure, 1 - sure)
        return {"labels": labels.tolist(), "probabilities": np.stack([1 - of_patient, of_patient], axis=1).tolist()}

    def _sweep(self, directory: Path, fold: int, network: str, name: str) -> None:
        directory.mkdir(parents=True)
        points = [
            {
                "network": network,
                "training_set": name,
                "fold": fold,
                "ratio": ratio,
                "images": 100 * (1 + ratio),
                "accuracy": float(0.72 + 0.03 * ratio - 0.005 * ratio**2 + 0.01 * fold),
                "balanced_accuracy": 0.6,
                "probabilities": self._answers(fold, 0.75)["probabilities"],
            }
            for ratio in self.ratios
        ]
        (directory / "points.json").write_text(json.dumps(points))


def _write_history(directory: Path, columns: dict[str, np.ndarray]) -> None:
    with (directory / "history.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["step", *columns])
        writer.writerows([step, *row] for step, row in enumerate(zip(*columns.values(), strict=True), start=1))


@pytest.fixture(scope="session")
def make_cohort() -> Callable[..., Cohort]:
    """Make a cohort of 24 small images in folds; `fold_count` and the fields of `Cohort` are the caller's."""

    def make(root: Path, **fields: Any) -> Cohort:
        images = np.random.default_rng(1).uniform(-1, 1, (24, 1, 8, 8)).astype(np.float32)
        labels = np.array([int(index // 6 != 0) for index in range(24)])  # 6 of 24 are no patients
        return Cohort(root, images, labels, **fields)

    return make
