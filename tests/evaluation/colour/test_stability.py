import math

import numpy as np
import pytest

from components.evaluation.colour.stability import stability


def history(losses, vanishing):
    return {"discriminator_loss": np.array(losses, float), "vanishing": np.array(vanishing, float)}


def test_the_numbers_are_those_of_the_definition():
    calm, wild = history([9, -9, 1, 1], [0, 0, 0, 1]), history([5, 5, 1, 3], [0, 0, 0, 0])
    found = stability([20, 22], [calm, wild])
    assert found.psnr_spread == pytest.approx(math.sqrt(2))
    assert found.discriminator_variance == pytest.approx((0 + 1) / 2)  # of [1, 1] and of [1, 3]
    assert found.vanishing_share == pytest.approx(0.125)


def test_one_replicate_has_no_spread():
    assert stability([20], [history([1, 2], [0, 0])]).psnr_spread is None
