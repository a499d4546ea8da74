"""E-GAN's mutation objectives and mixup, as functions of the discriminator's logits.

Fu et al. 2021 (paper 1), section 2, after Wang et al. 2019 (E-GAN) and Zhang et al. 2018 (mixup).
D(x) is always the probability sigmoid(logit), never the logit itself.
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

    We read: λ is drawn anew for every sample, since one λ a batch makes the discriminator's steps noisy.

    Args:
        real, fake: images of one shape (N, C, H, W).
        alpha: > 0; small values mostly leave one of the two images, 1 mixes uniformly.

    Returns:
        The mixed images (N, C, H, W) and their labels (N,), in [0, 1] with 1 = real.
    """
    concentration = real.new_tensor(alpha)
    labels = torch.distributions.Beta(concentration, concentration).sample((len(real),))
    weights = labels.view(-1, 1, 1, 1)
    return weights * real + (1 - weights) * fake, labels


def mixup_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of logits (N,) against soft labels (N,): what the discriminator minimises."""
    return F.binary_cross_entropy_with_logits(logits, labels)
