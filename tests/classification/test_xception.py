"""Xception against pytorchcv's."""

import pytest
import torch
from pytorchcv.models.xception import xception

from components.classification.xception import Xception
from components.core.errors import UserError


def test_has_the_published_number_of_parameters():
    assert sum(weight.numel() for weight in Xception(classes=1000).parameters()) == 22_855_952


def test_equals_pytorchcv_with_its_weights():
    reference, ours = xception(), Xception(classes=1000)
    images = torch.randn(2, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        reference(images)  # in training mode: moves the running statistics off their defaults
        theirs = list(reference.state_dict().values())
        assert [value.shape for value in theirs] == [value.shape for value in ours.state_dict().values()]
        ours.load_state_dict(dict(zip(ours.state_dict(), theirs, strict=True)))
        expected = reference.eval()(images)
        error = (ours.eval()(images) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("width", [0.01, 0.125, 0.25])
def test_small_widths_learn_from_small_grey_images(width):
    network = Xception(classes=2, in_channels=1, width=width)
    logits = network(torch.randn(4, 1, 80, 80))
    logits.sum().backward()
    assert logits.shape == (4, 2)
    assert all(weight.grad is not None for weight in network.parameters())


def test_width_must_be_positive():
    with pytest.raises(UserError, match="width must be above 0"):
        Xception(classes=2, width=0)
