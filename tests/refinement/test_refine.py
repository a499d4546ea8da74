"""The step `refine`: what it keeps of its training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.core.images import ImageSet, as_levels
from components.refinement.step import refine
from pipelines.pipeline import find

CLASSES = ("non-patient", "patient")


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """12 real images of a fold, and 2 dark synthetic ones of one class, 7 of the other."""
    rng = np.random.default_rng(0)
    real = ImageSet(
        images=rng.uniform(-1, 1, (12, 1, 16, 16)).astype(np.float32),
        labels=np.arange(12) % 2,
        classes=CLASSES,
        groups=np.array([f"person-{number}" for number in range(12)]),
        folds=np.arange(12) % 3,
    )
    real.save(tmp_path / "data")
    origin = real.training(0).digest()
    made = [
        ImageSet.generated(rng.uniform(-1, 0, (count, 1, 16, 16)).astype(np.float32), label, CLASSES, origin)
        for label, count in enumerate((2, 7))
    ]
    ImageSet.concatenate(made).save(tmp_path / "synthetic")
    return {"data": tmp_path / "data", "synthetic": tmp_path / "synthetic", "fold": 0, "replicate": 0}


def refined(inputs: dict[str, Any], out: Path, **changes: Any) -> dict[int, np.ndarray]:
    """Refine; the milestones."""
    params = find("cardiac").load("smoke").simgan.model_copy(update=changes)
    refine(params, out=out, **inputs)
    return {int(path.stem): np.load(path) for path in sorted((out / "milestones").iterdir())}


def test_the_same_images_of_each_class_are_kept_before_the_first_change_then_up_to_the_end(inputs, tmp_path):
    kept = refined(inputs, tmp_path / "out", updates=40, discriminator_warmup=10, samples=9)
    assert list(kept) == [0, 12, 20, 28, 32, 40]
    assert {images.shape for images in kept.values()} == {(2, 2, 1, 16, 16)}  # of one class there are no more
    before, after = ImageSet.load(inputs["synthetic"]).images, ImageSet.load(tmp_path / "out").images
    shown = [0, 1, 2, 8]
    assert (kept[0].reshape(4, 1, 16, 16) == as_levels(before[shown])).all()
    assert np.abs(kept[40].reshape(4, 1, 16, 16) - as_levels(after[shown]).astype(int)).max() <= 1
    assert (kept[12] != kept[40]).any()


def test_without_one_update_of_the_refiner_there_are_the_images_as_given(inputs, tmp_path):
    kept = refined(inputs, tmp_path / "out", updates=4, discriminator_warmup=4, samples=1)
    assert list(kept) == [0]
    assert kept[0].shape == (2, 1, 1, 16, 16)
