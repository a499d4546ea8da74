import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from components.evaluation.quality.copies import (
    feature_distances,
    near_copies,
    nearest_person,
    pixel_distances,
    usual_share,
)


@pytest.fixture(scope="module")
def training(hearts):
    return hearts(30, seed=0)


@pytest.fixture(scope="module")
def unseen(hearts):
    return hearts(30, seed=1)


def ratios(images, training):
    return nearest_person(pixel_distances(images, training.images).values, training.groups).ratios


def share(images, training, unseen):
    return near_copies(ratios(images, training), ratios(unseen.images, training))


@pytest.mark.parametrize(
    "disguise",
    [
        lambda images: images,
        lambda images: images[..., ::-1],
        lambda images: images[..., ::-1, :],
        lambda images: np.roll(images, (1, -1), (-1, -2)),
        lambda images: np.clip(0.7 * images + 0.2, -1, 1),
        lambda images: images + np.random.default_rng(0).normal(0, 0.05, images.shape),
        lambda images: gaussian_filter(images, (0, 0, 0.5, 0.5)),
    ],
    ids=["plain", "mirrored", "upside down", "shifted", "brighter", "noisy", "blurred"],
)
def test_copies_of_training_people_are_found_in_disguise(training, unseen, disguise):
    assert share(disguise(training.images), training, unseen) > 0.8


def test_new_people_are_as_often_suspected_as_chance_would_have_it(hearts, training, unseen):
    found = [share(hearts(30, seed).images, training, unseen) for seed in range(2, 12)]
    assert np.mean(found) == pytest.approx(usual_share(len(unseen)), abs=0.06)


def test_neither_a_blur_nor_the_mean_heart_nor_noise_is_a_copy(training, unseen):
    for images in (
        gaussian_filter(unseen.images, (0, 0, 2, 2)),
        np.repeat(training.images.mean(axis=0, keepdims=True), 3, axis=0),
        np.random.default_rng(0).uniform(-1, 1, (20, 1, 32, 32)),
        np.zeros((2, 1, 32, 32)),
    ):
        assert share(images, training, unseen) < 0.2


def test_the_training_image_is_flipped_as_it_was_compared(training):
    found = pixel_distances(training.images[:1, :, :, ::-1], training.images)
    assert found.values[0].argmin() == 0
    assert found.values[0, 0] == pytest.approx(0, abs=1e-3)


def test_larger_images_are_compared_smaller(hearts):
    some, others = hearts(4, 0, size=80), hearts(6, 1, size=80)
    assert pixel_distances(some.images, others.images).values.shape == (8, 12)


@given(st.integers(1, 60), st.integers(0, 1000))
def test_the_usual_share_is_that_of_people_of_the_same_kind(count, seed):
    random = np.random.default_rng(seed)
    found = [near_copies(random.normal(size=200), random.normal(size=count)) for _ in range(40)]
    assert np.mean(found) == pytest.approx(usual_share(count), abs=4 * np.std(found) / 40**0.5 + 0.01)


def test_nearness_is_to_people_not_to_slices():
    training = np.array([[0.0], [0.1], [4.0], [4.1], [5.0]])
    found = nearest_person(feature_distances(np.array([[1.0]]), training).values, np.array(["a", "a", "b", "b", "c"]))
    assert found.indices.item() == 1
    assert found.ratios.item() == pytest.approx(0.9 / 3.5)


def test_one_training_person_is_enough():
    assert nearest_person(np.array([[0.5, 0.2]]), np.array(["a", "a"])).ratios.item() == pytest.approx(0.2)
