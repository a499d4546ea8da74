"""Features in which sets of images are compared: numbers that change where images look different."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.core.training import as_floats

SEED = 0
"""Of the random convolutions: always the same ones."""

CHANNELS = (32, 64, 64)
CELLS = 4
"""Along either axis: features say where in the image something is, roughly."""


def random_convolutions(images: np.ndarray, batch_size: int = 100) -> np.ndarray:
    """What three layers of fixed random convolutions see, (N, F) float64: features that have learned nothing.

    Naeem et al. 2020, section 4.2, find such embeddings the better judge away from natural images, where the usual
    ones were learned. Unlike a network that learned from the images at hand they favour no class and know nobody.

    We read: three convolutions of stride 2, He's normal initial weights without biases, each followed by ReLU, the
    means over 4 × 4 cells. The first layer's kernels sum to 0, so that edges are seen and brightness alone is not:
    without that it is most of what they see, and a blur nothing. A histogram of oriented gradients costs eight times as
    much.

    Args:
        images: (N, C, H, W), floats in [-1, 1] or uint8.
    """
    kernels = _kernels(images.shape[1])
    with torch.no_grad():
        parts = [_see(as_floats(part), kernels) for part in torch.from_numpy(np.array(images)).split(batch_size)]
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True)
class Scale:
    """Features centred at those of a set of real images, of which each then has a mean square of 1.

    With the polynomial kernel this makes distances comparable between features: a network's have no scale of their
    own. Directions keep their relative weight, so that none in which few images happen to agree is blown up.

    Attributes:
        centre: (F,).
        width: standard deviation, the root of its mean square over the features.
    """

    centre: np.ndarray
    width: float

    @classmethod
    def of(cls, features: np.ndarray) -> "Scale":
        """That of real images' features (N, F)."""
        return cls(features.mean(axis=0), float(np.sqrt(features.var(axis=0).mean())) or 1.0)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self.centre) / self.width


def _kernels(channels: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    sides, inputs = (5, 3, 3), (channels, *CHANNELS)
    first, *others = [
        nn.init.kaiming_normal_(torch.empty(wide, narrow, side, side), generator=generator)
        for wide, narrow, side in zip(CHANNELS, inputs, sides, strict=False)
    ]
    return [first - first.mean(dim=(1, 2, 3), keepdim=True), *others]


def _see(images: Tensor, kernels: list[Tensor]) -> Tensor:
    for kernel in kernels:
        images = F.relu(F.conv2d(images, kernel, stride=2, padding=kernel.shape[-1] // 2))
    return F.adaptive_avg_pool2d(images, CELLS).flatten(1)
