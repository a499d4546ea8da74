"""The colour GAN: pix2pix, HCEGAN, and what stands between them, as one trainer.

Li et al. 2023 (paper 3), section 3, after Isola et al. 2017 (pix2pix).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from components.core.images import to_grey
from components.core.training import Look
from components.gan_training.attention import Initial
from components.gan_training.gan import frozen
from components.gan_training.losses import cross_entropy, heuristic, hinge_cross_entropy, hinge_squares
from components.gan_training.noise import draw_images
from components.gan_training.params import Variant
from components.gan_training.schedule import share_left
from components.gan_training.state import Part, restore, state_of

DiscriminatorLoss = Callable[[Tensor, Tensor], Tensor]

VANISHED = 1e-3
"""A discriminator whose gradient has a smaller norm, over all its weights, learns nothing: it has vanished."""


@dataclass(frozen=True)
class Ingredients:
    """What a variant is made of.

    Attributes:
        attention: initial weights of the generator's self-attention, None for none.
        discriminator_loss: of the logits on real and on rendered images.
    """

    attention: Initial | None
    discriminator_loss: DiscriminatorLoss


VARIANTS: dict[Variant, Ingredients] = {
    "pix2pix": Ingredients(None, cross_entropy),
    "sa": Ingredients("torch", cross_entropy),
    "sa1": Ingredients("normal", cross_entropy),
    "sa2": Ingredients("uniform", cross_entropy),
    "hinge_mse": Ingredients(None, hinge_squares),
    "hinge_bce": Ingredients(None, hinge_cross_entropy),
    "hcegan": Ingredients("normal", hinge_cross_entropy),
}
"""Paper 3's Tables 1 to 3: pix2pix, +SA, +SA′, +SA″, +Hinge+MSE, +Hinge+BCE, SA′+Hinge+BCE."""


class ColourGAN:
    """A generator that colours grey images against a discriminator; a `components.core.training.Algorithm`.

    Args:
        generator: grey images (N, 1, H, W) → colour images (N, 3, H, W), all in [-1, 1].
        discriminator: grey and colour images → logits, of any shape.
        discriminator_loss: of the logits on real and on rendered images. The generator's is pix2pix's always.
        learning_rate, beta_1: Adam's, for both networks.
        l1_weight: λ, of the mean distance between the rendered colours and the true ones.
        updates: length of the training. We read: over its second half the rates fall linearly to 0, as pix2pix's do.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        discriminator_loss: DiscriminatorLoss,
        *,
        learning_rate: float,
        beta_1: float,
        l1_weight: float,
        updates: int,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimiser = Adam(generator.parameters(), learning_rate, (beta_1, 0.999), fused=True)
        self.discriminator_optimiser = Adam(discriminator.parameters(), learning_rate, (beta_1, 0.999), fused=True)
        self.generator_schedule = _falling(self.generator_optimiser, updates)
        self.discriminator_schedule = _falling(self.discriminator_optimiser, updates)
        self.discriminator_loss = discriminator_loss
        self.l1_weight = l1_weight
        self.look: Look | None = None
        self.optimisers = {"generator": self.generator_optimiser, "discriminator": self.discriminator_optimiser}

    def step(self, colour: Tensor) -> dict[str, Tensor]:
        """One update of the discriminator, then one of the generator, on images (N, 3, H, W) in [-1, 1]."""
        grey = to_grey(colour)
        rendered = self.generator(grey)
        metrics = self._train_discriminator(grey, colour, rendered.detach())
        return metrics | self._train_generator(grey, colour, rendered)

    def render(self, grey: Tensor) -> Tensor:
        """Grey images (N, 1, H, W) in colour, as the generator will be used: without dropout, without gradients."""
        return draw_images(self.generator, grey)

    def state_dict(self) -> dict[str, Any]:
        return state_of(self._parts())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        restore(self._parts(), state)

    def _parts(self) -> dict[str, Part]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_optimiser": self.generator_optimiser,
            "discriminator_optimiser": self.discriminator_optimiser,
            "generator_schedule": self.generator_schedule,
            "discriminator_schedule": self.discriminator_schedule,
        }

    def _train_discriminator(self, grey: Tensor, colour: Tensor, rendered: Tensor) -> dict[str, Tensor]:
        """Of the metrics, `vanishing` is 1 where the gradient's norm is below `VANISHED`."""
        # Two passes of half the size keep more of a feature map in the processor's cache than one of all images.
        real_logits = self.discriminator(grey, colour).to(colour.dtype)
        fake_logits = self.discriminator(grey, rendered).to(colour.dtype)
        loss = self.discriminator_loss(real_logits, fake_logits)
        self.discriminator_optimiser.zero_grad()
        loss.backward()
        self.discriminator_optimiser.step()
        self.discriminator_schedule.step()
        self.look = Look(colour, rendered.to(colour.dtype), real_logits.detach(), fake_logits.detach(), grey)
        slope = nn.utils.get_total_norm([weight.grad for weight in self.discriminator.parameters()])
        return {
            "discriminator_loss": loss.detach(),
            "discriminator_gradient": slope,
            "vanishing": (slope < VANISHED).float(),
        }

    def _train_generator(self, grey: Tensor, colour: Tensor, rendered: Tensor) -> dict[str, Tensor]:
        """BCE for "real" + λ · L1; the discriminator gets no gradients."""
        with frozen(self.discriminator):
            adversarial = heuristic(self.discriminator(grey, rendered).to(colour.dtype))
            distance = F.l1_loss(rendered.to(colour.dtype), colour)
            self.generator_optimiser.zero_grad()
            (adversarial + self.l1_weight * distance).backward()
        self.generator_optimiser.step()
        self.generator_schedule.step()
        return {"generator_loss": adversarial.detach(), "l1_loss": distance.detach()}


def _falling(optimiser: Adam, updates: int) -> LambdaLR:
    return LambdaLR(optimiser, lambda done: share_left(done, updates))
