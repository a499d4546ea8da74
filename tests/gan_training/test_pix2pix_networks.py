"""pix2pix's networks, with and without self-attention."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from components.gan_training.attention import Initial, SelfAttention
from components.gan_training.networks.pix2pix import FEW_POSITIONS, Discriminator, Doubling, Generator, Halving

CONFIG: dict[str, Any] = {"width": 4, "depth": 4, "dropout": 0.5, "attention": "normal", "attention_from": 1}


def generator(**changes: Any) -> Generator:
    torch.manual_seed(0)
    return Generator(**CONFIG | changes)


def output_shapes(network: nn.Module, kinds: tuple[type[nn.Module], ...], *given: Tensor) -> list[tuple[int, ...]]:
    """Shapes, without the batch, that leave the network's layers of some types."""
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    network(*given)
    return shapes


def test_generator_has_pix2pixs_feature_maps() -> None:
    network = generator(width=64, depth=8, attention=None)
    with torch.no_grad():
        shapes = output_shapes(network, (nn.Conv2d, nn.ConvTranspose2d), torch.randn(1, 1, 256, 256))
    encoder = [(64, 128), (128, 64), (256, 32), (512, 16), (512, 8), (512, 4), (512, 2), (512, 1)]
    decoder = [(512, 2), (512, 4), (512, 8), (512, 16), (256, 32), (128, 64), (64, 128), (3, 256)]
    assert shapes == [(channels, side, side) for channels, side in encoder + decoder]


def test_discriminator_has_pix2pixs_feature_maps() -> None:
    images = [torch.randn(1, channels, 256, 256) for channels in (1, 3)]
    shapes = output_shapes(Discriminator(64), (nn.Conv2d,), *images)
    assert shapes == [(64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 31, 31), (1, 30, 30)]


def test_a_patch_is_70_pixels_wide() -> None:
    """Counted back from one logit: (output − 1) · stride + kernel."""
    convolutions = [layer for layer in Discriminator(4).layers if isinstance(layer, nn.Conv2d)]
    side = 1
    for layer in reversed(convolutions):
        side = (side - 1) * layer.stride[0] + layer.kernel_size[0]
    assert side == 70


def test_neither_the_outermost_nor_the_innermost_convolution_is_normalised() -> None:
    network = generator(attention=None)
    normal = [any(isinstance(layer, nn.InstanceNorm2d) for layer in level) for level in network.encoder]
    assert normal == [False, True, True, False]
    assert all(isinstance(level[1], nn.InstanceNorm2d) for level in network.decoder)
    assert [type(layer) for layer in network.to_image] == [nn.ConvTranspose2d, nn.Tanh]
    first, *_, last = [layer for layer in Discriminator(4).layers if not isinstance(layer, nn.LeakyReLU)]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)


def test_the_three_innermost_layers_of_the_decoder_drop_features() -> None:
    shares = [level[-1].p for level in generator(depth=6, attention=None).decoder]
    assert shares == [0.5, 0.5, 0.5, 0.0, 0.0]


def test_dropout_hangs_on_the_seed_alone_and_rests_in_use() -> None:
    network, grey = generator(), torch.randn(1, 1, 32, 32)
    outcomes = []
    for _ in range(2):
        torch.manual_seed(3)
        outcomes.append(network(grey))
    assert torch.equal(*outcomes)
    assert not torch.equal(outcomes[0], network(grey))
    network.eval()
    assert torch.equal(network(grey), network(grey))


@pytest.mark.parametrize("initial", ["torch", "normal", "uniform"])
def test_at_first_the_network_with_attention_equals_the_network_without(initial: Initial) -> None:
    grey = torch.randn(2, 1, 32, 32)
    outcomes = []
    for network in (generator(attention=None), generator(attention=initial, attention_from=0)):
        torch.manual_seed(1)  # of dropout
        outcomes.append(network(grey))
    assert torch.equal(*outcomes)


def test_attention_stands_in_front_of_every_convolution_from_a_number_on() -> None:
    everywhere, inside = generator(depth=5, attention_from=0), generator(depth=5, attention_from=3)
    shapes = output_shapes(everywhere, (SelfAttention, nn.Conv2d), torch.randn(1, 1, 32, 32))
    assert shapes[::2] == [(1, 32, 32), (4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    assert list(inside.attention) == ["3", "4"]
    assert not generator(attention=None, attention_from=0).attention


def test_every_weight_learns_once_gamma_is_open() -> None:
    network = generator(depth=3)
    for attention in network.attention.values():
        nn.init.ones_(attention.gamma)
    network(torch.randn(2, 1, 32, 32)).square().sum().backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A constant added to all keys changes no softmax.
    assert [name for name in still if not name.endswith("key.bias")] == []


def test_colours_are_in_range_and_hang_on_no_other_image() -> None:
    network, grey = generator().eval(), torch.randn(3, 1, 32, 48)
    colours = network(grey)
    assert colours.shape == (3, 3, 32, 48)
    assert colours.abs().max() <= 1
    torch.testing.assert_close(network(grey[:1]), colours[:1])


@pytest.mark.parametrize("layer", [Halving(3, 5, bias=True), Halving(3, 5, bias=False), Doubling(3, 5)], ids=repr)
@given(count=st.integers(1, 4), height=st.integers(1, 2), width=st.integers(1, 2))
def test_matrix_products_equal_the_convolutions(layer: nn.Module, count: int, height: int, width: int) -> None:
    """In values and in all gradients; evaluation takes torch's convolutions always."""
    torch.manual_seed(0)
    layer.double()
    features = torch.randn(count, 3, 2 * height, 2 * width, dtype=torch.float64, requires_grad=True)
    assert features[:, 0].numel() <= FEW_POSITIONS
    outputs = [layer.train()(features), layer.eval()(features)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    slopes = torch.randn_like(outputs[0])
    gradients = [torch.autograd.grad(output, [features, *layer.parameters()], slopes) for output in outputs]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_a_generator_is_rebuilt_from_json() -> None:
    network = generator().eval()
    copy = Generator(**json.loads(json.dumps(CONFIG))).eval()
    copy.load_state_dict(network.state_dict())
    grey = torch.randn(1, 1, 16, 16)
    assert torch.equal(network(grey), copy(grey))
