"""The E-GAN's generator and discriminator: DCGANs that are cheap at full size.

Fu et al. 2021 (paper 1) give no layer table. We read: the shape of DCGAN, on which E-GAN was published, with four
halvings between the image and its coarsest grid, and four changes that let few generations suffice:

- The discriminator has spectral instead of batch normalisation. It then couples no samples, so a batch of
  generated images alone is judged as it would be among real ones.
- The generator enlarges bilinearly; its last layer, a transposed convolution, starts as bilinear enlargement.
- A fixed binomial filter ends the generator, which then cannot make a checkerboard. The discriminator begins by
  laying each 2×2 pixels into channels, and looks at the finest detail at half the image's size.
- A part of the noise is a number a pixel, which is laid over the image as strongly, within bounds, as the generator
  wants it there: the scanner's noise, for which a generator without it makes patterns that repeat.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from components.core.errors import UserError

HALVINGS = 4
"""How often the image is halved on the way to the coarsest grid."""

SHARPNESS = 8.0
"""Factor on the logit: with every spectral norm at 1 the bare logit hardly leaves 0, and nothing is learnt."""

GRAIN = 0.1
"""Greatest standard deviation of the grain, on images in [-1, 1]: without a bound it draws specks for shapes."""


class Generator(nn.Module):
    """Noise (N, latent_dim), standard normal → images (N, channels, size, size) in [-1, 1].

    Attributes:
        latent_dim: how many numbers an image is made of: those of its content, then one a pixel.

    Args:
        latent_dim: numbers that make the content.
        channels: image channels.
        width: feature channels at half the image's size; they double with every halving.
        size: image height and width in pixels, a multiple of 16.

    Raises:
        UserError: size is no positive multiple of 16.
    """

    def __init__(self, latent_dim: int, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.content_dim, self.size = latent_dim, size
        self.latent_dim = latent_dim + size**2
        grid = coarsest_grid(size)
        widths = [width * 2**halving for halving in reversed(range(HALVINGS))]
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, widths[0] * grid**2, bias=False),
            nn.Unflatten(1, (widths[0], grid, grid)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            *(layer for wide, narrow in pairwise(widths) for layer in _enlarge(wide, narrow)),
            _bilinear_at_first(nn.ConvTranspose2d(width, 2 * channels, 4, stride=2, padding=1)),
            Blur(2 * channels),
        )

    def forward(self, noise: Tensor) -> Tensor:
        content, pixels = noise[:, : self.content_dim], noise[:, self.content_dim :]
        smooth, strength = self.layers(content).chunk(2, dim=1)
        grain = GRAIN * torch.sigmoid(strength) * pixels.unflatten(1, (1, self.size, self.size))
        return torch.tanh(smooth + grain)


class Discriminator(nn.Module):
    """Images (N, channels, size, size) → logits (N,); sigmoid(logit) is the probability of "real".

    Args:
        channels: image channels.
        width: feature channels at half the image's size; they double with every halving.
        size: image height and width in pixels, a multiple of 16.

    Raises:
        UserError: size is no positive multiple of 16.
    """

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        grid = coarsest_grid(size)
        widths = [width * 2**halving for halving in range(HALVINGS)]
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            spectral_norm(nn.Conv2d(4 * channels, width, 3, padding=1)),
            nn.LeakyReLU(0.2, inplace=True),
            *(layer for narrow, wide in pairwise(widths) for layer in _halve(narrow, wide)),
            nn.Flatten(),
            spectral_norm(nn.Linear(widths[-1] * grid**2, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        return SHARPNESS * self.layers(images).squeeze(1)


class Blur(nn.Module):
    """The binomial filter [1 2 1]/4 along both axes: takes a checkerboard of single pixels away entirely."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return F.conv2d(images, self.kernel, padding=1, groups=len(self.kernel))


def coarsest_grid(size: int) -> int:
    """Side of the coarsest feature map of images of `size` pixels; UserError where they cannot be halved so far."""
    grid, rest = divmod(size, 2**HALVINGS)
    if rest or grid < 1:
        raise UserError(
            f"The E-GAN's images must be a positive multiple of {2**HALVINGS} pixels wide and high, not {size}; "
            "set the size accordingly when preparing the data."
        )
    return grid


def _enlarge(wide: int, narrow: int) -> list[nn.Module]:
    """Twice the size; convolved before it is enlarged, at a quarter of the cost of the other order."""
    return [
        nn.Conv2d(wide, narrow, 3, padding=1, bias=False),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.BatchNorm2d(narrow),
        nn.ReLU(inplace=True),
    ]


def _halve(narrow: int, wide: int) -> list[nn.Module]:
    return [spectral_norm(nn.Conv2d(narrow, wide, 3, stride=2, padding=1)), nn.LeakyReLU(0.2, inplace=True)]


def _bilinear_at_first(layer: nn.ConvTranspose2d) -> nn.ConvTranspose2d:
    """Start a 4×4 transposed convolution of stride 2 as a random mix of bilinearly enlarged channels."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    mix = torch.randn(layer.in_channels, layer.out_channels, 1, 1) / layer.in_channels**0.5
    with torch.no_grad():
        layer.weight.copy_(mix * torch.outer(taps, taps))
        layer.bias.zero_()
    return layer
