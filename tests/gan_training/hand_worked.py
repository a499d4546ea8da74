"""Networks so small that what a trainer does with them can be worked out by hand."""

import torch
from torch import Tensor, nn


class Brightness(nn.Module):
    """A discriminator whose gradient can be worked out by hand: logit = weight · mean brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images.mean(dim=(1, 2, 3))


class Uniform(nn.Module):
    """A generator of images of one brightness, whatever the noise."""

    latent_dim = 1

    def __init__(self, brightness: float) -> None:
        super().__init__()
        self.brightness = nn.Parameter(torch.tensor([brightness]))

    def forward(self, noise: Tensor) -> Tensor:
        return self.brightness.view(1, 1, 1, 1).expand(len(noise), 1, 2, 2)
