"""What Li et al. 2023 (paper 3) report, and where the pipeline had to read between its lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.evaluation.colour.params import Variant
from components.evaluation.colour.scores import Metric

NAMES: dict[Variant, str] = {
    "pix2pix": "pix2pix",
    "sa": "+SA",
    "sa1": "+SA′",
    "sa2": "+SA″",
    "hinge_mse": "+Hinge+MSE",
    "hinge_bce": "+Hinge+BCE",
    "hcegan": "HCEGAN (SA′+Hinge+BCE)",
}

SHORT_NAMES: dict[Variant, str] = {**NAMES, "hinge_mse": "+H+MSE", "hinge_bce": "+H+BCE", "hcegan": "HCEGAN"}
"""What fits under a column."""

DIV2K = "DIV2K"

CATEGORIES = ("fish", "ladybug", "orange", "lion", "dog", "bird")
"""The paper's second data set, folder by folder."""


@dataclass(frozen=True)
class Comparison:
    """One variant held against another.

    Attributes:
        table: of the paper.
        gains: what the paper reports, by metric and its data set; PSNR in dB, SSIM as a difference.
    """

    table: int
    variant: Variant
    over: Variant
    gains: Mapping[Metric, Mapping[str, float]] = field(default_factory=dict)

    def published(self, metric: Metric, dataset: str) -> float | None:
        """The paper's gain on a data set of ours: on the same category, or else on DIV2K's mixed photographs."""
        return self.gains.get(metric, {}).get(dataset if dataset in CATEGORIES else DIV2K)


def _gains(*values: float, unit: float = 1) -> dict[str, float]:
    return {name: round(value * unit, 6) for name, value in zip((DIV2K, *CATEGORIES), values, strict=False)}


COMPARISONS = (
    Comparison(1, "sa", "pix2pix", {"psnr": _gains(1.2), "ssim": _gains(0.35, unit=0.01)}),
    Comparison(2, "hinge_mse", "pix2pix"),
    Comparison(2, "hinge_bce", "pix2pix"),
    Comparison(
        2,
        "hinge_bce",
        "hinge_mse",
        {
            "psnr": _gains(1.61, 0.51, 0.64, 0.33, 0.69, 0.56, 0.24),
            "ssim": _gains(1.57, 2.24, 2.74, 2.04, 2.00, 3.7, 1.63, unit=0.01),
        },
    ),
    Comparison(3, "sa1", "sa"),
    Comparison(3, "sa2", "sa"),
    Comparison(
        3,
        "hcegan",
        "pix2pix",
        {
            "psnr": _gains(1.76, 0.41, 0.67, 0.27, 0.64, 0.44, 0.29),
            "ssim": _gains(1.82, 2.11, 2.47, 2.18, 1.54, 3.73, 0.43, unit=0.01),
        },
    ),
)
"""Tables 1 to 3, as far as the paper's text states the gains."""

TABLES = {1: "Self-attention", 2: "The discriminator’s loss", 3: "Its initial weights, and both together"}

READINGS = (
    "The paper gives gains in SSIM in per cent. We read: hundredths of SSIM, which lies between 0 and 1.",
    "The paper’s text does not say clearly what the gains of Table 2 are over. We read: Hinge+BCE over Hinge+MSE.",
    "Grey is the luma of ITU-R BT.601. The paper does not name the grey value it renders from.",
    "PSNR and SSIM are taken over all three channels of pictures in 256 levels. The paper does not say whether a mean "
    "is over pixels or over pictures. We read: over pictures.",
    "The paper shows stability by pictures only. Its three numbers here are ours.",
    "The paper gives no deviation. Ours is the sample standard deviation (n − 1 in the denominator).",
)
