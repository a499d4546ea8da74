"""What is done to image batches (N, C, H, W) on the fly: scaling; crops; augmentation by flips, turns and shifts."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def as_floats(images: Tensor) -> Tensor:
    """uint8 images with levels in [0, 255] as floats in [-1, 1]; floats stay as they are."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


def flip_and_shift(images: Tensor, largest_shift: float) -> Tensor:
    """Each image flipped horizontally and vertically with probability ½ each, and shifted at random.

    Args:
        images: (N, C, H, W).
        largest_shift: along either axis, as a fraction of the image's side.
    """
    flips = torch.diag_embed(_random_signs(images))
    return _resample(images, flips, _random_shifts(images, largest_shift))


def flip_turn_and_shift(images: Tensor, largest_angle: float, largest_shift: float) -> Tensor:
    """Each image flipped as by `flip_and_shift`, turned and shifted at random, in one interpolation.

    Args:
        images: (N, C, H, W), of equal H and W: else turns would distort.
        largest_angle: to either side, in degrees.
        largest_shift: along either axis, as a fraction of the image's side.
    """
    angles = _uniform(images, 1) * math.radians(largest_angle)
    turns = torch.cat([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=1).view(-1, 2, 2)
    flipped = turns * _random_signs(images)[:, None, :]
    return _resample(images, flipped, _random_shifts(images, largest_shift))


def crop_and_flip(images: Tensor, side: int) -> Tensor:
    """A random square of each image, mirrored left to right with probability ½: (N, C, side, side).

    Args:
        images: (N, C, H, W), of any type.
        side: in pixels, at most H and W.
    """
    count, _, height, width = images.shape
    steps = torch.arange(side, device=images.device)
    rows = torch.randint(0, height - side + 1, (count, 1), device=images.device) + steps
    columns = torch.randint(0, width - side + 1, (count, 1), device=images.device) + steps
    mirrored = torch.randint(0, 2, (count, 1), device=images.device).bool()
    columns = torch.where(mirrored, columns.flip(1), columns)
    numbers = torch.arange(count, device=images.device)[:, None, None]
    return images[numbers, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()


def centre_crop(images: Tensor, side: int) -> Tensor:
    """The square in the middle of each image (N, C, H, W): (N, C, side, side)."""
    top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
    return images[..., top : top + side, left : left + side]


def _uniform(images: Tensor, count: int) -> Tensor:
    """(N, count) numbers in [-1, 1], for N images."""
    return torch.rand(len(images), count, device=images.device) * 2 - 1


def _random_signs(images: Tensor) -> Tensor:
    """(N, 2), each 1 or −1."""
    return torch.randint(0, 2, (len(images), 2), device=images.device) * 2.0 - 1.0


def _random_shifts(images: Tensor, largest: float) -> Tensor:
    """(N, 2) shifts in [-largest, largest], in sides of the image."""
    return _uniform(images, 2) * largest


def _resample(images: Tensor, transforms: Tensor, shifts: Tensor) -> Tensor:
    """Take each pixel from where `transforms` (N, 2, 2) and `shifts` (N, 2) lead, x before y; the border is continued.

    Positions count from the image's centre; shifts are in sides of the image.
    """
    # grid_sample's coordinates run from −1 to 1: a side is two units long.
    affine = torch.cat([transforms, 2 * shifts.unsqueeze(-1)], dim=-1)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
