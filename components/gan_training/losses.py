"""E-GAN's mutation objectives and mixup, and HCEGAN's discriminator losses, as functions of the discriminator's logits.

Fu et al. 2021 (paper 1), section 2, after Wang et al. 2019 (E-GAN) and Zhang et al. 2018 (mixup); Li et al. 2023
(paper 3), section 3.1. D(x) is always the probability sigmoid(logit), never the logit itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def minimax(logits: Tensor) -> Tensor:
    """E log(1 − D(G(z))) of logits (N,): the probability that the discriminator is right is lowered."""
    return -F.softplus(logits).mean()


def heuristic(logits: Tensor) -> Tensor:
    """−E log D(G(z)) of logits (N,): the probability that the discriminator is wrong is raised."""
    return F.softplus(-logits).mean()


def least_squares(logits: Tensor) -> Tensor:
    """E (D(G(z)) − 1)² of logits (N,), on the sigmoid's output as in the original E-GAN."""
    return torch.sigmoid(-logits).square().mean()  # 1 − σ(l) = σ(−l), which does not cancel near D = 1


MUTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": minimax,
    "heuristic": heuristic,
    "least_squares": least_squares,
}


def mixup(real: Tensor, fake: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """λ·real + (1 − λ)·fake and the soft labels λ ~ Beta(alpha, alpha).

    We read: λ is drawn anew for every pair, and each pair is mixed twice, with λ and with 1 − λ (Beta is symmetric):
    a batch then shows as much of the real images as of the generated ones, and the discriminator's steps are steady.

    Args:
        real, fake: images of one shape (N, C, H, W).
        alpha: > 0; small values mostly leave one of the two images, 1 mixes uniformly.

    Returns:
        The mixed images (2N, C, H, W) and their labels (2N,), in [0, 1] with 1 = real.
    """
    concentration = real.new_tensor(alpha)
    labels = torch.distributions.Beta(concentration, concentration).sample((len(real),))
    weights = labels.view(-1, 1, 1, 1)
    mixed = torch.cat([torch.lerp(fake, real, weights), torch.lerp(real, fake, weights)])
    return mixed, torch.cat([labels, 1 - labels])


def mixup_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits (N,) against soft labels (N,): what the discriminator minimises."""
    return F.binary_cross_entropy_with_logits(logits, labels)


def cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−E log D(x) − E log(1 − D(G(x))): pix2pix's."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def hinge_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E max(0, 1 − d_r)² + E max(0, 1 + d_f)²: paper 3's hinge + MSE."""
    return F.relu(1 - real_logits).square().mean() + F.relu(1 + fake_logits).square().mean()


def hinge_cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E softplus(max(0, 1 − d_r)) + E softplus(max(0, 1 + d_f)): paper 3's hinge + BCE.

    Past the margin a term is log 2 and its gradient exactly zero; inside, the cross-entropy decides.
    """
    return F.softplus(F.relu(1 - real_logits)).mean() + F.softplus(F.relu(1 + fake_logits)).mean()
