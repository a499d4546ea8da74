"""Copies: these may be patients, whom a generator must not repeat.

How near an image comes to somebody says little by itself: a blur is near to everybody, and people are alike. So
nearness is relative: the distance to the nearest training person over the mean distance to the next ones (Carlini et
al. 2023, "Extracting training data from diffusion models", section 4.2, whose neighbours are images; ours are people,
as a person's slices are alike). Near 1 for somebody new, near 0 for a copy. Which ratio is suspicious, real people
say whom the generator never saw.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from skimage.measure import block_reduce

OTHERS = 5
"""People besides the nearest whose mean distance is what is to be expected."""

NEAR = 0.05
"""Share of unseen people's images that count as near copies: what a generator that copies nobody has, too."""

SIDE = 40
"""Images larger than this are compared at a whole fraction of their size."""

SHIFT = 1
"""Pixels at that size along either axis that a copy may be shifted by: no less than the augmentation's 2 %."""


@dataclass(frozen=True)
class Distances:
    """From N images to M training images.

    Attributes:
        values: (N, M).
        flips: (N, M), how the training image is to be flipped to lie so near: an index into `FLIPS`.
    """

    values: np.ndarray
    flips: np.ndarray


FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-1, -2))
"""Axes that are reversed."""


@dataclass(frozen=True)
class Nearest:
    """Each image's nearest training person.

    Attributes:
        ratios: (N,) the distance to them over the mean distance to the next people.
        indices: (N,) the training image of theirs that is nearest.
    """

    ratios: np.ndarray
    indices: np.ndarray


def pixel_distances(images: np.ndarray, training: np.ndarray) -> Distances:
    """Euclidean distances of images without their level and contrast, the least over flips and small shifts.

    A generator that trains on flipped and shifted images copies these, and a refiner may change brightness.

    Args:
        images, training: (N, C, H, W) and (M, C, H, W), of one scale.
    """
    factor = -(-min(images.shape[-2:]) // SIDE)
    small = [block_reduce(each, (1, 1, factor, factor), np.mean) for each in (images, training)]
    shown = _normalised(small[0][..., SHIFT:-SHIFT, SHIFT:-SHIFT])
    best, flips = np.full((len(images), len(training)), -np.inf, np.float32), np.zeros(1, np.int8)
    for flip, axes in enumerate(FLIPS):
        turned = np.flip(small[1], axes)
        for top in range(2 * SHIFT + 1):
            for left in range(2 * SHIFT + 1):
                height, width = (side - 2 * SHIFT for side in turned.shape[-2:])
                likeness = shown @ _normalised(turned[..., top : top + height, left : left + width]).T
                flips = np.where(likeness > best, np.int8(flip), flips)
                best = np.maximum(best, likeness)
    return Distances(np.sqrt(np.maximum(2 - 2 * best.astype(np.float64), 0)), flips)


def feature_distances(features: np.ndarray, training: np.ndarray) -> Distances:
    """Euclidean distances of features (N, F) and (M, F)."""
    values = cdist(features, training)
    return Distances(values, np.zeros(values.shape, np.int8))


def nearest_person(distances: np.ndarray, people: np.ndarray) -> Nearest:
    """Each image's nearest training person, from distances (N, M) to images that show `people` (M,).

    With a single person the ratio is the distance.
    """
    names = np.unique(people)
    by_person = np.sort([distances[:, people == name].min(axis=1) for name in names], axis=0)  # (people, N)
    usual = by_person[1 : 1 + OTHERS].mean(axis=0) if len(names) > 1 else np.ones(len(distances))
    ratios = np.divide(by_person[0], usual, out=np.ones(len(distances)), where=usual > 0)
    return Nearest(ratios, distances.argmin(axis=1))


def near_copies(ratios: np.ndarray, unseen: np.ndarray) -> float:
    """Share of images nearer to somebody than all but `NEAR` of unseen people's images are.

    Args:
        ratios: (N,) of the images.
        unseen: (M,) of real images of people who are not among the training people.
    """
    # Of all definitions of a quantile the one that leaves the nominal share below it on average, however few there are.
    return float((ratios < np.quantile(unseen, NEAR, method="weibull")).mean())


def usual_share(count: int) -> float:
    """What `near_copies` is on average where nobody is copied; beside few unseen images, more than `NEAR`."""
    return max(NEAR, 1 / (count + 1))


def _normalised(images: np.ndarray) -> np.ndarray:
    """(N, pixels) float32 with mean 0 and length 1; a constant image has no length."""
    pixels = images.reshape(len(images), -1).astype(np.float32)
    pixels = pixels - pixels.mean(axis=1, keepdims=True)
    return pixels / np.maximum(np.linalg.norm(pixels, axis=1, keepdims=True), 1e-6)
