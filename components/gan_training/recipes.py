"""The GANs of papers 2 and 3 as parameters describe them: networks, optimisers and schedules put together.

Liu et al. 2021 (paper 2), sections III.B and III.C, Tables 1 and 2; Li et al. 2023 (paper 3), section 3.3.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from components.core.training import device
from components.gan_training.colour import VARIANTS, ColourGAN
from components.gan_training.gan import GAN
from components.gan_training.keras import adam, rmsprop
from components.gan_training.networks import dcgan, gan, pix2pix
from components.gan_training.params import ColourParams, DcganParams, GanParams, PaperTwoParams, Variant


@dataclass(frozen=True)
class Recipe:
    """A GAN ready to be trained.

    Attributes:
        kind: which of `components.gan_training.networks` it is made of, "gan" or "dcgan".
        generator_config: keyword arguments that rebuild the generator.
    """

    kind: str
    generator_config: dict[str, Any]
    gan: GAN


def plain_gan(params: GanParams, channels: int, size: int) -> Recipe:
    """The plain GAN of images (channels, size, size): Adam for both networks, one update each an iteration."""
    config = {
        "latent_dim": params.latent_dim,
        "channels": channels,
        "size": size,
        "widths": params.generator_widths,
        "leak": params.leak,
        "momentum": params.momentum,
    }
    generator = gan.Generator(**config).to(device())
    discriminator = gan.Discriminator(channels, size, params.discriminator_widths, params.leak).to(device())
    optimiser = adam(generator.parameters(), params.generator_learning_rate, params.beta_1)
    return Recipe("gan", config, _opponents(params, generator, discriminator, optimiser, 1))


def improved_dcgan(params: DcganParams, channels: int, size: int) -> Recipe:
    """The DCGAN of images (channels, size, size): RMSprop for the generator, Adam for the discriminator."""
    config = {
        "latent_dim": params.latent_dim,
        "channels": channels,
        "size": size,
        "widths": params.generator_widths,
        "momentum": params.momentum,
    }
    generator = dcgan.Generator(**config).to(device())
    discriminator = dcgan.Discriminator(
        channels, size, params.discriminator_widths, params.leak, params.dropout, params.momentum
    ).to(device())
    optimiser = rmsprop(generator.parameters(), params.generator_learning_rate)
    return Recipe("dcgan", config, _opponents(params, generator, discriminator, optimiser, params.discriminator_steps))


def colour_gan(params: ColourParams, variant: Variant, updates: int) -> tuple[dict[str, Any], ColourGAN]:
    """One of paper 3's seven variants, and the keyword arguments that rebuild its generator."""
    ingredients = VARIANTS[variant]
    sides = [params.crop // 2**level for level in range(params.depth + 1)]
    config = {
        "width": params.width,
        "depth": params.depth,
        "dropout": params.dropout,
        "attention": ingredients.attention,
        "attention_from": sum(side > params.largest_attention for side in sides),
    }
    gan = ColourGAN(
        pix2pix.Generator(**config).to(device()),
        pix2pix.Discriminator(params.discriminator_width).to(device()),
        ingredients.discriminator_loss,
        learning_rate=params.learning_rate,
        beta_1=params.beta_1,
        l1_weight=params.l1_weight,
        updates=updates,
    )
    return config, gan


def _opponents(
    params: PaperTwoParams,
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimiser: Optimizer,
    discriminator_steps: int,
) -> GAN:
    """What both GANs share: Adam for the discriminator, and rates that decay."""
    return GAN(
        generator,
        discriminator,
        generator_optimiser,
        adam(discriminator.parameters(), params.discriminator_learning_rate, params.beta_1),
        generator_decay=params.generator_decay,
        discriminator_decay=params.discriminator_decay,
        discriminator_steps=discriminator_steps,
        sample_count=params.samples,
    )
