"""The E-GAN's generator and discriminator: DCGANs that are cheap at full size.

Fu et al. 2021 (paper 1) give no layer table. We read: the networks of DCGAN, on which E-GAN was published, with
four halvings between the image and its coarsest grid. The discriminator has spectral instead of batch
normalisation: it then couples no samples, so a batch of generated images alone is judged as it would be among
real ones.
"""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from components.core.errors import UserError

SCALES = 4
"""How often the image is halved on its way to the coarsest grid."""


class Generator(nn.Module):
    """Noise (N, latent_dim) → images (N, channels, size, size) in [-1, 1].

    Args:
        latent_dim: length of a noise vector, drawn from N(0, 1).
        channels: image channels.
        width: feature channels at half the image's size; they double with every halving.
        size: image height and width in pixels, a multiple of 16.

    Raises:
        UserError: size is not a positive multiple of 16.
    """

    def __init__(self, latent_dim: int, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        grid = coarsest_grid(size)
        widths = [width * 2**scale for scale in reversed(range(SCALES))]
        self.seed = nn.Sequential(
            nn.Linear(latent_dim, widths[0] * grid**2, bias=False),
            nn.Unflatten(1, (widths[0], grid, grid)),
        )
        self.blocks = nn.Sequential(
            *(_enlarge(wide, narrow) for wide, narrow in zip(widths, widths[1:], strict=False)),
        )
        self.image = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        return self.image(self.blocks(self.seed(noise)))


class Discriminator(nn.Module):
    """Images (N, channels, size, size) → logits (N,); sigmoid(logit) is the probability of "real".

    Args:
        channels: image channels.
        width: feature channels at half the image's size; they double with every halving.
        size: image height and width in pixels, a multiple of 16.

    Raises:
        UserError: size is not a positive multiple of 16.
    """

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        grid = coarsest_grid(size)
        widths = [channels, *(width * 2**scale for scale in range(SCALES))]
        self.blocks = nn.Sequential(
            *(_halve(narrow, wide) for narrow, wide in zip(widths, widths[1:], strict=False))
        )
        self.logit = nn.Sequential(
            nn.Flatten(),
            spectral_norm(nn.Linear(widths[-1] * grid**2, 1)),
            nn.Flatten(0),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.logit(self.blocks(images))


def coarsest_grid(size: int) -> int:
    """Side of the coarsest feature map of an image of `size` pixels; UserError where it does not divide."""
    grid, rest = divmod(size, 2**SCALES)
    if rest or grid < 1:
        raise UserError(
            f"the E-GAN's images must be a positive multiple of {2**SCALES} pixels wide, got {size}"
        )
    return grid


def _enlarge(wide: int, narrow: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False),
    )


def _halve(narrow: int, wide: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(narrow, wide, 4, stride=2, padding=1)),
        nn.LeakyReLU(0.2),
    )
