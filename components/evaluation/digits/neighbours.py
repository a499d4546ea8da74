"""Nearest training images: does a generator copy what it was trained on?"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CLOSE = 0.01
"""Quantile of the held-out images' distances below which a generated image counts as suspiciously close."""

MIDDLE = 128
"""Levels are taken as −128 … 127: for images of up to 1024 values every product sum is a whole number below 2²⁴,
which float32 holds exactly. So distances are exact, and the same on any number of threads."""

BLOCK = 4096
"""Training images compared at a time; every thousand queries then need some 200 MB."""


@dataclass(frozen=True)
class Neighbours:
    """The k nearest training images of N images, nearest first.

    Attributes:
        distances: (N, k), Euclidean, of pixels in [0, 1].
        indices: (N, k), into the training images; of equally near ones the first.
    """

    distances: np.ndarray
    indices: np.ndarray


@dataclass(frozen=True)
class Memorisation:
    """How near generated images come to the training images, against how near unseen real images do.

    Attributes:
        generated, held_out: median distance to the nearest training image.
        close: share of generated images nearer than all but `CLOSE` of the held-out ones; `CLOSE` where none is copied.
    """

    generated: float
    held_out: float
    close: float

    @property
    def ratio(self) -> float | None:
        """Of the medians: near 1 for a good generator, near 0 for one that copies; None where it is undefined."""
        return self.generated / self.held_out if self.held_out else None

    @classmethod
    def of(cls, generated: np.ndarray, held_out: np.ndarray) -> "Memorisation":
        """From nearest distances, (N,) and (M,)."""
        threshold = np.quantile(held_out, CLOSE)
        return cls(float(np.median(generated)), float(np.median(held_out)), float((generated < threshold).mean()))


def nearest(images: np.ndarray, training: np.ndarray, count: int) -> Neighbours:
    """The `count` nearest training images by Euclidean distance of pixels.

    Args:
        images: (N, C, H, W) uint8.
        training: (M, C, H, W) uint8, M ≥ count; it may be memory-mapped, and is read once, block by block.
    """
    queries = _centred(images)
    squares = _squares(queries)
    best = torch.empty(len(images), 0, dtype=torch.int64)
    for start in range(0, len(training), BLOCK):
        block = _centred(training[start : start + BLOCK])
        distances = squares[:, None] + _squares(block) - 2 * (queries @ block.T).long()
        # Distance and index in one number: the order is total, so ties fall the same way every time.
        keys = distances * len(training) + torch.arange(start, start + len(block))
        candidates = torch.cat([best, keys], dim=1)
        best = candidates.topk(min(count, candidates.shape[1]), largest=False).values
    distances, indices = best // len(training), best % len(training)
    return Neighbours(distances.double().sqrt().numpy() / 255, indices.numpy())


def _centred(images: np.ndarray) -> Tensor:
    """(N, C, H, W) uint8 → (N, C·H·W) float32 whole numbers from −128 to 127."""
    return torch.from_numpy(np.array(images)).flatten(1).float() - MIDDLE


def _squares(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1).long()
