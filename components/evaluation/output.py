"""What every evaluation writes: a page, its numbers, and the data of its charts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from components.evaluation.charts import Chart


def write_report(directory: Path, html: str, metrics: Mapping[str, Any], charts: Iterable[Chart]) -> None:
    """Write report.html, metrics.json and plots/*.csv, a file for each chart."""
    (directory / "report.html").write_text(html, encoding="utf-8")
    (directory / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    plots = directory / "plots"
    plots.mkdir()
    for chart in charts:
        (plots / f"{chart.name}.csv").write_text(chart.csv(), encoding="utf-8")
