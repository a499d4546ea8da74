"""Training histories: read, and averaged over windows so that a curve of any length is a small figure."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

History = dict[str, np.ndarray]
"""Columns of a history.csv, (steps,) float64; NaN where a step did not measure a metric."""


def read_history(path: Path) -> History:
    """Read a history.csv: a column `step`, and metrics."""
    with path.open(newline="") as stream:
        names, *rows = csv.reader(stream)
    cells = [[float(cell) if cell else np.nan for cell in row] for row in rows]
    return dict(zip(names, np.array(cells, dtype=np.float64).reshape(-1, len(names)).T, strict=True))


def windowed(values: Sequence[np.ndarray], windows: int) -> np.ndarray:
    """Means over equal parts of each history.

    Args:
        values: one array (steps,) a fold; lengths may differ.
        windows: parts to cut each into, at most as many as the shortest has steps.

    Returns:
        (folds, windows), NaN where nothing in a window was measured.
    """
    count = min(windows, *map(len, values))
    return np.array([[_mean(part) for part in np.array_split(each, count)] for each in values])


def failures(histories: Mapping[str, History]) -> list[str]:
    """Which adversarial trainings, by name, collapsed or were begun anew, one phrase each."""
    return [f"{name} {words}" for name, history in histories.items() for words in _failures(history)]


def _failures(history: History) -> Iterator[str]:
    times = int(np.nansum(history.get("restarted", [0])))
    if times:
        yield "begun anew" + (f" {times} times" if times > 1 else "")
    collapsed = np.nan_to_num(history.get("collapsed", np.zeros(0))) > 0
    if collapsed.any():
        yield f"collapsed at step {int(history['step'][collapsed.argmax()])}"


def _mean(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else np.nan
