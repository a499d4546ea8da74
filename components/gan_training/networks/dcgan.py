"""The improved DCGAN's generator and discriminator.

Liu et al. 2021 (paper 2), sections II.B and III.B and Table 1. The widths are not published: they are arguments.
No layer in front of a batch normalisation has a bias, which the normalisation would take away again.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.core.errors import UserError
from components.gan_training.keras import batch_norm, glorot

KERNEL = 5
PADDING = KERNEL // 2
"""Keras's "same". Where it would pad the left by 1 and the right by 2 (stride 2), we read: 2 on both sides."""

ENLARGEMENTS = 2
"""How often the generator doubles the side of its first grid; groups beyond these keep it."""


class Generator(nn.Module):
    """Noise (N, latent_dim), standard normal → images (N, channels, size, size) in [-1, 1].

    Args:
        latent_dim: length of a noise vector.
        channels: image channels.
        size: image height and width in pixels, a multiple of 4.
        widths: feature channels of the first grid, then of the groups behind it (the paper has three).
        momentum: of batch normalisation, in Keras's sense.

    Raises:
        UserError: size is no positive multiple of 4.
    """

    def __init__(self, latent_dim: int, channels: int, size: int, widths: Sequence[int], momentum: float) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.grid = (first_grid(size), first_grid(size), widths[0])
        units = widths[0] * first_grid(size) ** 2
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, units, bias=False),
            batch_norm(nn.BatchNorm1d, units, momentum),
            nn.ReLU(inplace=True),
        )
        groups = []
        for index, (wide, narrow) in enumerate(pairwise(widths)):
            convolution = EnlargedConvTranspose2d if index < ENLARGEMENTS else nn.ConvTranspose2d
            groups += [
                convolution(wide, narrow, KERNEL, padding=PADDING, bias=False),
                batch_norm(nn.BatchNorm2d, narrow, momentum),
                nn.ReLU(inplace=True),
            ]
        self.groups = nn.Sequential(*groups)
        self.to_image = nn.Sequential(nn.ConvTranspose2d(widths[-1], channels, KERNEL, padding=PADDING), nn.Tanh())
        glorot(self)

    def forward(self, noise: Tensor) -> Tensor:
        grid = self.dense(noise).unflatten(1, self.grid).movedim(-1, 1)  # channels last: Keras's order, and memory's
        return self.to_image(self.groups(grid))


class Discriminator(nn.Module):
    """Images (N, channels, size, size) → logits (N,); sigmoid(logit) is the probability of "real".

    Args:
        channels: image channels.
        size: image height and width in pixels.
        widths: feature channels of the groups (the paper has four); each halves the image.
        leak: slope of LeakyReLU below 0.
        dropout: share of features dropped while training.
        momentum: of batch normalisation, in Keras's sense.
    """

    def __init__(
        self, channels: int, size: int, widths: Sequence[int], leak: float, dropout: float, momentum: float
    ) -> None:
        super().__init__()
        groups = []
        for narrow, wide in pairwise([channels, *widths]):
            groups += [
                nn.Conv2d(narrow, wide, KERNEL, stride=2, padding=PADDING, bias=False),
                batch_norm(nn.BatchNorm2d, wide, momentum),
                nn.LeakyReLU(leak, inplace=True),
                Dropout(dropout),
            ]
            size = -(-size // 2)
        self.groups = nn.Sequential(*groups)
        self.dense = nn.Linear(widths[-1] * size**2, 1)
        glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        features = self.groups(images).movedim(1, -1)
        return self.dense(features.flatten(1)).squeeze(1)


class EnlargedConvTranspose2d(nn.ConvTranspose2d):
    """Nearest-neighbour enlargement to twice the size, then the transposed convolution, of stride 1.

    The two are linear, so one transposed convolution of stride 2 does both: its kernel is this layer's, convolved with
    the 2×2 box that the enlargement is. A 5×5 kernel becomes 6×6, of which 3×3 taps meet a pixel: 25/9 times
    fewer multiplications, and the enlarged image never exists.
    """

    def forward(self, images: Tensor) -> Tensor:
        box = 2 * 2
        kernel = box * F.avg_pool2d(self.weight, 2, stride=1, padding=1)
        return F.conv_transpose2d(images, kernel, self.bias, stride=2, padding=self.padding)


class Dropout(nn.Module):
    """Dropout by uniform numbers: on a CPU torch's own Bernoulli numbers cost four times as much."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.kept = 1 - share

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or self.kept == 1:
            return features
        scale = torch.rand_like(features)
        return features * torch.lt(scale, self.kept, out=scale).div_(self.kept)


def first_grid(size: int) -> int:
    """Side of the generator's first feature map of images of `size` pixels; UserError where none fits."""
    grid, rest = divmod(size, 2**ENLARGEMENTS)
    if rest or grid < 1:
        raise UserError(
            f"The DCGAN's images must be a positive multiple of {2**ENLARGEMENTS} pixels wide and high, not {size}."
        )
    return grid
