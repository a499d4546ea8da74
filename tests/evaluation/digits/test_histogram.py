import numpy as np
import pytest

from components.evaluation.digits.histogram import Histogram

NAMES = ("a", "b", "c", "d")


def answers(*concepts):
    return np.eye(4)[list(concepts)]


def test_images_count_for_their_likeliest_concept():
    histogram = Histogram.of(("a", "b"), np.array([[0.6, 0.4], [0.1, 0.9]]), np.array([[0.2, 0.8]]))
    assert (histogram.drawn, histogram.real) == ((0.5, 0.5), (0.0, 1.0))


def test_a_concept_below_a_tenth_of_its_real_share_is_forgotten():
    real = (0.3, 0.3, 0.4, 0.0)
    assert Histogram(NAMES, (0.90, 0.05, 0.05, 0.0), real).forgotten == []
    assert Histogram(NAMES, (0.95, 0.02, 0.03, 0.0), real).forgotten == ["b", "c"]


def test_total_variation_is_the_share_that_would_have_to_change():
    assert Histogram.of(NAMES, answers(0, 0, 0, 1), answers(0, 0, 1, 1)).variation == pytest.approx(0.25)
    assert Histogram.of(NAMES, answers(0), answers(3)).variation == 1
    assert Histogram.of(NAMES, answers(2), answers(2)).variation == 0
