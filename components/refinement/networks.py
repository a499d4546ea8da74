"""SimGAN's networks: Table 1 and Figure 4 of Fu et al. 2021 (paper 1).

Table 1 names neither activations nor padding. We read: a PReLU stands between two convolutions that follow
each other directly, for without it they would be one; everything is padded to keep its size (divided by the
stride). Convolutions are initialised for PReLU (He et al. 2015), but both networks' last layers start at 0: the refiner
as the identity, which a warm-up on self-regularisation is to bring about, the discriminator without an opinion, so
that nobody follows one that has learnt nothing.
"""

from torch import Tensor, nn

RESIDUALS = 2
"""Residual structures of the discriminator."""

SLOPE = 0.25
"""PReLU's first slope for negative values (He et al. 2015)."""


class Refiner(nn.Module):
    """Images x (N, channels, H, W) in [-1, 1] → refined images x + (1 − x²)² · t of the same shape and range.

    The layers of Table 1 give t, in [-½, ½]. For every t this rises with x and leaves -1 and 1 where they are: a value
    can change by ½ at most, and hardly at all at the ends of the range. So whatever a discriminator asks for, images
    become neither white nor all the same, and nowhere does a clamp end the gradient. Starts as the identity.

    Args:
        channels: image channels.
        width: feature channels.
        blocks: residual structures.
    """

    def __init__(self, channels: int, width: int, blocks: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(channels, width, 3),
            *(Residual(width) for _ in range(blocks)),
            zero(convolution(width, channels, 1)),
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return images + (1 - images.square()).square() * self.layers(images) / 2


class Discriminator(nn.Module):
    """Images (N, channels, H, W) → logits (N, 2, ⌈H/4⌉, ⌈W/4⌉) of (refined, real) at every location.

    Starts undecided everywhere.
    """

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
            zero(convolution(width, 2, 1)),
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
        zero(self.body[-1])

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


def convolution(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Convolution that keeps the size (divided by `stride`)."""
    layer = nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)
    return layer


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The convolution with weights of 0."""
    nn.init.zeros_(layer.weight)
    return layer
