"""SimGAN's networks: Table 1 and Figure 4 of Fu et al. 2021 (paper 1).

Table 1 names neither activations nor padding. We read: a PReLU stands between two convolutions that follow
each other directly, for without it they would be one; everything is padded to keep its size (divided by the
stride). Convolutions are initialised for PReLU (He et al. 2015), but every residual structure starts as the
identity: without normalisation, plain SGD then bears a learning rate at which it gets somewhere.
"""

import torch
from torch import Tensor, nn

from components.core.errors import UserError

RESIDUALS = 2
"""Residual structures of the discriminator."""

SLOPE = 0.25
"""PReLU's first slope for negative values (He et al. 2015)."""


class Refiner(nn.Module):
    """Images (N, channels, H, W) in [-1, 1] → refined images of the same shape and range.

    Starts as the identity: of the `width` features the first `channels` carry the image through. The range is
    kept by clipping, not by tanh, which could not be the identity.

    Args:
        channels: image channels.
        width: feature channels, at least `channels`.
        blocks: residual structures.

    Raises:
        UserError: `width` is below `channels`.
    """

    def __init__(self, channels: int, width: int, blocks: int = 5) -> None:
        super().__init__()
        if width < channels:
            raise UserError(
                f"the refiner's width must be at least the number of image channels, {channels}, got {width}"
            )
        self.layers = nn.Sequential(
            convolution(channels, width, 3),
            *(Residual(width) for _ in range(blocks)),
            convolution(width, channels, 1),
            nn.Hardtanh(-1, 1),
        )
        head, tail = self.layers[0], self.layers[-2]
        with torch.no_grad():
            nn.init.dirac_(head.weight[:channels])
            nn.init.dirac_(tail.weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Discriminator(nn.Module):
    """Images (N, channels, H, W) → logits (N, 2, ⌈H/4⌉, ⌈W/4⌉) of (refined, real) at every location."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, width, 3, stride=2),
            nn.PReLU(width, SLOPE),
            convolution(width, width, 3, stride=2),
            nn.MaxPool2d(3, stride=1, padding=1),
            *(Residual(width) for _ in range(RESIDUALS)),
            convolution(width, width, 1),
            nn.PReLU(width, SLOPE),
            convolution(width, 2, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Residual(nn.Module):
    """Features (N, width, H, W) plus conv3×3 → PReLU → conv3×3 of them, with no activation after the sum.

    Figure 4 of the paper.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(width, width, 3), nn.PReLU(width, SLOPE), convolution(width, width, 3))
        nn.init.zeros_(self.body[-1].weight)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


def convolution(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Convolution that keeps the size (divided by `stride`)."""
    layer = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)
    return layer
