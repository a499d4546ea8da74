"""Pages: one self-contained HTML file from a template, with charts and images inside it."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from components.evaluation.charts import Chart
from components.evaluation.scores import Summary

TEMPLATES = Path(__file__).parent / "templates"
GAP = 4
"""Transparent pixels between the images of a strip."""

MISSING = "–"


def render(template: str, **content: Any) -> str:
    """Fill in a template; text is escaped, an unknown name is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "fixed": fixed,
        "plus_minus": plus_minus,
        "spread": spread,
    }
    environment.globals |= {"svg": _svg, "strip": strip}
    return environment.get_template(template).render(content)


def strip(images: np.ndarray) -> str:
    """Images (k, C, H, W) in [-1, 1], C 1 or 3, side by side as the data URI of a PNG."""
    levels = np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)
    opaque = np.full_like(levels[:, :1], 255)
    padded = np.pad(np.concatenate([levels, opaque], axis=1), ((0, 0), (0, 0), (0, 0), (0, GAP)))
    row = np.concatenate(list(padded.transpose(0, 2, 3, 1)), axis=1)[:, :-GAP]
    content = io.BytesIO()
    Image.fromarray(row, "LA" if images.shape[1] == 1 else "RGBA").save(content, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def percent(fraction: float | None) -> str:
    """0.8234 → 82.3."""
    return MISSING if fraction is None else f"{100 * fraction:.1f}"


def points(difference: float | None) -> str:
    """A difference of fractions as signed percentage points: −0.0123 → −1.2."""
    if difference is None:
        return MISSING
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def fixed(value: float | None) -> str:
    """0.8234 → 0.82."""
    return MISSING if value is None else f"{value:.2f}"


def plus_minus(summary: Summary, form: str = "percent") -> str:
    """Mean and, over several folds, ± standard deviation; `form` names how the mean is written."""
    write = {"percent": percent, "points": points, "fixed": fixed}[form]
    return " ".join(filter(None, (write(summary.mean), spread(summary, fixed if form == "fixed" else percent))))


def spread(summary: Summary, write: Callable[[float], str] = percent) -> str:
    """± standard deviation, nothing where there are not several folds to deviate."""
    return f"± {write(summary.std)}" if len(summary.folds) > 1 and summary.std is not None else ""


def _svg(chart: Chart) -> Markup:
    return Markup(chart.svg())
