"""Distances between two sets of images in a concept network's features: Fréchet's and the kernel distance.

Neither is in the paper. They see what the Inception Score cannot: whether generated images are like the real ones,
within a concept too. Both compute in float64 on the CPU.
"""

import torch
from torch import Tensor

from components.evaluation.quality.kernel import cubic_kernel
from components.evaluation.summary import Summary, summarise


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017): 0 for equal ones.

    ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½). The trace of the last root is the sum of its eigenvalues; the
    product is symmetric, so these are real, and what rounding made negative counts as 0: singular covariances, of
    dead features or of fewer images than features, do no harm. Few images make it larger.

    Args:
        real, fake: (N, F) and (M, F); at least two images each.
    """
    real, fake = real.double(), fake.double()
    shift = real.mean(dim=0) - fake.mean(dim=0)
    real_covariance, fake_covariance = _covariance(real), _covariance(fake)
    root = _root(real_covariance)
    eigenvalues = torch.linalg.eigvalsh(root @ fake_covariance @ root).clamp_min(0)
    overlap = eigenvalues.sqrt().sum()
    distance = shift @ shift + real_covariance.trace() + fake_covariance.trace() - 2 * overlap
    return max(0.0, distance.item())


def kernel_distance(real: Tensor, fake: Tensor, parts: int) -> Summary:
    """Unbiased squared maximum mean discrepancy, kernel (x·y / F + 1)³ (Bińkowski et al. 2018), over parts.

    Around 0 for sets from one distribution, below it as often as above. The images are dealt out to the parts in turn;
    where there are too few for two of each set in every part, there are fewer parts.

    Args:
        real, fake: (N, F) and (M, F); at least two images each.
        parts: at most.
    """
    real, fake = real.double(), fake.double()
    parts = min(parts, len(real) // 2, len(fake) // 2)
    return summarise(_discrepancy(real[first::parts], fake[first::parts]) for first in range(parts))


def _discrepancy(real: Tensor, fake: Tensor) -> float:
    return (_mean_of_pairs(real) + _mean_of_pairs(fake) - 2 * cubic_kernel(real, fake).mean()).item()


def _mean_of_pairs(features: Tensor) -> Tensor:
    """Mean of the kernel over all pairs of different images."""
    kernel = cubic_kernel(features, features)
    return (kernel.sum() - kernel.trace()) / (len(features) * (len(features) - 1))


def _covariance(features: Tensor) -> Tensor:
    """The sample covariance, (F, F)."""
    centred = features - features.mean(dim=0)
    return centred.T @ centred / (len(features) - 1)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T
