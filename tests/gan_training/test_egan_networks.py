"""The E-GAN's networks."""

import json

import pytest
import torch
from torch import nn

from components.core.errors import UserError
from components.gan_training.networks.egan import Blur, Discriminator, Generator


@pytest.mark.parametrize("size", [16, 80])
@pytest.mark.parametrize("channels", [1, 3])
def test_generator_makes_images_in_range(channels: int, size: int) -> None:
    generator = Generator(latent_dim=8, channels=channels, width=4, size=size)
    images = generator(torch.randn(2, generator.latent_dim))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1


@pytest.mark.parametrize("size", [16, 80])
@pytest.mark.parametrize("channels", [1, 3])
def test_discriminator_gives_one_logit_an_image(channels: int, size: int) -> None:
    logits = Discriminator(channels=channels, width=4, size=size)(torch.randn(2, channels, size, size))
    assert logits.shape == (2,)


def test_a_part_of_the_noise_is_a_number_a_pixel_and_changes_this_pixel_only() -> None:
    torch.manual_seed(0)
    generator = Generator(latent_dim=8, channels=1, width=4, size=32).eval()
    noise = torch.randn(1, generator.latent_dim)
    other = noise.clone()
    other[0, 8 + 32 * 10 + 20] += 1
    change = (generator(other) - generator(noise))[0, 0]
    assert change.nonzero().tolist() == [[10, 20]]
    assert 0 < change[10, 20] < 0.1


@pytest.mark.parametrize("size", [0, -16, 8, 81])
def test_a_size_that_is_no_multiple_of_16_is_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"multiple of 16 pixels.*not {size}"):
        Generator(latent_dim=8, channels=1, width=4, size=size)
    with pytest.raises(UserError, match=f"multiple of 16 pixels.*not {size}"):
        Discriminator(channels=1, width=4, size=size)


def test_networks_are_rebuilt_from_json() -> None:
    torch.manual_seed(0)
    configuration = {"latent_dim": 8, "channels": 1, "width": 4, "size": 16}
    generator = Generator(**configuration)
    copy = Generator(**json.loads(json.dumps(configuration)))
    copy.load_state_dict(generator.state_dict())
    noise = torch.randn(3, generator.latent_dim)
    assert torch.equal(generator(noise), copy(noise))


def test_discriminator_couples_no_samples() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(channels=1, width=4, size=32).eval()
    images = torch.randn(4, 1, 32, 32, requires_grad=True)
    logits = discriminator(images)
    (gradient,) = torch.autograd.grad(logits[1], images)
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2, 3]].abs().sum() == 0
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules())


def test_a_checkerboard_does_not_leave_the_generator() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    checkerboard = ((rows + columns) % 2 * 2.0 - 1.0).expand(1, 1, 8, 8)
    blurred = Blur(channels=1)(checkerboard)
    assert blurred[..., 1:-1, 1:-1].abs().max() == 0


def test_blurring_leaves_an_even_image_as_it_is_within_its_border() -> None:
    even = torch.full((2, 3, 8, 8), 0.5)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(Blur(channels=3)(even)[inner], even[inner])
