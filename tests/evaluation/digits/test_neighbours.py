import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.digits import neighbours
from components.evaluation.digits.neighbours import Memorisation, nearest


def images(count, seed, size=5):
    return np.random.default_rng(seed).integers(0, 256, (count, 1, size, size), dtype=np.uint8)


def brute_force(some, training):
    differences = some[:, None].astype(float) - training[None].astype(float)
    return np.sqrt((differences**2).sum(axis=(2, 3, 4))) / 255


@given(st.integers(1, 20), st.integers(3, 40), st.integers(0, 1000))
def test_neighbours_are_those_of_brute_force(count, training_count, seed):
    some, training = images(count, seed), images(training_count, seed + 1)
    found = nearest(some, training, 3)
    expected = brute_force(some, training)
    np.testing.assert_allclose(found.distances, np.sort(expected, axis=1)[:, :3], rtol=1e-12)
    np.testing.assert_array_equal(found.indices, np.argsort(expected, axis=1, kind="stable")[:, :3])


def test_blocks_change_nothing(monkeypatch):
    some, training = images(6, 0), images(50, 1)
    whole = nearest(some, training, 4)
    monkeypatch.setattr(neighbours, "BLOCK", 3)
    parts = nearest(some, training, 4)
    np.testing.assert_array_equal(whole.distances, parts.distances)
    np.testing.assert_array_equal(whole.indices, parts.indices)


def test_a_copy_has_no_distance_at_the_size_of_the_papers_images():
    training = images(20, 0, size=28)
    found = nearest(training[7:8], training, 1)
    assert (found.distances.item(), found.indices.item()) == (0, 7)


def test_black_against_white_is_exact():
    black, white = np.zeros((1, 1, 28, 28), np.uint8), np.full((1, 1, 28, 28), 255, np.uint8)
    assert nearest(black, white, 1).distances.item() == 28


def test_of_equally_near_images_the_first_is_taken():
    same = np.zeros((4, 1, 5, 5), np.uint8)
    np.testing.assert_array_equal(nearest(same[:1], same, 2).indices, [[0, 1]])


def test_copies_are_told_from_new_images():
    held_out = np.linspace(4, 6, 101)
    assert Memorisation.of(np.zeros(10), held_out) == Memorisation(0, 5, 1)
    new = Memorisation.of(held_out, held_out)
    assert new.ratio == 1
    assert new.close == pytest.approx(0.01, abs=0.001)


def test_held_out_images_that_are_all_copies_leave_the_ratio_undefined():
    assert Memorisation.of(np.ones(3), np.zeros(3)).ratio is None
