"""ResNet-50 and Xception against pytorchcv's."""

import pytest
import torch
from pytorchcv.models.resnet import resnet50
from pytorchcv.models.xception import xception

from components.classification.networks import NETWORKS
from components.classification.resnet50 import Bottleneck
from components.core.errors import UserError


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


def test_has_the_published_number_of_parameters(name):
    published = {"resnet50": 25_557_032, "xception": 22_855_952}
    assert sum(weight.numel() for weight in NETWORKS[name](classes=1000).parameters()) == published[name]


@pytest.mark.parametrize(("name", "reference", "size"), [("resnet50", resnet50, 224), ("xception", xception, 299)])
def test_equals_pytorchcv_with_its_weights(name, reference, size):
    torch.manual_seed(0)
    theirs, ours = reference(), NETWORKS[name](classes=1000)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        theirs(images)  # in training mode: moves the running statistics off their defaults
        state = list(theirs.state_dict().values())
        assert [value.shape for value in state] == [value.shape for value in ours.state_dict().values()]
        ours.load_state_dict(dict(zip(ours.state_dict(), state, strict=True)))
        expected = theirs.eval()(images)
        error = (ours.eval()(images) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("width", [0.01, 0.125, 0.25])
def test_small_widths_learn_from_small_grey_images(name, width):
    network = NETWORKS[name](classes=2, in_channels=1, width=width)
    logits = network(torch.randn(4, 1, 80, 80))
    logits.sum().backward()
    assert logits.shape == (4, 2)
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_new_resnets_blocks_are_their_shortcuts():
    network = NETWORKS["resnet50"](classes=2, in_channels=1, width=0.125)
    blocks = [block for block in network.features if isinstance(block, Bottleneck)]
    features = torch.rand(2, 32, 8, 8)
    with torch.no_grad():
        assert torch.equal(blocks[1](features), features)
    assert len(blocks) == 16
    assert not any(block.body[-1][1].weight.any() for block in blocks)


def test_width_must_be_positive(name):
    with pytest.raises(UserError, match="width must be above 0"):
        NETWORKS[name](classes=2, width=0)
