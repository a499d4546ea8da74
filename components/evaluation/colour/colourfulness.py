"""Colourfulness: how strong the colours of a picture look, whatever they are."""

import numpy as np

MEAN_SHARE = 0.3
"""Weight of the mean's distance from grey beside that of the spread, fitted to people's ratings."""


def colourfulness(images: np.ndarray) -> np.ndarray:
    """M = √(σ²_rg + σ²_yb) + 0.3 √(μ²_rg + μ²_yb), with rg = R − G, yb = ½ (R + G) − B.

    Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images", section 7. About 0 is not colourful, 33
    moderately, 59 quite, 109 extremely. σ and μ are over the pixels of one picture.

    Args:
        images: (M, 3, H, W) uint8, RGB.

    Returns:
        (M,), 0 for grey.
    """
    red, green, blue = images.astype(np.float64).transpose(1, 0, 2, 3)
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    spread = np.sqrt(opponents.var(axis=(2, 3)).sum(axis=0))
    distance = np.sqrt((opponents.mean(axis=(2, 3)) ** 2).sum(axis=0))
    return spread + MEAN_SHARE * distance
