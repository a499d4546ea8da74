"""The contract of generated images: what every step checks before images, or a network that makes them, leave it."""

from collections.abc import Iterator

import numpy as np

from components.core.errors import Collapse
from components.core.images.grid import as_levels

LEAST_CONTRAST = 2
"""Levels, of 255, between an image's darkest and its brightest value; below, it is blank."""

MOST_BLANK = 0.1
"""Share of a set."""

LEAST_DIVERSITY = 0.01
"""Standard deviation over the images, averaged over the pixels, as a share of the real images'. After four updates it
is 4 % for the colour GAN; one repeated image has none. What lies between is for a training's health to tell."""


def check_generated(images: np.ndarray, real: np.ndarray, name: str) -> None:
    """Refuse images that nobody could take for images: what is merely bad, as after a few steps, passes.

    They must be finite and in range, not blank, not saturated, and not a few copies.

    Args:
        images: (N, C, H, W), floats in [-1, 1] or levels.
        real: (M, C, H, W), what they stand for.
        name: of the images, in the message.

    Raises:
        Collapse: one sentence for everything that is wrong.
    """
    problems = list(_problems(images, real))
    if problems:
        raise Collapse(
            f"{name[0].upper()}{name[1:]} are no images: {', and '.join(problems)}. "
            "Train what made them with another seed, longer, or at lower learning rates."
        )


def _problems(images: np.ndarray, real: np.ndarray) -> Iterator[str]:
    if not np.isfinite(images).all():
        yield f"{_share(~np.isfinite(images).all(axis=(1, 2, 3)))} hold values that are not finite"
        return
    if images.dtype != np.uint8 and (np.abs(images) > 1).any():
        yield f"{_share((np.abs(images) > 1).any(axis=(1, 2, 3)))} leave the range from -1 to 1"
        return
    images, real = as_levels(images), as_levels(real)
    blank = np.ptp(images.reshape(len(images), -1), axis=1) < LEAST_CONTRAST
    if blank.mean() > MOST_BLANK:
        yield f"{_share(blank)} are blank"
    saturated = _saturation(images)
    if saturated > (1 + _saturation(real)) / 2:
        yield f"{saturated:.0%} of their values are black or white"
    if len(images) > 1:
        diversity = _diversity(images) / max(_diversity(real), 1e-6)
        if diversity < LEAST_DIVERSITY:
            yield f"they are all the same (their diversity is {diversity:.1%} of the real images')"


def _share(images: np.ndarray) -> str:
    return f"{images.sum()} of {len(images)}"


def _saturation(images: np.ndarray) -> float:
    return float(((images == 0) | (images == 255)).mean())


def _diversity(images: np.ndarray) -> float:
    return float(images.std(axis=0, dtype=np.float64).mean())
