"""The quality of images over several folds, put together from what the folds say."""

import numpy as np
import pytest

from components.evaluation.cardiac.fold import Drawn
from components.evaluation.cardiac.quality import ImageQuality
from components.evaluation.quality.kernel import Estimate
from components.evaluation.quality.measures import FEATURES, Kind, Measures, Quality

CLASSES = ("non-patient", "patient")


def estimate(value):
    return Estimate(value=value, error=0.1, freedom=9)


def fold(changes=(0.0, 0.0), pictured=(0.5, 0.9), **figures):
    measures = Measures(
        **{"diversity": 1.0, "sharpness": 0.9, "spectrum": 1.0, "fidelity": 0.8, "belief": 0.7} | figures,
        kernel_distance=dict.fromkeys(FEATURES, estimate(1.0)),
        density=dict.fromkeys(FEATURES, 1.0),
        coverage=dict.fromkeys(FEATURES, 0.5),
    )
    kind = Kind(
        every=measures,
        classes=(measures, measures),
        classes_apart=0.5,
        real_apart=None,
        taught=None,
        near_copies={"pixels": 0.05, "judge": 0.1},
        pictured=pictured,
    )
    made = dict.fromkeys(("real", "egan", "simgan"), kind)
    return Quality(kinds=made, changes=dict(zip(FEATURES, map(estimate, changes), strict=True)))


def drawn():
    return {name: Drawn(drawn=20, contradicting=5, left=0) for name in CLASSES}


def quality(*folds):
    return ImageQuality(CLASSES, folds, [drawn()] * len(folds), np.zeros((3, 2, 2, 1, 8, 8)))


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        ([(-2.0, -1.0), (-2.2, -1.1), (-1.9, -0.9)], "Yes, the refiner brings the images nearer"),
        ([(2.0, 1.0), (2.2, 1.1), (1.9, 0.9)], "No, the refiner takes the images farther"),
        ([(2.0, -1.0), (2.2, -1.1), (1.9, -0.9)], "It is not shown"),
        ([(-2.0, -1.0), (2.2, 1.1), (-1.9, -0.9)], "It is not shown"),
        ([(-2.0, -0.01), (-2.2, -0.02), (-1.9, -0.01)], "It is not shown"),
    ],
)
def test_nearer_is_what_both_kinds_of_features_say_beyond_chance(changes, beginning):
    found = quality(*map(fold, changes)).answer
    assert found.startswith(beginning)
    assert found.count("95 % interval") == 2


def test_figures_are_means_over_the_folds_that_have_them():
    found = quality(fold(diversity=0.6), fold(diversity=0.8), fold(diversity=None)).as_json()["images"]["egan"]
    assert found["diversity"] == pytest.approx(0.7)
    assert found["classes"]["patient"]["diversity"] == pytest.approx(0.7)
    assert found["taught"] is None


def test_what_is_unknown_is_null_and_not_logged():
    unknown = fold().model_copy(update={"changes": dict.fromkeys(FEATURES, Estimate.unknown())})
    found = quality(unknown)
    assert found.as_json()["images"]["refiner"]["judge"] == [None, None, None]
    assert found.answer.startswith("It is not shown")
    assert "images/egan/taught" not in found.headline_metrics()


def test_the_nearest_pairs_of_all_folds_are_shown(tmp_path):
    for number, ratios in enumerate([(0.5, 0.9), (0.1, 0.7)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "quality.json").write_text(fold(pictured=ratios).model_dump_json())
        pairs = np.broadcast_to(np.array(ratios).reshape(1, 1, 2, 1, 1, 1), (3, 2, 2, 1, 8, 8))
        np.save(folder / "pairs.npy", pairs)
    found = ImageQuality.read([tmp_path / "0", tmp_path / "1"], CLASSES, [drawn()] * 2)
    np.testing.assert_array_equal(found.pairs[1, 0, :, 0, 0, 0], [0.1, 0.5])
