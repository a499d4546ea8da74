"""What is done to image batches (N, C, H, W) on the fly: scaling; crops; augmentation by flips and small shifts."""

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
    count = len(images)
    signs = torch.randint(0, 2, (count, 2), device=images.device) * 2.0 - 1.0
    return _resample(images, signs, _random_shifts(count, largest_shift, images.device))


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


def classic_copies(images: Tensor, largest_shift: float) -> Tensor:
    """The images, then all flipped horizontally, all flipped vertically, all shifted at random: (4N, C, H, W)."""
    count = len(images)
    unflipped = torch.ones(count, 2, device=images.device)
    shifted = _resample(images, unflipped, _random_shifts(count, largest_shift, images.device))
    return torch.cat([images, images.flip(-1), images.flip(-2), shifted])


def _random_shifts(count: int, largest: float, device: torch.device) -> Tensor:
    """(N, 2) shifts in [-largest, largest], in sides of the image."""
    return (torch.rand(count, 2, device=device) * 2 - 1) * largest


def _resample(images: Tensor, signs: Tensor, shifts: Tensor) -> Tensor:
    """Mirror by `signs` (N, 2; −1 mirrors) and shift by `shifts` (N, 2), x before y; the border is continued."""
    # grid_sample's coordinates run from −1 to 1: a side is two units long.
    transform = torch.cat([torch.diag_embed(signs), 2 * shifts.unsqueeze(-1)], dim=-1)
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
