"""Inputs of `evaluate_colour` as the steps before it write them: small, with renderings that are made up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from components.core.images import NO_FOLD, ImageSet, save_model
from components.evaluation.colour.params import Variant
from components.gan_training.networks.pix2pix import Generator

SIDE, CROP = 20, 16
"""Of the photographs, and of the renderings."""

TEST = 6
"""Test photographs of each class."""

ERRORS: Mapping[Variant, float] = dict(zip(get_args(Variant), (60.0, 50.0, 45.0, 48.0, 55.0, 40.0, 30.0), strict=True))
"""By how many levels renderings are off, as standard deviation."""


@dataclass
class Album:
    """Everything that stands before `evaluate_colour`.

    Attributes:
        errors: levels by which a variant's renderings are off.
        seed_errors: what each replicate is further off.
        failure: a column of every history, 1 in its first step: `collapsed`, or how often it had `restarted`.
    """

    root: Path
    classes: tuple[str, ...] = ("photographs",)
    datasets: Sequence[str] = ("photographs",)
    replicates: Sequence[int] = (0, 1, 2)
    errors: Mapping[Variant, float] = field(default_factory=lambda: dict(ERRORS))
    seed_errors: Sequence[float] = (0.0, 1.0, 2.0)
    failure: str = ""

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.random = np.random.default_rng(0)
        each = 4 + TEST
        count = each * len(self.classes)
        self.data = ImageSet(
            images=self.random.integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8),
            labels=np.repeat(np.arange(len(self.classes)), each),
            classes=self.classes,
            groups=np.array([f"test/{number:03d}.jpg" for number in range(count)]),
            folds=np.tile(np.repeat([NO_FOLD, 0], [4, TEST]), len(self.classes)),
            source="somebody’s photographs",
        )
        self.data.save(self.root / "data")
        self.folders = [
            self._training(variant, dataset, replicate)
            for dataset in self.datasets
            for variant in self.errors
            for replicate in self.replicates
        ]

    def inputs(self) -> dict[str, Any]:
        """The arguments of `evaluate_colour`, without parameters."""
        return {"data": self.root / "data", "trainings": list(self.folders)}

    def originals(self, dataset: str) -> np.ndarray:
        """What a training on a data set renders, in its own colours."""
        part = self.data if dataset == "all" else self.data.of_class(dataset)
        edge = (SIDE - CROP) // 2
        return part.test(0).images[..., edge:-edge, edge:-edge]

    def _training(self, variant: Variant, dataset: str, replicate: int) -> Path:
        folder = self.root / f"{variant}-{dataset}-{replicate}"
        config = {"width": 2, "depth": 2, "dropout": 0.0, "attention": None, "attention_from": 0}
        part = self.data if dataset == "all" else self.data.of_class(dataset)
        facts = {"kind": variant, "dataset": dataset, "replicate": replicate}
        save_model(folder, Generator(**config), config, origin=part.training(0).digest(), **facts)
        originals = self.originals(dataset)
        off = self.errors[variant] + self.seed_errors[replicate]
        levels = originals + self.random.normal(0, off, originals.shape)
        np.save(folder / "rendered.npy", levels.clip(0, 255).round().astype(np.uint8))
        columns = ("step", "discriminator_loss", "generator_loss", "l1_loss", "vanishing")
        values = np.column_stack([np.arange(1, 41), self.random.random((40, 3)), np.arange(40) >= 30])
        if self.failure:
            columns, values = (*columns, self.failure), np.column_stack([values, np.arange(40) == 0])
        np.savetxt(folder / "history.csv", values, delimiter=",", header=",".join(columns), comments="")
        return folder


@pytest.fixture(scope="session")
def make_album():
    """Make everything in a folder; the fields of `Album` are the caller's."""
    return Album
