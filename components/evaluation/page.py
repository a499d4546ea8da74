"""Pages: one self-contained HTML file from a template, with charts and images inside it."""

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from components.core.images import as_levels
from components.evaluation.charts import Chart
from components.evaluation.summary import Summary

TEMPLATES = Path(__file__).parent / "templates"
GAP = 4
"""Transparent pixels between images."""

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
        **FORMS,
        "signed": signed,
        "thousands": thousands,
        "plus_minus": plus_minus,
        "spread": spread,
    }
    environment.globals |= {"svg": _svg, "mosaic": mosaic}
    return environment.get_template(template).render(content)


def mosaic(images: np.ndarray, columns: int | None = None) -> str:
    """Images (k, C, H, W), C 1 or 3, floats in [-1, 1] or uint8 levels, row by row as the data URI of a PNG.

    Without `columns` it is about square; what is left of the last row is transparent.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    levels = as_levels(images)
    opaque = np.full_like(levels[:, :1], 255)
    tiles = np.concatenate([levels, opaque], axis=1)
    tiles = np.pad(tiles, ((0, -len(tiles) % columns), (0, 0), (0, GAP), (0, GAP)))
    _, channels, height, width = tiles.shape
    rows = tiles.reshape(-1, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = rows.reshape(-1, columns * width, channels)[:-GAP, :-GAP]
    content = io.BytesIO()
    Image.fromarray(picture, "LA" if images.shape[1] == 1 else "RGBA").save(content, "PNG", optimize=True)
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


def signed(difference: float) -> str:
    """A difference with its sign: −0.1234 → −0.12."""
    return f"{difference:+.2f}".replace("-", "−")


def short(value: float) -> str:
    """Three significant digits at least, with a true minus: 0.012345 → 0.0123, 12345.6 → 12346."""
    return (f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}").replace("-", "−")


def thousands(number: int) -> str:
    """12345 → 12 345, with spaces that do not break."""
    return f"{number:,}".replace(",", "\u202f")


def plus_minus(summary: Summary, form: str = "percent") -> str:
    """Mean and, over several values, ± standard deviation; `form` names how the mean is written."""
    deviation = spread(summary, "percent" if form == "points" else form)
    return " ".join(filter(None, (FORMS[form](summary.mean), deviation)))


def spread(summary: Summary, form: str = "percent") -> str:
    """± standard deviation, nothing where there are not several values to deviate."""
    return f"± {FORMS[form](summary.std)}" if len(summary.values) > 1 and summary.std is not None else ""


FORMS = {"percent": percent, "points": points, "fixed": fixed, "short": short}
"""How a number may be written."""


def _svg(chart: Chart) -> Markup:
    return Markup(chart.svg())
