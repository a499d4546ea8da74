"""Images to look at: floats as levels, a batch as one picture."""

import math

import numpy as np


def as_levels(images: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1] as uint8 levels in [0, 255]; levels stay as they are."""
    if images.dtype == np.uint8:
        return images
    return np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def grid(images: np.ndarray) -> np.ndarray:
    """Tile images (N, C, H, W), floats in [-1, 1] or levels, into one (rows·H, columns·W[, 3]) uint8 picture.

    Row by row, about square; what is left of the last row is black; C is 1 or 3.
    """
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    tiles[:count] = as_levels(images)
    picture = tiles.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = picture.reshape(rows * height, columns * width, channels)
    return picture[..., 0] if channels == 1 else picture
