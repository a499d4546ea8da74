import base64
import io
import math
import re

import numpy as np
from PIL import Image

from components.evaluation.charts import Chart, Series
from components.evaluation.histories import read_history, windowed
from components.evaluation.page import mosaic, percent, points, short, signed, thousands

CHART = Chart(
    "losses",
    "Loss & more",
    "step",
    "Step",
    [1, 2],
    [Series("a", "A", [0.5, math.nan], spread=[0.1, math.nan]), Series("b", "B", [0.25, 0.75], colour=1)],
)


def test_csv_holds_every_column_and_leaves_gaps_empty():
    assert CHART.csv() == "step,a,a_std,b\n1,0.5,0.1,0.25\n2,,,0.75\n"


def test_svg_is_the_same_every_time():
    assert CHART.svg() == CHART.svg()


def test_svg_takes_its_colours_from_the_page_and_refers_to_nothing_outside():
    svg = CHART.svg()
    assert "var(--series-1)" in svg and "var(--ink)" in svg
    assert "http" not in svg and "<metadata" not in svg and "#0000f" not in svg


def test_svg_identifiers_carry_the_charts_name_and_are_unique():
    identifiers = re.findall(r'\bid="([^"]+)"', CHART.svg())
    assert len(set(identifiers)) == len(identifiers)
    assert all(each.startswith("losses-") for each in identifiers)


def test_alternative_text_is_escaped_and_names_every_series():
    assert 'aria-label="Loss &amp; more. A: 0.5 to 0.5; B: 0.25 to 0.75"' in CHART.svg()


def test_windows_are_means_of_equal_parts_and_ignore_gaps():
    values = [np.array([1.0, 3.0, np.nan, 5.0]), np.array([0.0, 0.0, np.nan, np.nan])]
    np.testing.assert_array_equal(windowed(values, 2), [[2, 5], [0, np.nan]])


def test_there_are_no_more_windows_than_steps():
    assert windowed([np.arange(3.0), np.arange(5.0)], 10).shape == (2, 3)


def test_an_empty_cell_of_a_history_is_not_a_number(tmp_path):
    (tmp_path / "history.csv").write_text("step,loss\n1,0.5\n2,\n")
    history = read_history(tmp_path / "history.csv")
    np.testing.assert_array_equal(history["loss"], [0.5, np.nan])


def test_grey_and_coloured_images_are_embedded():
    assert mosaic(np.zeros((3, 1, 4, 4), np.float32)).startswith("data:image/png;base64,")
    assert mosaic(np.zeros((3, 3, 4, 4), np.float32)).startswith("data:image/png;base64,")


def test_numbers_have_one_decimal_and_a_true_minus():
    assert (percent(0.8234), percent(None), points(-0.0123), points(0.0123), points(-0.0001)) == (
        "82.3",
        "–",
        "−1.2",
        "+1.2",
        "0.0",
    )


def test_a_mosaic_is_about_square_and_takes_levels_as_they_are():
    images = np.full((5, 1, 4, 4), 255, np.uint8)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(mosaic(images).partition(",")[2]))))
    assert picture.shape == (2 * 4 + 4, 3 * 4 + 2 * 4, 2)
    assert picture[0, 0].tolist() == [255, 255]
    assert picture[-1, -1].tolist() == [0, 0]  # the place of the sixth image


def test_bars_of_a_category_stand_side_by_side():
    bars = [Series(name, name, [0.2, 0.8], "bar", colour) for colour, name in enumerate(("a", "b"))]
    svg = Chart("bars", "Shares", "digit", "Digit", ["0", "1"], bars).svg()
    lefts = [float(x) for x in re.findall(r'd="M ([\d.]+) [^"]*"[^>]*fill: var\(--series', svg)]
    assert len(set(lefts)) == 4  # two categories' bars of "a", then of "b", each to the right of it
    assert lefts[0] < lefts[2] < lefts[1] < lefts[3]


def test_other_forms_of_numbers():
    assert (signed(-0.126), short(0.012345), short(-1234.6), thousands(12345)) == (
        "−0.13",
        "0.0123",
        "−1235",
        "12\u202f345",
    )
