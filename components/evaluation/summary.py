"""A value measured several times, as mean and standard deviation."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Summary:
    """A value over folds, or over parts of a sample.

    Attributes:
        mean: over the values that are defined, None where none is.
        std: sample standard deviation (n − 1), 0 for a single value.
        values: one for each fold or part, None where undefined.
    """

    mean: float | None
    std: float | None
    values: tuple[float | None, ...]


def summarise(values: Iterable[float | None]) -> Summary:
    """Mean and sample standard deviation of the defined values."""
    values = tuple(values)
    defined = [value for value in values if value is not None]
    if not defined:
        return Summary(None, None, values)
    return Summary(float(np.mean(defined)), float(np.std(defined, ddof=1)) if len(defined) > 1 else 0.0, values)
