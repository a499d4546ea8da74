"""Early signs that an adversarial training fails: a generator without diversity, a discriminator that wins outright."""

from collections import deque
from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor

from components.core.errors import UserError

DIVERSITY, MARGIN = "diversity_ratio", "discriminator_margin"
"""Names of the metrics that are watched."""

WINDOW = 200
"""Steps over which a sign is averaged before it is believed: one bad batch is none."""

LEAST_DIVERSITY = 0.25
GREATEST_MARGIN = 0.98


class Collapse(UserError):
    """A GAN's training went wrong in a way that it does not come back from by itself."""


def vital_signs(real: Tensor, fake: Tensor, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    """The two metrics by which a `CollapseWatch` judges a training; detached scalars.

    `diversity_ratio` is the generated batch's standard deviation, averaged over the pixels, over the real batch's:
    near 1 for a good generator, 0 for one that draws a single image. `discriminator_margin` is the mean probability
    of "real" that the discriminator gives real images less that it gives generated ones: 0 where it cannot tell
    them apart, 1 where it is sure of every image, and then the generator learns nothing.

    Args:
        real, fake: (N, C, H, W).
        real_logits, fake_logits: (N,), the discriminator's.
    """
    with torch.no_grad():
        spread = fake.std(dim=0, correction=0).mean() / real.std(dim=0, correction=0).mean().clamp_min(1e-6)
    return {DIVERSITY: spread, MARGIN: discriminator_margin(real_logits, fake_logits)}


def discriminator_margin(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean probability of "real" on real images less that on generated ones, of logits of any shape; detached."""
    return real_logits.detach().sigmoid().mean() - fake_logits.detach().sigmoid().mean()


class CollapseWatch:
    """Looks at a training's metrics step by step."""

    def __init__(self) -> None:
        self._recent = {sign: deque(maxlen=WINDOW) for sign in (DIVERSITY, MARGIN)}

    def diagnose(self, metrics: Mapping[str, float]) -> str:
        """What is wrong after one more step, over the last `WINDOW` of them; "" while nothing is."""
        means = {}
        for sign, values in self._recent.items():
            if sign in metrics:
                values.append(metrics[sign])
            means[sign] = fmean(values) if len(values) == WINDOW else None
        if means[DIVERSITY] is not None and means[DIVERSITY] < LEAST_DIVERSITY:
            return f"the generator has lost its diversity ({means[DIVERSITY]:.0%} of the real images')"
        if means[MARGIN] is not None and means[MARGIN] > GREATEST_MARGIN:
            return "the discriminator wins outright (the generator can learn nothing from it)"
        return ""
