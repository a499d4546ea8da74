"""Inputs of `evaluate_digits` as the steps before it write them: small, with real networks that learnt nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.classification.concept import ConceptNetwork
from components.core.images import NO_FOLD, ImageSet, save_model
from components.gan_training.networks import dcgan, gan

DIGITS = tuple("0123456789")
STYLES = ("style-0", "style-1", "style-2")
SIZE = 28


@dataclass
class Handwriting:
    """Everything that stands before `evaluate_digits`; a digit of the training part is a bright row of its own.

    Attributes:
        source: what the images are said to be.
        label: the digit of experiment 2.
        failure: a column of every history, 1 in its first step: `collapsed`, or how often it had `restarted`.
    """

    root: Path
    source: str = "MNIST-format idx files"
    label: str = "6"
    replicates: Sequence[int] = (0,)
    failure: str = ""
    iterations: dict[str, int] = field(default_factory=lambda: {"gan": 100, "dcgan": 20})

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.random = np.random.default_rng(0)
        labels = np.tile(np.arange(10), 12)
        folds = np.repeat([NO_FOLD, 0], [80, 40])
        images = self.random.integers(0, 60, (120, 1, SIZE, SIZE), dtype=np.uint8)
        images[np.arange(120), 0, 2 * labels + 4] = 230
        self.real = ImageSet(images, labels, DIGITS, np.full(120, ""), folds, source=self.source)
        of_label = self.real.of_class(self.label)
        self.styles = ImageSet(
            of_label.images, np.arange(len(of_label)) % 3, STYLES, of_label.groups, of_label.folds, source=self.source
        )
        self.real.save(self.root / "data")
        self.styles.save(self.root / "styles")
        self._concept(self.root / "concept", self.real)
        self._concept(self.root / "style-concept", self.styles)
        self.folders = [
            self._training(kind, label, replicate)
            for replicate in self.replicates
            for kind in ("gan", "dcgan")
            for label in ("all", self.label)
        ]

    def inputs(self) -> dict[str, Any]:
        """The arguments of `evaluate_digits`, without parameters."""
        return {
            "data": self.root / "data",
            "styles": self.root / "styles",
            "concept": self.root / "concept",
            "style_concept": self.root / "style-concept",
            "generators": list(self.folders),
        }

    def _concept(self, folder: Path, images: ImageSet) -> None:
        config = {"classes": len(images.classes), "in_channels": 1, "width": 2}
        save_model(folder, ConceptNetwork(**config), config, origin=images.training(0).digest())

    def _training(self, kind: str, label: str, replicate: int) -> Path:
        folder = self.root / f"{kind}-{label}-{replicate}"
        config = {"latent_dim": 4, "channels": 1, "size": SIZE, "momentum": 0.8}
        config |= {"widths": [8, 8, 8], "leak": 0.2} if kind == "gan" else {"widths": [8, 4, 4, 2]}
        generator = {"gan": gan.Generator, "dcgan": dcgan.Generator}[kind](**config)
        origin = self.real.training(0).digest()
        save_model(folder, generator, config, origin=origin, kind=kind, label=label, replicate=replicate)
        self._history(folder, self.iterations[kind])
        (folder / "milestones").mkdir()
        for share in (0, 0.1, 0.5, 1):
            images = self.random.integers(0, 256, (5, 1, SIZE, SIZE), dtype=np.uint8)
            np.save(folder / "milestones" / f"{round(share * self.iterations[kind]):06d}.npy", images)
        return folder

    def _history(self, folder: Path, steps: int) -> None:
        columns = ("step", "discriminator_loss", "generator_loss", "diversity_ratio", "discriminator_margin")
        values = np.column_stack([np.arange(1, steps + 1), self.random.random((steps, 4))])
        if self.failure:
            columns, values = (*columns, self.failure), np.column_stack([values, np.arange(steps) == 0])
        np.savetxt(folder / "history.csv", values, delimiter=",", header=",".join(columns), comments="")


@pytest.fixture(scope="session")
def make_handwriting():
    """Make everything in a folder; the fields of `Handwriting` are the caller's."""
    return Handwriting
