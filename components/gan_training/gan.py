"""A GAN after Goodfellow et al. 2014, as paper 2 trains its plain GAN and its DCGAN.

Liu et al. 2021 (paper 2), sections III.B and III.C.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from components.core.training import Look, through
from components.gan_training.keras import decayed
from components.gan_training.noise import draw_images, draw_noise
from components.gan_training.state import Part, restore, state_of


class GAN:
    """Generator against discriminator; implements `components.core.training.Algorithm`.

    Args:
        generator: noise (N, generator.latent_dim) → images (N, C, H, W) in [-1, 1].
        discriminator: images → logits (N,).
        generator_optimiser, discriminator_optimiser: of these networks' weights.
        generator_decay, discriminator_decay: of their rates, in Keras's sense.
        discriminator_steps: discriminator updates an iteration, all on one combined batch of real and generated
            images, which the paper calls "the combined data" (5 for the DCGAN, 1 for the plain GAN).
        sample_count: images that `samples` draws, from noise fixed here.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimiser: Optimizer,
        discriminator_optimiser: Optimizer,
        *,
        generator_decay: float,
        discriminator_decay: float,
        discriminator_steps: int,
        sample_count: int,
    ) -> None:
        self.generator = generator.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.generator_optimiser = generator_optimiser
        self.discriminator_optimiser = discriminator_optimiser
        self.generator_schedule = decayed(generator_optimiser, generator_decay)
        self.discriminator_schedule = decayed(discriminator_optimiser, discriminator_decay)
        self.discriminator_steps = discriminator_steps
        self.fixed_noise = draw_noise(self.generator, sample_count)
        self.look: Look | None = None
        self.optimisers = {"generator": generator_optimiser, "discriminator": discriminator_optimiser}

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """One iteration on real images (N, C, H, W) in [-1, 1]; metrics are detached scalars.

        We read: the generator's update has noise of its own, and images are always generated with the statistics
        of their batch. `discriminator_loss` and the look are of the first of the discriminator's updates,
        before it has learnt from this batch.
        """
        with torch.no_grad():
            fake = through(self.generator, draw_noise(self.generator, len(real)))
        images = torch.cat([real, fake])
        losses, logits = zip(*(self._train_discriminator(images) for _ in range(self.discriminator_steps)), strict=True)
        generator_loss = self._train_generator(len(real))
        self.look = Look(real, fake, *logits[0].chunk(2))
        return {"discriminator_loss": losses[0], "generator_loss": generator_loss}

    def samples(self) -> Tensor:
        """Images (sample_count, C, H, W) in [-1, 1], always from the same noise."""
        return draw_images(self.generator, self.fixed_noise)

    def state_dict(self) -> dict[str, Any]:
        return state_of(self._parts()) | {"fixed_noise": self.fixed_noise}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self._parts(), state)
        self.fixed_noise.copy_(state["fixed_noise"])

    def _parts(self) -> dict[str, Part]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
            "generator_schedule": self.generator_schedule,
            "discriminator_schedule": self.discriminator_schedule,
        }

    def _train_discriminator(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """One update on real images and as many generated ones behind them; the loss and the logits before it."""
        logits = through(self.discriminator, images)
        loss = discriminator_loss(*logits.chunk(2))
        self.discriminator_optimiser.zero_grad()
        loss.backward()
        self.discriminator_optimiser.step()
        self.discriminator_schedule.step()
        return loss.detach(), logits.detach()

    def _train_generator(self, count: int) -> Tensor:
        """One update on fresh noise; the loss before it."""
        with frozen(self.discriminator):
            images = through(self.generator, draw_noise(self.generator, count))
            loss = generator_loss(through(self.discriminator, images))
            self.generator_optimiser.zero_grad()
            loss.backward()
        self.generator_optimiser.step()
        self.generator_schedule.step()
        return loss.detach()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−½ (E log D(x) + E log(1 − D(G(z)))): eq. 2, as Keras's mean over the combined batch."""
    return (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()) / 2


def generator_loss(fake_logits: Tensor) -> Tensor:
    """−E log D(G(z)), which does not saturate where the discriminator wins."""
    return F.softplus(-fake_logits).mean()


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Freeze a network in training as Keras does (`trainable = False`) while the context lasts.

    Its weights get no gradients, and its batch normalisation uses the moving statistics and leaves them alone;
    its dropout stays active. A batch of generated images alone is thus judged as it would be among real ones.
    """
    normalisations = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    network.requires_grad_(False)
    for module in normalisations:
        module.eval()
    try:
        yield
    finally:
        network.requires_grad_(True)
        for module in normalisations:
            module.train()
