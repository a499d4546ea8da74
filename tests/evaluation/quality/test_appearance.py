import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from components.evaluation.quality.appearance import gradient_energy, radial_spectrum, spectral_distance, spread


def noise(count, seed=0, size=16):
    return np.random.default_rng(seed).normal(0, 0.3, (count, 1, size, size)).astype(np.float32)


@given(st.floats(0.6, 2), st.integers(0, 100))
def test_a_blur_takes_sharpness_away_and_power_with_it(width, seed):
    images = noise(6, seed)
    blurred = gaussian_filter(images, (0, 0, width, width))
    assert gradient_energy(blurred) < 0.7 * gradient_energy(images)
    assert spectral_distance(images, blurred) > 1


def test_white_noise_has_equal_power_at_every_frequency():
    power = radial_spectrum(noise(400, size=32))
    assert power.max() / power.min() < 1.3
    assert len(power) == 16


def test_equal_images_are_no_decibel_apart_and_ten_times_the_power_ten():
    images = noise(5)
    assert spectral_distance(images, images) == 0
    assert spectral_distance(images, 10**0.5 * images) == pytest.approx(10, abs=1e-3)


def test_a_repeated_image_has_no_spread():
    assert spread(np.repeat(noise(1), 9, axis=0)) == pytest.approx(0, abs=1e-6)


def test_spread_is_the_standard_deviation_where_everybody_has_one_image():
    images = noise(7)
    assert spread(images) == pytest.approx(images.std(axis=0, ddof=1).mean(), rel=1e-5)


@given(st.integers(1, 4))
def test_more_slices_of_the_same_people_are_no_more_spread(slices):
    people = noise(6)
    assert spread(np.repeat(people, slices, axis=0), np.repeat(np.arange(6), slices)) == pytest.approx(spread(people))


def test_few_people_have_as_much_spread_as_many():
    """Of the variance: its root is a little less, on average, for the fewer."""
    few = [spread(noise(6, seed), np.repeat(np.arange(3), 2)) ** 2 for seed in range(60)]
    assert np.mean(few) == pytest.approx(0.3**2, rel=0.2)


def test_one_person_has_no_spread_to_tell():
    assert spread(noise(3), np.zeros(3)) is None
