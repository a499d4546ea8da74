"""Grey as luma."""

import pytest
import torch

from components.core.images import to_grey


@pytest.mark.parametrize(
    ("colour", "luma"), [((1, -1, -1), 0.299), ((-1, 1, -1), 0.587), ((-1, -1, 1), 0.114), ((1, 1, 1), 1.0)]
)
def test_grey_weighs_the_primary_colours_as_bt_601_does(colour: tuple[int, int, int], luma: float) -> None:
    images = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)
    assert to_grey(images).item() == pytest.approx(2 * luma - 1)


def test_grey_images_stay_as_they_are() -> None:
    grey = torch.rand(2, 1, 4, 5) * 2 - 1
    assert to_grey(grey.expand(2, 3, 4, 5)).shape == (2, 1, 4, 5)
    torch.testing.assert_close(to_grey(grey.expand(2, 3, 4, 5)), grey)
