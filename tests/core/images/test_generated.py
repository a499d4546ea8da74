"""The contract of generated images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import Collapse
from components.core.images import check_generated

REAL = np.random.default_rng(0).uniform(-1, 1, (20, 1, 8, 8)).astype(np.float32)


def with_value(value: float) -> np.ndarray:
    images = REAL.copy()
    images[3, 0, 2, 2] = value
    return images


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (with_value(np.nan), "1 of 20 hold values that are not finite"),
        (with_value(np.inf), "1 of 20 hold values that are not finite"),
        (with_value(1.01), "1 of 20 leave the range from -1 to 1"),
        (np.ones_like(REAL), "20 of 20 are blank"),
        (np.where(REAL > 0.9, REAL, 1), "of their values are black or white"),
        (np.sign(REAL), "100% of their values are black or white"),
        (np.concatenate([REAL[:17], np.zeros_like(REAL[:3])]), "3 of 20 are blank"),
        (np.repeat(REAL[:1], 20, axis=0), "they are all the same (their diversity is 0.0% of the real images')"),
        (np.zeros((5, 3, 8, 8), np.uint8), "5 of 5 are blank"),
    ],
)
def test_what_is_no_image_is_refused(images, words):
    with pytest.raises(Collapse) as caught:
        check_generated(images, REAL, "the images of a test")
    assert words in str(caught.value)
    assert str(caught.value).startswith("The images of a test are no images: ")


@given(st.floats(0.1, 1), st.floats(-0.5, 0.5), st.integers(1, 20))
def test_what_is_merely_bad_passes(contrast, level, count):
    check_generated(np.clip(REAL[:count] * contrast + level, -1, 1), REAL, "the images of a test")


def test_images_as_black_as_real_ones_pass():
    digits = np.where(REAL > 0.8, 255, 0).astype(np.uint8)
    check_generated(digits[::-1], digits, "the digits")
