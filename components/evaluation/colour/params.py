"""Parameters of the colour pipeline's evaluation."""

from typing import Literal

from pydantic import Field

from components.core.contract import Section

Variant = Literal["pix2pix", "sa", "sa1", "sa2", "hinge_mse", "hinge_bce", "hcegan"]


class EvaluateColourParams(Section):
    """How the report shows what the variants render."""

    shown_images: int = Field(
        ge=2, le=24, description="test images in each comparison sheet: the best, the worst, and some in between"
    )
    shown_size: int = Field(ge=16, le=512, description="side of a picture in the sheets, in pixels, at most")
    windows: int = Field(ge=2, le=1000, description="points of a training curve, each the mean of a part of it")


class RegisterColourParams(Section):
    """Which network goes to the registry; its gate is the mean PSNR of its variant."""

    variant: Variant = Field(description="which of the seven")
