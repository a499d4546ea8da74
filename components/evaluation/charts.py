"""Charts: each is an inline SVG for a page that may be light or dark, and a CSV for `dvc plots`."""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

INCHES = (4.6, 2.7)
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1.5, 1.2), (6, 1.5, 1.5, 1.5))
"""Lines differ by dash as well as by colour; repeated in the legend."""

THEME = {"ink": "#0000f0", "grid": "#0000f1", **{f"series-{index}": f"#0000f{index + 2}" for index in range(4)}}
"""Placeholders that become the page's colours of these names (`var(--ink)`), which change with light and dark."""

STYLE = {
    "svg.hashsalt": "ganflow",  # identifiers must not be drawn at random
    "svg.fonttype": "none",  # real text, in the page's own font
    "font.size": 9,
    "axes.facecolor": "none",
    "axes.edgecolor": THEME["ink"],
    "axes.linewidth": 0.6,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.labelcolor": THEME["ink"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": THEME["grid"],
    "grid.linewidth": 0.6,
    "text.color": THEME["ink"],
    "xtick.color": THEME["ink"],
    "ytick.color": THEME["ink"],
    "ytick.major.size": 0,
    "lines.linewidth": 1.7,
}

Look = Literal["line", "points", "hollow", "faint", "reference", "share", "bar"]


@dataclass(frozen=True)
class Series:
    """One column of a chart.

    Attributes:
        name: its column in the CSV.
        label: its entry in the legend, "" for none.
        values: one for each x; NaN where there is none.
        look: how it is drawn; "share" stacks, "bar" stands beside the other bars of its category.
        colour: index of the page's series colours, 0–3, and of the dash.
        spread: standard deviation: a band about a line, bars about points; column `<name>_std`.
    """

    name: str
    label: str
    values: Sequence[float]
    look: Look = "line"
    colour: int = 0
    spread: Sequence[float] | None = None

    @property
    def dashes(self) -> tuple[float, ...]:
        return (3, 2) if self.look == "reference" else DASHES[self.colour]


@dataclass(frozen=True)
class Chart:
    """Series over one x.

    Attributes:
        name: its file under plots/, without the ending.
        title: what the y axis shows.
        x_name: the CSV's first column.
        x_label: what the x axis shows.
        x: numbers, or names of categories.
        percent: values are fractions, the axis shows percent.
        limits: of the y axis; None fits it to the values.
    """

    name: str
    title: str
    x_name: str
    x_label: str
    x: Sequence[float] | Sequence[str]
    series: Sequence[Series]
    percent: bool = False
    limits: tuple[float, float] | None = None

    def csv(self) -> str:
        """A header and a row for each x; an empty cell where there is no value."""
        columns = {self.x_name: self.x}
        for each in self.series:
            columns[each.name] = each.values
            if each.spread is not None:
                columns[f"{each.name}_std"] = each.spread
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
        return text.getvalue()

    def svg(self) -> str:
        """The chart as an `<svg>` element, in the page's font and colours; the same bytes every time."""
        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # whatever a user's own matplotlibrc says
            matplotlib.rcParams.update(STYLE)
            figure = Figure(INCHES, facecolor="none")
            self._draw(figure.add_axes((0.09, 0.16, 0.9, 0.81)))
            text = io.StringIO()
            FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
        return _inline(text.getvalue(), re.sub(r"\W", "-", self.name), self.alt())

    def alt(self) -> str:
        """The chart in words: what it shows, and where each series begins and ends."""
        return f"{self.title}. " + "; ".join(filter(None, map(self._in_words, self.series)))

    def _draw(self, axes: Axes) -> None:
        positions = range(len(self.x)) if self._categories else self.x
        bottom = [0.0] * len(self.x)
        for each in self.series:
            match each.look:
                case "share":
                    width = (positions[-1] - positions[0]) / max(1, len(positions) - 1) or 1
                    colour = THEME[f"series-{each.colour}"]
                    axes.bar(positions, each.values, width, bottom, color=colour, edgecolor=colour, linewidth=0.3)
                    bottom = [low + value for low, value in zip(bottom, each.values, strict=True)]
                case "bar":
                    bars = [other for other in self.series if other.look == "bar"]
                    width = 0.8 / len(bars)
                    shift = (bars.index(each) - (len(bars) - 1) / 2) * width
                    colour = THEME[f"series-{each.colour}"]
                    axes.bar([place + shift for place in positions], each.values, width, color=colour)
                case "reference":
                    axes.axhline(each.values[0], color=THEME["ink"], linewidth=1, dashes=each.dashes)
                case _:
                    _draw_series(axes, positions, each)
        axes.set_xlabel(self.x_label)
        if self._categories:
            axes.set_xticks(positions, self.x)
            axes.set_xlim(-0.5, len(self.x) - 0.5)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=(1, 2, 5, 10)))
        if self.percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        axes.margins(x=0.02, y=0.08)
        if self.limits:
            axes.set_ylim(self.limits)

    @property
    def _categories(self) -> bool:
        return isinstance(self.x[0], str)

    def _in_words(self, series: Series) -> str:
        values = [value for value in series.values if not math.isnan(value)]
        if not series.label or not values:
            return ""
        first, last = (f"{100 * value:.1f} %" if self.percent else f"{value:.3g}" for value in (values[0], values[-1]))
        return f"{series.label}: {first}" if series.look == "reference" else f"{series.label}: {first} to {last}"


def _draw_series(axes: Axes, x: Sequence[float], series: Series) -> None:
    kept = [index for index, value in enumerate(series.values) if not math.isnan(value)]
    x, values = [x[index] for index in kept], [series.values[index] for index in kept]
    colour = THEME[f"series-{series.colour}"]
    spread = None if series.spread is None else [series.spread[index] for index in kept]
    match series.look:
        case "line":
            if spread is not None:
                low, high = zip(*((v - s, v + s) for v, s in zip(values, spread, strict=True)), strict=True)
                axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
            axes.plot(x, values, color=colour, dashes=series.dashes, marker="o" if len(x) < 10 else "", markersize=4)
        case "points":
            axes.errorbar(x, values, spread, color=colour, fmt="o", markersize=7, elinewidth=1.7, capsize=4)
        case "hollow":
            axes.plot(x, values, "D", color=colour, markerfacecolor="none", markersize=7, markeredgewidth=1.5)
        case "faint":
            axes.plot([each + 0.16 for each in x], values, "o", color=colour, markersize=3, alpha=0.6, linewidth=0)


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


def _inline(svg: str, prefix: str, alt: str) -> str:
    """Make Matplotlib's SVG file an element of a page: no prolog, size or metadata, identifiers of its own."""
    box = re.search(r'viewBox="([^"]+)"', svg)[1]
    body = svg[svg.index("<defs>") : svg.rindex("</svg>")]
    body = re.sub(r' id="[a-z][A-Za-z0-9.]*_\d+"', "", body)  # "axes_1": named, but never referred to
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'xlink:href="#|href="#', f'href="#{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-")
    for name, colour in THEME.items():
        body = body.replace(colour, f"var(--{name})")
    return f'<svg viewBox="{box}" role="img" aria-label="{_escape(alt)}">{body}</svg>'


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
