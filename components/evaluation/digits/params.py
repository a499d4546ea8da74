"""Parameters of the digits pipeline's evaluation."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from components.core.contract import ComputeSection, Section


class EvaluateDigitsParams(ComputeSection):
    """How much is drawn and compared, and how the report shows it."""

    images: int = Field(ge=10, description="images drawn from each generator; the paper's 10 000")
    parts: int = Field(ge=1, description="parts they are dealt out to; a score is the mean over them")
    batch_size: int = Field(ge=1, description="images a network is given at a time")
    compared_images: int = Field(
        ge=1,
        description="of the images drawn, and at most of the held-out ones, whose nearest training image is sought",
    )
    neighbours: int = Field(ge=1, le=8, description="nearest training images shown under an image")
    shown_images: int = Field(ge=1, le=64, description="images shown with their nearest training images")
    shown_samples: int = Field(ge=1, le=100, description="images of each sample grid shown, at most")
    windows: int = Field(ge=2, le=1000, description="points of a training curve, each the mean of a part of it")

    @model_validator(mode="after")
    def _enough_is_drawn(self) -> "EvaluateDigitsParams":
        for whole, part in (("images", "parts"), ("images", "compared_images"), ("compared_images", "shown_images")):
            least = getattr(self, part)
            if getattr(self, whole) < least:
                context = {"whole": whole, "part": part, "least": least}
                raise PydanticCustomError("enough", "{whole} must be at least {part}, {least}", context)
        return self


class RegisterDigitsParams(Section):
    """Which generator goes to the registry; its gate is the Inception Score of all digits."""

    network: Literal["gan", "dcgan"] = Field(description="which of the two")
