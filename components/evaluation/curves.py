"""Curves of trainings: metrics by step, averaged over windows, one chart for lines that belong together."""

from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluation.charts import DASHES, Chart, Series
from components.evaluation.histories import History, windowed


@dataclass(frozen=True)
class Line:
    """One metric of one training, or of the same training on several folds or seeds.

    Attributes:
        name: its column in the chart's CSV.
        label: its entry in the legend, "" for none.
        column: of the histories.
        histories: one, or one a fold or seed.
    """

    name: str
    label: str
    column: str
    histories: Sequence[History]


def curve_chart(
    name: str, title: str, x_label: str, lines: Sequence[Line], windows: int, percent: bool = False
) -> Chart:
    """Mean of every line over its histories, and standard deviation where there are several."""
    every = [history for line in lines for history in line.histories]
    windows = min(windows, *(len(history["step"]) for history in every))
    series = []
    for index, line in enumerate(lines):
        values = windowed([history[line.column] for history in line.histories], windows)
        spread = values.std(axis=0, ddof=1).tolist() if len(values) > 1 else None
        means = values.mean(axis=0).tolist()
        series.append(Series(line.name, line.label, means, colour=index % len(DASHES), spread=spread))
    return Chart(name, title, x_label.lower(), x_label, middles(every, windows), series, percent)


def middles(histories: Sequence[History], windows: int) -> list[float]:
    """Mean step of each window."""
    return windowed([history["step"] for history in histories], windows).mean(axis=0).tolist()
