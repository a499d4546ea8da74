"""What generators draw from, and what they draw from it."""

import torch
from torch import Tensor, nn


def draw_noise(generator: nn.Module, count: int) -> Tensor:
    """Standard normal noise (count, generator.latent_dim) on the generator's device."""
    device = next(generator.parameters()).device
    return torch.randn(count, generator.latent_dim, device=device)


def draw_images(generator: nn.Module, noise: Tensor) -> Tensor:
    """Images (N, C, H, W) of a generator in training, judged as it will be used: each alone, without gradients."""
    generator.eval()
    with torch.no_grad():
        images = generator(noise)
    generator.train()
    return images
