"""Parameters of the classification steps."""

from typing import Annotated, Literal

from pydantic import Field

from components.core.params import Section, TrainingSection

Network = Literal["resnet50", "xception"]
TrainingSet = Literal["none", "classic", "egan", "simgan"]


class Ratios(Section):
    """Generated images per real one in the training sets that have some."""

    egan: int = Field(ge=1)
    simgan: int = Field(ge=1)


class ClassifyParams(TrainingSection):
    """Settings of both classifiers; the paper trains them from scratch and publishes none.

    We read: every training set gets the same number of updates, so that only its images make the difference.
    """

    width: float = Field(gt=0, le=1, description="factor on every channel count; 1 is the published network")
    updates: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    translation: float = Field(ge=0, le=0.5, description="largest shift in classic augmentation, in image sides")
    ratios: Ratios


SweepRatios = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class SweepParams(ClassifyParams):
    """The classifiers' settings, and the points of Figure 7 beside the training sets `none`, `classic` and `egan`."""

    sweep_ratios: SweepRatios = Field(description="synthetic images per real one")
