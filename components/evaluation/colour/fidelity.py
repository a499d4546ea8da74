"""How near rendered pictures come to the original colours: PSNR and SSIM, image by image."""

import math

import numpy as np
from skimage.metrics import mean_squared_error, structural_similarity

LEVELS = 255
"""Greatest difference of two uint8 values."""


def psnr(originals: np.ndarray, rendered: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio over all three channels.

    Two pictures that agree in every value have no noise, hence an infinite ratio, and so would every mean. They get
    that of the smallest difference there can be: one level in one channel of one pixel.

    Args:
        originals, rendered: (M, 3, H, W) uint8.

    Returns:
        (M,) dB.
    """
    least = 1 / math.prod(originals.shape[1:])
    errors = [max(mean_squared_error(*pair), least) for pair in zip(originals, rendered, strict=True)]
    return 10 * np.log10(LEVELS**2 / np.array(errors))


def ssim(originals: np.ndarray, rendered: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004), mean over the channels, in scikit-image's 7×7 windows.

    Args:
        originals, rendered: (M, 3, H, W) uint8; H and W at least 7.

    Returns:
        (M,), 1 for equal pictures.
    """
    pairs = zip(originals, rendered, strict=True)
    return np.array([structural_similarity(*pair, channel_axis=0, data_range=LEVELS) for pair in pairs])
