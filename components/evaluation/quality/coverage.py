"""Density and coverage: do generated images look like real ones, and are all kinds of real ones among them?

Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models". Around every real image lies a ball
that reaches to its k-th nearest neighbour. Density counts how many balls a generated image falls into (1 for images
from the same distribution, 0 for images like no real one); coverage is the share of the balls that catch one. One crisp
image repeated may have any density, but covers next to nothing; a blur between the real images does neither.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

NEIGHBOURS = 5
"""k, as in the paper."""


@dataclass(frozen=True)
class Coverage:
    """Both, of one set of images."""

    density: float
    coverage: float


def density_and_coverage(real: np.ndarray, fake: np.ndarray, people: np.ndarray, part: int) -> Coverage | None:
    """Both, of images against real ones.

    A ball reaches to the k-th neighbour among *other* people's images: a person's slices are alike, and generated
    images, each a person of its own, are not. The more images, the more balls catch one: so that coverage can be
    compared, it is the mean over parts of equal size; the images are dealt out to them in turn.

    Args:
        real: features, (N, F).
        fake: features, (M, F).
        people: (N,) whom each real image shows.
        part: images a part, at least; all where there are fewer.

    Returns:
        None where nobody else is among the real images.
    """
    among = np.where(people[:, None] == people, np.inf, cdist(real, real))
    others = np.isfinite(among).sum(axis=1).min()
    if not others:
        return None
    radii = np.sort(among, axis=1)[:, min(NEIGHBOURS, others) - 1]
    caught = cdist(real, fake) < radii[:, None]
    parts = max(1, len(fake) // part)
    covered = [caught[:, first::parts].any(axis=1).mean() for first in range(parts)]
    return Coverage(float(caught.sum(axis=0).mean() / min(NEIGHBOURS, others)), float(np.mean(covered)))
