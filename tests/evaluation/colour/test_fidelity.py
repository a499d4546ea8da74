import math

import numpy as np
import pytest

from components.evaluation.colour.fidelity import psnr, ssim

GREY = np.full((1, 3, 8, 8), 100, np.uint8)


def test_psnr_of_an_even_error():
    assert psnr(GREY, GREY + np.uint8(5)) == pytest.approx(20 * math.log10(255 / 5))


def test_psnr_is_over_all_channels():
    off = GREY.copy()
    off[:, 1] += 6  # a third of the values: a mean squared error of 12
    assert psnr(GREY, off) == pytest.approx(10 * math.log10(255**2 / 12))


def test_a_perfect_rendering_has_the_least_error_there_can_be():
    off = GREY.copy()
    off[0, 0, 0, 0] += 1
    assert psnr(GREY, GREY) == psnr(GREY, off) == pytest.approx(10 * math.log10(255**2 * 3 * 64))


def test_ssim_of_flat_pictures():
    """Without structure only the luminance term is left: (2 μ ν + c) / (μ² + ν² + c), c = (0.01 · 255)²."""
    c = 2.55**2
    assert ssim(GREY, GREY * np.uint8(2)) == pytest.approx((2 * 100 * 200 + c) / (100**2 + 200**2 + c))


def test_equal_pictures_are_wholly_similar():
    assert ssim(GREY, GREY) == 1


def test_every_picture_has_its_own_value():
    originals, rendered = np.repeat(GREY, 3, axis=0), np.concatenate([GREY, GREY + np.uint8(1), GREY + np.uint8(9)])
    for metric in (psnr, ssim):
        values = metric(originals, rendered)
        assert values.shape == (3,)
        assert values[0] > values[1] > values[2]
