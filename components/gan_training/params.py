"""Settings of the GAN trainings and of synthesizing."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from components.core.contract import ComputeSection, GanSection

Beta = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(ge=1)]

Variant = Literal["pix2pix", "sa", "sa1", "sa2", "hinge_mse", "hinge_bce", "hcegan"]
"""Of paper 3's colour GAN."""


class EganParams(GanSection):
    """Settings of the E-GAN (paper 1, section 2). Widths, rates, γ and α are not published.

    Not the paper's, which judges every generation, saves the last survivor, and flips and shifts the real images alone:
    `judged_every`, `averaging`, and the three of `augmentation.py`. Its own recipe is `judged_every` 1, `averaging` 0,
    `flips` true, and brightness and contrast 0.
    """

    latent_dim: int = Field(ge=1, description="length of the noise vector")
    generator_width: int = Field(ge=1, description="feature channels at half the image's size")
    discriminator_width: int = Field(ge=1, description="feature channels at half the image's size")
    generator_learning_rate: float = Field(gt=0)
    discriminator_learning_rate: float = Field(gt=0)
    betas: tuple[Beta, Beta] = Field(description="Adam's")
    epochs: float = Field(gt=0, description="at most so many passes over all images of the fold's training part")
    generations: int = Field(ge=1, description="at most")
    discriminator_steps: int = Field(ge=1, description="n_D, before every round of mutations")
    gamma: float = Field(ge=0, description="weight of diversity in the fitness")
    alpha: float = Field(gt=0, description="mixup's Beta(α, α)")
    mutations: list[Literal["minimax", "heuristic", "least_squares"]] = Field(min_length=1)
    selection: Literal["fitness", "random"]
    judged_every: int = Field(ge=1, description="generations from one choice among all mutations to the next")
    averaging: float = Field(ge=0, lt=1, description="what a generation leaves of the moving average that is saved")
    flips: bool = Field(description="real images are flipped along both axes")
    translation: float = Field(ge=0, le=0.5, description="the discriminator's: largest shift, as a fraction of a side")
    brightness: float = Field(ge=0, le=1, description="the discriminator's: largest change of the level")
    contrast: float = Field(ge=0, lt=1, description="the discriminator's: largest change of contrast, as a fraction")
    samples: int = Field(ge=1, description="images a sample grid, from fixed noise")


class SynthesizeParams(ComputeSection):
    """How much to synthesize. The paper keeps whatever is drawn: `redraws` 0."""

    ratio: int = Field(ge=1, description="synthetic images per real training image, class by class")
    redraws: int = Field(ge=0, description="how often an image that contradicts its label is drawn again, at most")
    batch_size: int = Field(ge=1)


class PaperTwoParams(GanSection):
    """What the plain GAN and the DCGAN of paper 2 have in common. Widths and β₁ are not published."""

    batch_size: int = Field(ge=2, description="real images a batch; batch normalisation needs two")
    latent_dim: int = Field(ge=1, description="length of the noise vector")
    generator_learning_rate: float = Field(gt=0)
    generator_decay: float = Field(ge=0, description="Keras's: the rate is divided by 1 + decay · updates done")
    discriminator_learning_rate: float = Field(gt=0)
    discriminator_decay: float = Field(ge=0, description="Keras's")
    beta_1: Beta = Field(description="Adam's")
    leak: float = Field(ge=0, lt=1, description="slope of LeakyReLU below 0")
    momentum: Beta = Field(description="of batch normalisation, Keras's: weight of the past")
    iterations: int = Field(ge=1)
    samples: int = Field(ge=1, description="images a sample grid, from fixed noise")


class GanParams(PaperTwoParams):
    """Settings of the plain GAN (paper 2, section III.C and Table 2)."""

    generator_widths: list[Width] = Field(min_length=3, max_length=3, description="units of the hidden layers")
    discriminator_widths: list[Width] = Field(min_length=2, max_length=2, description="units of the hidden layers")


class DcganParams(PaperTwoParams):
    """Settings of the improved DCGAN (paper 2, section III.B and Table 1)."""

    generator_widths: list[Width] = Field(
        min_length=4, max_length=4, description="feature channels of the first grid and of the three groups"
    )
    discriminator_widths: list[Width] = Field(
        min_length=4, max_length=4, description="feature channels of the four groups"
    )
    dropout: float = Field(ge=0, lt=1, description="share of features the discriminator drops")
    discriminator_steps: int = Field(ge=1, description="discriminator updates an iteration, all on one combined batch")


class ColourParams(GanSection):
    """Settings of the colour GAN (paper 3). Batch, β₁, widths, λ and dropout are pix2pix's: the paper is silent."""

    crop: int = Field(ge=32, description="side of the random crops that are trained on, in pixels")
    width: int = Field(ge=1, description="feature channels of the generator's first convolution")
    depth: int = Field(ge=2, description="convolutions, each halving the image, and as many that double it again")
    dropout: float = Field(ge=0, lt=1, description="share of features that the decoder's three innermost layers drop")
    discriminator_width: int = Field(ge=1, description="feature channels of the discriminator's first convolution")
    largest_attention: int = Field(ge=1, description="largest side of a feature map, in pixels, that gets attention")
    learning_rate: float = Field(gt=0, description="of both networks")
    beta_1: Beta = Field(description="Adam's")
    l1_weight: float = Field(ge=0, description="λ, of the distance from the true colours")
    epochs: float = Field(gt=0, description="at most so many passes over the training images")
    updates: int = Field(ge=1, description="at most")
    samples: int = Field(ge=1, description="test images in a sample sheet")

    @model_validator(mode="after")
    def _the_crop_can_be_halved(self) -> "ColourParams":
        if self.crop % 2**self.depth:
            raise PydanticCustomError(
                "crop", "crop must be a multiple of 2 to the power of depth, {multiple}", {"multiple": 2**self.depth}
            )
        return self
