"""What the E-GAN's discriminator sees of images: differentiable augmentation (Zhao et al. 2020), not paper 1's.

Real and generated images go through it alike, and gradients come back through it, so the few real images of a class
are not learnt by heart, and yet what is done to them never shows in generated ones. Paper 1 flips and shifts the real
images alone, and its generators then draw flipped hearts, which no patient has.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def perturb(images: Tensor, *, translation: float, brightness: float, contrast: float) -> Tensor:
    """Each image shifted by whole pixels, which blurs nothing, and changed in level and contrast, all at random.

    Args:
        images: (N, C, H, W); what a shift uncovers is 0.
        translation: largest shift along either axis, as a fraction of the image's side.
        brightness: largest change of the level.
        contrast: largest change of the distance from the image's mean, as a fraction.

    Returns:
        Images (N, C, H, W), not clipped to any range.
    """
    count = len(images)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    factors = 1 + contrast * _symmetric(count, images)
    return _shifted((images - mean) * factors + mean + brightness * _symmetric(count, images), translation)


def _symmetric(count: int, like: Tensor) -> Tensor:
    """Uniform numbers (count, 1, 1, 1) in [-1, 1]."""
    return torch.rand(count, 1, 1, 1, device=like.device, dtype=like.dtype) * 2 - 1


def _shifted(images: Tensor, largest: float) -> Tensor:
    count, _, height, width = images.shape
    down, right = round(largest * height), round(largest * width)
    padded = F.pad(images, (right, right, down, down))
    rows = torch.randint(0, 2 * down + 1, (count, 1), device=images.device) + torch.arange(height, device=images.device)
    columns = torch.randint(0, 2 * right + 1, (count, 1), device=images.device) + torch.arange(
        width, device=images.device
    )
    numbers = torch.arange(count, device=images.device)[:, None, None]
    return padded[numbers, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()
