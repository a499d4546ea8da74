import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.summary import summarise


def test_undefined_values_count_in_neither_mean_nor_deviation():
    summary = summarise([0.5, None, 0.7])
    assert (summary.mean, summary.std) == (pytest.approx(0.6), pytest.approx(math.sqrt(0.02)))
    assert summary.values == (0.5, None, 0.7)


def test_one_value_has_no_deviation():
    assert summarise([0.5]).std == 0.0


def test_a_value_defined_nowhere_has_no_mean():
    assert summarise([None, None]).mean is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_standard_deviation_is_the_sample_one(values):
    mean = sum(values) / len(values)
    expected = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    assert summarise(values).std == pytest.approx(expected, abs=1e-12)
