"""How stably a variant trains, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.histories import History


@dataclass(frozen=True)
class Stability:
    """Of several trainings of one variant.

    Attributes:
        psnr_spread: standard deviation over the replicates of the mean PSNR, dB; None where there is one only.
        discriminator_variance: of the discriminator's loss over the second half of the steps, mean over trainings.
        vanishing_share: of the steps at which the discriminator's gradient had all but vanished.
    """

    psnr_spread: float | None
    discriminator_variance: float
    vanishing_share: float


def stability(psnr: Sequence[float], histories: Sequence[History]) -> Stability:
    """From each replicate's mean PSNR, and each training's history."""
    return Stability(
        psnr_spread=float(np.std(psnr, ddof=1)) if len(psnr) > 1 else None,
        discriminator_variance=float(np.mean([_late_variance(each["discriminator_loss"]) for each in histories])),
        vanishing_share=float(np.mean([np.nanmean(each["vanishing"]) for each in histories])),
    )


def _late_variance(losses: np.ndarray) -> float:
    return float(np.nanvar(losses[len(losses) // 2 :]))
