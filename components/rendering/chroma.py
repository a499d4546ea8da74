"""The chroma of a picture: asked of a small network, window by window, then brought to the picture's own size."""

import math
from itertools import product

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch.nn import functional as F

from components.rendering.renderer import Renderer

LONGEST = 16
"""A picture counts as at most so many times as long as it is wide; beyond, it is shown to the network squeezed."""


def small_chroma(renderer: Renderer, grey: np.ndarray) -> np.ndarray:
    """The network's colours for a picture, at the network's own scale.

    The picture is scaled so that it just covers the network's, as the training photographs were; what is longer is
    shown in windows that overlap by half at least, and blended.

    Args:
        grey: (H, W) in [-1, 1].

    Returns:
        (h, w, 2): a and b of CIE Lab.
    """
    height, width = grey.shape
    scale = max(renderer.rows / height, renderer.columns / width)
    size = [
        min(max(round(scale * length), window), LONGEST * window)
        for length, window in ((height, renderer.rows), (width, renderer.columns))
    ]
    small = np.array(Image.fromarray(grey).resize(size[::-1], Image.Resampling.LANCZOS)).clip(-1, 1)
    corners = list(product(_starts(size[0], renderer.rows), _starts(size[1], renderer.columns)))
    windows = [np.s_[top : top + renderer.rows, left : left + renderer.columns] for top, left in corners]
    rendered = renderer.predict(np.stack([small[window] for window in windows])[:, None])
    colours = rgb2lab((rendered.clip(-1, 1) + 1) / 2, channel_axis=1)[:, 1:].transpose(0, 2, 3, 1)
    weight = np.multiply.outer(_fading(renderer.rows), _fading(renderer.columns))[..., None]
    total, weights = np.zeros((*size, 2), dtype=np.float32), np.zeros((*size, 1), dtype=np.float32)
    for window, each in zip(windows, colours, strict=True):
        total[window] += weight * each
        weights[window] += weight
    return total / weights


def enlarge(chroma: np.ndarray, height: int, width: int) -> np.ndarray:
    """Chroma (h, w, 2) at another size, (height, width, 2).

    Tried and left out: guided filters, which let colours end where lightness has an edge, came no nearer to the true
    chroma of photographs than by a twentieth.
    """
    values = torch.from_numpy(chroma).permute(2, 0, 1)[None]
    return F.interpolate(values, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()


def _starts(length: int, window: int) -> list[int]:
    """Where windows begin that cover a length and overlap by half at least."""
    count = math.ceil((length - window) / (window / 2)) + 1
    return np.linspace(0, length - window, count).round().astype(int).tolist()


def _fading(length: int) -> np.ndarray:
    """Weights that fall from the middle of a window to its ends, and stay above 0."""
    return 1 - np.abs((2 * np.arange(length) + 1) / length - 1).astype(np.float32)
