"""Parameters of the classification steps."""

from typing import Annotated, Literal

from pydantic import Field

from components.core.contract import ComputeSection, Section, TrainingSection

Network = Literal["resnet50", "xception"]
TrainingSet = Literal["none", "classic", "egan", "simgan", "oracle", "repeat"]
Concepts = Literal["digits", "styles"]
Images = Literal["synthetic", "refined"]
"""Generated images: E-GAN's, or the same refined by SimGAN."""

SETS_OF: dict[Images, TrainingSet] = {"synthetic": "egan", "refined": "simgan"}
"""The training set that has them."""


class Ratios(Section):
    """Generated images per real one in the training sets that have some."""

    egan: int = Field(ge=1)
    simgan: int = Field(ge=1, description="that of the controls `oracle` and `repeat`, too")

    def of(self, training_set: TrainingSet) -> int:
        """The ratio of a training set; 0 where nothing joins the real images."""
        return {"none": 0, "classic": 0, "egan": self.egan}.get(training_set, self.simgan)


class Augmentation(Section):
    """Conventional augmentation, on the fly: horizontal and vertical flips always, and these.

    Paper 1 has flips and shifts of 0.02, and no rotation.
    """

    rotation: float = Field(ge=0, le=180, description="largest angle to either side, in degrees")
    shift: float = Field(ge=0, le=0.5, description="largest one along either axis, in image sides")


class ClassifierSection(TrainingSection):
    """How any classifier is trained."""

    updates: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="at the start; it falls to 0 along a cosine")
    weight_decay: float = Field(ge=0)


class ClassifyParams(ClassifierSection):
    """Settings of both classifiers; paper 1 trains them from scratch and publishes none.

    We read: every training set gets the same number of updates, so that only its images make the difference.
    `batch_size` counts real images; where there are generated ones, as many of them join each batch.
    """

    width: float = Field(gt=0, le=1, description="factor on every channel count; 1 is the published network")
    augmentation: Augmentation
    ratios: Ratios


class ConceptParams(ClassifierSection):
    """Settings of the concept networks; paper 2 publishes none."""

    width: int = Field(ge=1, description="feature channels at the image's size")


class StylesParams(ComputeSection):
    """The writing styles of one digit."""

    styles: int = Field(ge=2, description="n: clusters, and concepts of the network that tells them apart")


SweepRatios = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class SweepParams(ClassifyParams):
    """The classifiers' settings, and the points of Figure 7 beside the training sets that lie on its curves anyway."""

    sweep_ratios: SweepRatios = Field(description="generated images per real one")
