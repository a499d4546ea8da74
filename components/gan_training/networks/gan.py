"""The plain GAN's generator and discriminator: multilayer perceptrons.

Liu et al. 2021 (paper 2), section III.C and Table 2. The widths are not published: they are arguments.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from components.gan_training.keras import batch_norm, glorot


class Generator(nn.Module):
    """Noise (N, latent_dim), standard normal → images (N, channels, size, size) in [-1, 1].

    Args:
        latent_dim: length of a noise vector.
        channels: image channels.
        size: image height and width in pixels.
        widths: units of the hidden layers (the paper has three).
        leak: slope of LeakyReLU below 0.
        momentum: of batch normalisation, in Keras's sense.
    """

    def __init__(
        self, latent_dim: int, channels: int, size: int, widths: Sequence[int], leak: float, momentum: float
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        hidden = []
        for narrow, wide in pairwise([latent_dim, *widths]):
            activation = nn.LeakyReLU(leak, inplace=True)
            hidden += [nn.Linear(narrow, wide), activation, batch_norm(nn.BatchNorm1d, wide, momentum)]
        self.layers = nn.Sequential(
            *hidden,
            nn.Linear(widths[-1], channels * size**2),
            nn.Tanh(),
            nn.Unflatten(1, (channels, size, size)),
        )
        glorot(self)

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise)


class Discriminator(nn.Module):
    """Images (N, channels, size, size) → logits (N,); sigmoid(logit) is the probability of "real".

    Args:
        channels: image channels.
        size: image height and width in pixels.
        widths: units of the hidden layers (the paper has two).
        leak: slope of LeakyReLU below 0.
    """

    def __init__(self, channels: int, size: int, widths: Sequence[int], leak: float) -> None:
        super().__init__()
        hidden = []
        for wide, narrow in pairwise([channels * size**2, *widths]):
            hidden += [nn.Linear(wide, narrow), nn.LeakyReLU(leak, inplace=True)]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], 1))
        glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)
