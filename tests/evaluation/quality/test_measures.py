from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from components.core.images import ImageSet
from components.core.training import train_judge
from components.evaluation.quality.features import Scale, random_convolutions
from components.evaluation.quality.measures import FEATURES, measure


@pytest.fixture(scope="module")
def real(hearts):
    return hearts(24, seed=0), hearts(48, seed=1)


@pytest.fixture(scope="module")
def judge(real):
    torch.manual_seed(0)
    return train_judge(real[0].images, real[0].labels, 2)


def generated(like, images, labels=None):
    labels = like.labels if labels is None else labels
    made = ImageSet.generated(images.astype(np.float32), 0, like.classes, "")
    return replace(made, labels=labels)


@pytest.fixture(scope="module")
def quality(hearts, real, judge):
    """Of hearts as they should be, and of what may become of them."""
    new = hearts(80, seed=2)
    crisp = np.concatenate([np.repeat(new.images[new.labels == label][:1], 80, axis=0) for label in (0, 1)])
    kinds = {
        "good": generated(new, new.images),
        "blurred": generated(new, gaussian_filter(new.images, (0, 0, 2, 2))),
        "repeated": generated(new, crisp, np.repeat([0, 1], 80)),
        "swapped": generated(new, new.images, 1 - new.labels),
        "noise": generated(new, np.random.default_rng(0).uniform(-1, 1, new.images.shape)),
        "copied": generated(real[0], real[0].images),
    }
    return {name: measure(judge, *real, {name: made}, 4)[0].kinds for name, made in kinds.items()}


def every(quality, kind):
    return quality[kind][kind].every


def test_good_images_are_real_in_every_respect(quality):
    good, kind = every(quality, "good"), quality["good"]["good"]
    assert good.diversity == pytest.approx(1, abs=0.15)
    assert good.sharpness == pytest.approx(1, abs=0.15)
    assert good.spectrum < 1
    assert good.fidelity > 0.85
    for features in FEATURES:
        found = good.kernel_distance[features]
        assert abs(found.value) < 3 * found.error
    assert kind.real_apart < 0.75
    assert kind.taught > 0.85
    assert kind.near_copies["pixels"] < 0.25


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", ["blurred", "repeated", "noise"])
def test_bad_images_are_far_away_in_both_kinds_of_features(quality, kind, features):
    found = every(quality, kind).kernel_distance[features]
    assert found.value > 2.5 * found.error
    assert found.value > 3 * abs(every(quality, "good").kernel_distance[features].value)


def test_a_blur_costs_more_sharpness_than_diversity(quality):
    assert every(quality, "blurred").sharpness < 0.6
    assert every(quality, "blurred").spectrum > 5
    assert every(quality, "blurred").diversity > 0.5


def test_one_crisp_image_of_each_class_is_sharp_and_recognised_but_neither_various_nor_covering(quality):
    repeated, kind = every(quality, "repeated"), quality["repeated"]["repeated"]
    assert repeated.sharpness == pytest.approx(1, abs=0.5)
    assert all(each.diversity < 0.01 for each in kind.classes)
    assert max(repeated.coverage.values()) < 0.6 * min(every(quality, "good").coverage.values())
    assert kind.classes_apart == 1


def test_swapped_labels_have_no_fidelity(quality):
    assert every(quality, "swapped").fidelity < 0.15
    assert every(quality, "swapped").belief < 0.25
    assert quality["swapped"]["swapped"].taught < 0.15


def test_noise_is_told_from_real_images(quality):
    assert quality["noise"]["noise"].real_apart > 0.99
    assert max(every(quality, "noise").density.values()) < 0.1


def test_copies_are_called_so(quality):
    assert min(quality["copied"]["copied"].near_copies.values()) > 0.9
    assert max(quality["copied"]["copied"].pictured) < 0.05


def test_the_real_column_is_that_of_people_nobody_saw(quality, real):
    beside = quality["good"]["real"]
    assert beside.every.fidelity > 0.85
    assert beside.near_copies["pixels"] == 0.05
    assert beside.real_apart is None
    for features in FEATURES:
        assert abs(beside.every.kernel_distance[features].value) < 3 * beside.every.kernel_distance[features].error


def test_what_was_made_of_images_is_compared_with_them_pair_by_pair(hearts, real, judge):
    new = hearts(40, seed=3)
    blurred = generated(new, gaussian_filter(new.images, (0, 0, 2, 2)))
    found, pairs = measure(judge, *real, {"egan": blurred, "simgan": generated(new, new.images)}, 4)
    for change in found.changes.values():
        assert change.value < -2 * change.error
    assert pairs.shape == (3, 2, 4, 1, 32, 32)
    assert [len(kind.pictured) for kind in found.kinds.values()] == [4, 4, 4]


def test_a_class_that_no_held_out_person_has_is_left_open(hearts, real, judge):
    training, held_out = real
    found, _ = measure(judge, training, held_out.of_class("thin"), {"egan": generated(training, training.images)}, 2)
    assert found.kinds["egan"].classes[1].kernel_distance["random"].value is None
    assert found.kinds["egan"].taught is None
    assert found.kinds["egan"].classes[0].kernel_distance["random"].value is not None


def test_the_same_seed_gives_the_same_measures(real):
    def again():
        torch.manual_seed(1)
        judge = train_judge(real[0].images, real[0].labels, 2)
        return measure(judge, *real, {"egan": generated(real[0], real[0].images)}, 2)[0]

    assert again() == again()


def test_levels_and_floats_are_the_same_images(real):
    levels = np.round((real[0].images + 1) * 127.5).astype(np.uint8)
    np.testing.assert_allclose(
        random_convolutions(levels), random_convolutions(levels / np.float32(127.5) - 1), rtol=1e-4
    )


def test_unlearned_features_see_edges_and_not_brightness(real):
    images = 0.8 * real[0].images
    features = random_convolutions(images)
    change = {
        name: np.abs(random_convolutions(each) - features)[:, inner()].mean() / features[:, inner()].mean()
        for name, each in (("brighter", images + 0.1), ("blurred", gaussian_filter(images, (0, 0, 1, 1))))
    }
    assert change["brighter"] < 0.05 < 0.2 < change["blurred"]


def inner():
    """Features of the four cells in the middle: at the border, images end in zeros."""
    cells = np.zeros((64, 4, 4), dtype=bool)
    cells[:, 1:3, 1:3] = True
    return cells.ravel()


def test_a_scale_centres_its_images_and_leaves_directions_alone():
    features = np.random.default_rng(0).normal(3, (1, 5), (200, 2))
    scaled = Scale.of(features)(features)
    assert scaled.mean(axis=0) == pytest.approx([0, 0])
    assert (scaled**2).mean() == pytest.approx(1)
    assert scaled[:, 1].std() / scaled[:, 0].std() == pytest.approx(features[:, 1].std() / features[:, 0].std())
    assert np.isfinite(Scale.of(np.ones((3, 2)))(np.ones((3, 2)))).all()
