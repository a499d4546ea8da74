import numpy as np
import pytest

from components.evaluation.quality.coverage import density_and_coverage


def features(count, seed, length=4):
    return np.random.default_rng(seed).normal(0, 1, (count, length))


def test_images_of_the_same_kind_have_a_density_of_one_and_cover_what_chance_lets_them():
    """Naeem et al. 2020, Lemma 1: with as many generated images as real ones, 1 − (N − 1)…(N − k) / ((2N − 1)…)."""
    found = [
        density_and_coverage(features(80, seed), features(80, seed + 100), np.arange(80), 80) for seed in range(20)
    ]
    expected = 1 - np.prod([(80 - i) / (160 - i) for i in range(1, 6)])
    assert np.mean([each.density for each in found]) == pytest.approx(1, abs=0.05)
    assert np.mean([each.coverage for each in found]) == pytest.approx(expected, abs=0.02)


def test_one_crisp_image_repeated_covers_next_to_nothing():
    real = features(80, 0)
    found = density_and_coverage(
        real, np.repeat(real[[np.abs(real).sum(axis=1).argmin()]], 80, axis=0), np.arange(80), 80
    )
    assert found.density > 1
    assert found.coverage < 0.4


def test_images_like_no_real_one_have_neither():
    found = density_and_coverage(features(80, 0), features(80, 1) + 20, np.arange(80), 80)
    assert (found.density, found.coverage) == (0, 0)


def test_more_images_do_not_cover_more():
    real = features(60, 0)
    few, many = (density_and_coverage(real, features(count, 1), np.arange(60), 20).coverage for count in (20, 400))
    assert many == pytest.approx(few, abs=0.15)
    assert many < 0.9


def test_balls_reach_to_other_people_not_to_a_persons_own_slices():
    people = np.repeat(np.arange(30), 6)
    real = features(30, 0)[people] + 0.01 * features(180, 1)
    assert density_and_coverage(real, features(30, 2), people, 30).coverage > 0.5
    assert density_and_coverage(real, features(30, 2), np.arange(180), 30).coverage < 0.1


def test_one_person_alone_leaves_it_open():
    assert density_and_coverage(features(3, 0), features(3, 1), np.zeros(3), 3) is None
