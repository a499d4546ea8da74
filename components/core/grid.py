"""Sample grids: a batch of images as one picture."""

import math

import numpy as np


def grid(images: np.ndarray) -> np.ndarray:
    """Tile images (N, C, H, W) in [-1, 1] row by row into one (rows·H, columns·W[, 3]) uint8 picture.

    The picture is about square; what is left of the last row is black; C is 1 or 3.
    """
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    tiles = np.zeros((rows * columns, channels, height, width), dtype=np.uint8)
    tiles[:count] = np.round((np.asarray(images) + 1) * 127.5)
    picture = tiles.reshape(rows, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = picture.reshape(rows * height, columns * width, channels)
    return picture[..., 0] if channels == 1 else picture
