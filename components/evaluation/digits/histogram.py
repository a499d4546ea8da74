"""What a generator draws: its images counted by the concept they show, against the real ones'."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FORGOTTEN = 0.1
"""A concept counts as forgotten below this part of its share among the real images."""


@dataclass(frozen=True)
class Histogram:
    """Shares of the concepts among generated images, and among real ones; each sums to 1.

    Attributes:
        concepts: their names.
        drawn, real: by concept.
    """

    concepts: tuple[str, ...]
    drawn: tuple[float, ...]
    real: tuple[float, ...]

    @classmethod
    def of(cls, concepts: tuple[str, ...], drawn: np.ndarray, real: np.ndarray) -> "Histogram":
        """From a concept network's answers p(y|x), (N, n) and (M, n); an image counts for its likeliest concept."""
        return cls(concepts, _shares(drawn), _shares(real))

    @classmethod
    def together(cls, several: "Sequence[Histogram]") -> "Histogram":
        """Of equally many images each."""
        first = several[0]
        drawn = np.mean([each.drawn for each in several], axis=0).tolist()
        return cls(first.concepts, tuple(drawn), first.real)

    @property
    def forgotten(self) -> list[str]:
        """The concepts that the generator hardly draws."""
        rows = zip(self.concepts, self.drawn, self.real, strict=True)
        return [concept for concept, drawn, real in rows if drawn < FORGOTTEN * real]

    @property
    def variation(self) -> float:
        """Total variation distance: the share of images that would have to show another concept; 0 to 1."""
        return sum(abs(drawn - real) for drawn, real in zip(self.drawn, self.real, strict=True)) / 2


def _shares(probabilities: np.ndarray) -> tuple[float, ...]:
    counts = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])
    return tuple((counts / len(probabilities)).tolist())
