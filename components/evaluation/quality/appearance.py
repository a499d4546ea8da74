"""How images look, without any network: spread over the images, sharpness, and power at every frequency.

All take images (N, C, H, W) in [-1, 1]. A ratio to real images is near 1 for good ones.
"""

import numpy as np

FLOOR = 1e-12


def spread(images: np.ndarray, people: np.ndarray | None = None) -> float | None:
    """Standard deviation over the images, averaged over the pixels; None where there are not two people.

    Without bias for few people: a pixel's variance is half its mean squared difference over pairs of images that
    show different ones, since a person's slices vary less than people do.

    Args:
        people: (N,) whom each image shows; without, each stands for itself.
    """
    pixels = images.reshape(len(images), -1).astype(np.float64)
    _, index, sizes = np.unique(np.arange(len(images)) if people is None else people, False, True, True)
    if len(sizes) < 2:
        return None
    ordered, starts = pixels[np.argsort(index, kind="stable")], np.cumsum(sizes) - sizes
    sums, squares = np.add.reduceat(ordered, starts), np.add.reduceat(ordered**2, starts)
    total = len(images) * squares.sum(axis=0) - sums.sum(axis=0) ** 2
    own = (sizes[:, None] * squares - sums**2).sum(axis=0)
    pairs = len(images) ** 2 - (sizes**2).sum()
    return float(np.sqrt(np.maximum(total - own, 0) / pairs).mean())


def gradient_energy(images: np.ndarray) -> float:
    """Mean square of the differences between neighbouring pixels, along both axes: what a blur takes away."""
    return float(np.mean([np.square(np.diff(images, axis=axis)).mean() for axis in (-1, -2)]))


def radial_spectrum(images: np.ndarray) -> np.ndarray:
    """Mean power at each whole number of waves a side, from 1 to half the side; over images, channels, directions.

    Durall et al. 2020, "Watch your up-convolution", find generators out by it. A Hann window keeps the border, which
    does not fit its opposite, out of it.
    """
    height, width = images.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    centred = images - images.mean(axis=(-2, -1), keepdims=True)
    power = (np.abs(np.fft.fft2(centred * window)) ** 2).mean(axis=(0, 1))
    side = min(height, width)
    waves = np.hypot(np.fft.fftfreq(height)[:, None] * side, np.fft.fftfreq(width) * side).round().astype(int)
    means = np.bincount(waves.ravel(), power.ravel()) / np.maximum(np.bincount(waves.ravel()), 1)
    return means[1 : side // 2 + 1]


def spectral_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Mean over the frequencies of the difference of two sets' power, in decibels; 0 for equal sets."""
    ours, theirs = (np.log10(radial_spectrum(images) + FLOOR) for images in (real, fake))
    return float(10 * np.abs(ours - theirs).mean())
