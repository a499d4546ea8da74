import math

import numpy as np
import pytest

from components.evaluation.colour.colourfulness import colourfulness


def picture(*colours):
    """Pixels side by side."""
    return np.array(colours, np.uint8).T[None, :, None, :]


def test_grey_has_no_colour():
    assert colourfulness(picture((0, 0, 0), (90, 90, 90), (255, 255, 255))) == 0


def test_one_colour_counts_by_its_distance_from_grey():
    # rg = 60, yb = 70 - 20 = 50
    assert colourfulness(picture((100, 40, 20), (100, 40, 20))) == pytest.approx(0.3 * math.hypot(60, 50))


def test_opposite_colours_count_by_their_spread():
    # rg = ±100, yb = 50 both times: σ_rg = 100, σ_yb = 0, μ_rg = 0, μ_yb = 50
    assert colourfulness(picture((100, 0, 0), (0, 100, 0))) == pytest.approx(100 + 0.3 * 50)


def test_every_picture_has_its_own_value():
    pictures = np.concatenate([picture((100, 0, 0), (0, 100, 0)), picture((7, 7, 7), (7, 7, 7))])
    assert colourfulness(pictures).tolist() == [115, 0]
