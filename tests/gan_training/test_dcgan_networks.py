"""The DCGAN's networks."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from components.core.errors import UserError
from components.gan_training.networks.dcgan import Discriminator, Dropout, EnlargedConvTranspose2d, Generator

CONFIG = {"latent_dim": 8, "channels": 1, "size": 28, "widths": [16, 8, 8, 4], "momentum": 0.9}


def feature_shapes(network: nn.Module, layer: type[nn.Module], given: Tensor) -> list[tuple[int, ...]]:
    """Shapes, without the batch, that leave the network's layers of one type."""
    shapes: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, layer):
            module.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    network(given)
    return shapes


def test_generator_has_the_papers_feature_maps() -> None:
    generator = Generator(100, 1, 28, (256, 128, 64, 32), 0.9)
    assert feature_shapes(generator, nn.ReLU, torch.randn(2, 100)) == [
        (7 * 7 * 256,),
        (128, 14, 14),
        (64, 28, 28),
        (32, 28, 28),
    ]
    assert feature_shapes(generator, nn.Tanh, torch.randn(2, 100)) == [(1, 28, 28)]


def test_discriminator_has_the_papers_feature_maps() -> None:
    discriminator = Discriminator(1, 28, (32, 64, 128, 256), 0.2, 0.3, 0.9)
    shapes = feature_shapes(discriminator, Dropout, torch.randn(2, 1, 28, 28))
    assert shapes == [(32, 14, 14), (64, 7, 7), (128, 4, 4), (256, 2, 2)]


def test_generator_has_the_papers_layers() -> None:
    generator = Generator(**CONFIG)
    assert [type(layer) for layer in generator.dense] == [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    behind = [nn.BatchNorm2d, nn.ReLU]
    enlarged, plain = EnlargedConvTranspose2d, nn.ConvTranspose2d
    assert [type(layer) for layer in generator.groups] == [enlarged, *behind, enlarged, *behind, plain, *behind]
    assert [type(layer) for layer in generator.to_image] == [nn.ConvTranspose2d, nn.Tanh]


def test_discriminator_has_the_papers_layers() -> None:
    discriminator = Discriminator(1, 28, (4, 4, 8, 8), 0.2, 0.3, 0.9)
    group = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU, Dropout]
    assert [type(layer) for layer in discriminator.groups] == group * 4


def test_momentum_is_meant_as_in_keras() -> None:
    networks = nn.ModuleList([Generator(**CONFIG), Discriminator(1, 28, (4, 4, 8, 8), 0.2, 0.3, 0.9)])
    norms = [module for module in networks.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {round(norm.momentum, 9) for norm in norms} == {0.1}


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 8)])
def test_networks_fit_other_images(channels: int, size: int) -> None:
    images = Generator(8, channels, size, (16, 8, 8, 4), 0.9)(torch.randn(2, 8))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(channels, size, (4, 4, 8, 8), 0.2, 0.3, 0.9)(images).shape == (2,)


@pytest.mark.parametrize("size", [0, 2, 27])
def test_a_size_that_is_no_multiple_of_4_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"multiple of 4 pixels.*not {size}"):
        Generator(8, 1, size, (16, 8, 8, 4), 0.9)


def test_a_generator_is_rebuilt_from_json() -> None:
    generator = Generator(**CONFIG).eval()
    copy = Generator(**json.loads(json.dumps(CONFIG))).eval()
    copy.load_state_dict(generator.state_dict())
    noise = torch.randn(3, 8)
    assert torch.equal(generator(noise), copy(noise))


@given(
    wide=st.integers(1, 4),
    narrow=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    bias=st.booleans(),
)
def test_enlarging_convolution_equals_upsampling_and_convolving(
    wide: int, narrow: int, height: int, width: int, bias: bool
) -> None:
    """In values and in all gradients; and the textbook's weights are its weights."""
    torch.manual_seed(0)
    ours = EnlargedConvTranspose2d(wide, narrow, 5, padding=2, bias=bias).double()
    convolution = nn.ConvTranspose2d(wide, narrow, 5, padding=2, bias=bias).double()
    convolution.load_state_dict(ours.state_dict())
    textbook = nn.Sequential(nn.Upsample(scale_factor=2), convolution)
    given = torch.randn(2, wide, height, width, dtype=torch.float64, requires_grad=True)
    outputs = [ours(given), textbook(given)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    slopes = torch.randn_like(outputs[0])
    gradients = [
        torch.autograd.grad(output, [given, *network.parameters()], slopes)
        for output, network in zip(outputs, [ours, textbook], strict=True)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    features = Dropout(0.3)(torch.ones(100_000))
    assert features.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (features == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert features.mean().item() == pytest.approx(1.0, abs=0.01)


def test_dropout_lets_everything_pass_in_evaluation() -> None:
    features = torch.randn(10)
    assert torch.equal(Dropout(0.3).eval()(features), features)
