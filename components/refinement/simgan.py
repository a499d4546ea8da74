"""SimGAN: a refiner makes synthetic images look real to a discriminator that judges every location.

Fu et al. 2021 (paper 1), section 2.1, Table 1, eq. 2 and 3, after Shrivastava et al. 2017 (SimGAN).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import SGD

from components.core.errors import UserError
from components.core.training import through
from components.refinement.networks import Discriminator, Refiner

REFINED, REAL = 0, 1
"""The discriminator's two channels."""


class SimGAN:
    """Refiner against discriminator; implements `components.core.training.Algorithm`.

    Every `step` updates one of the two networks: first the refiner `refiner_warmup` times, then the
    discriminator `discriminator_warmup` times (500 and 100 in the paper), then `refiner_updates` (2) refiner
    updates to one of the discriminator. We read: the warm-up minimises all of eq. 3, for a discriminator that is
    "fixed" takes part (the original SimGAN leaves its term out there); the losses are means over images and
    locations ("average loss").

    Args:
        refiner, discriminator: `networks.Refiner` and `networks.Discriminator`, on their device.
        learning_rate_refiner, learning_rate_discriminator: of plain SGD.
        regularisation: λ of eq. 3, on the mean absolute difference per pixel; ≥ 0.
        refiner_warmup, discriminator_warmup, refiner_updates: the schedule above.
        buffer_size: refined images in the history buffer, at least half a batch.
        fixed_images: synthetic images (N, C, H, W) that `samples` shows refined.
    """

    def __init__(
        self,
        refiner: Refiner,
        discriminator: Discriminator,
        *,
        learning_rate_refiner: float,
        learning_rate_discriminator: float,
        regularisation: float,
        refiner_warmup: int,
        discriminator_warmup: int,
        refiner_updates: int,
        buffer_size: int,
        fixed_images: Tensor,
    ) -> None:
        self.refiner = refiner.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.refiner_optimiser = SGD(refiner.parameters(), learning_rate_refiner)
        self.discriminator_optimiser = SGD(discriminator.parameters(), learning_rate_discriminator)
        self.regularisation = regularisation
        self.refiner_warmup = refiner_warmup
        self.discriminator_warmup = discriminator_warmup
        self.refiner_updates = refiner_updates
        self.buffer = HistoryBuffer(buffer_size, fixed_images)
        self.fixed_images = fixed_images
        self.updates = 0

    def step(self, synthetic: Tensor, real: Tensor) -> dict[str, Tensor]:
        """One update on equally many synthetic and real images (N, C, H, W) in [-1, 1].

        The metrics are those of the network that is trained.
        """
        refiner_turn = self.trains_refiner(self.updates)
        self.updates += 1
        self.discriminator.requires_grad_(not refiner_turn)
        return self._train_refiner(synthetic) if refiner_turn else self._train_discriminator(synthetic, real)

    def trains_refiner(self, update: int) -> bool:
        """Whether update number `update`, counted from 0, is the refiner's."""
        if update < self.refiner_warmup:
            return True
        formal = update - self.refiner_warmup - self.discriminator_warmup
        return formal >= 0 and formal % (self.refiner_updates + 1) < self.refiner_updates

    def refine(self, images: Tensor, batch_size: int = 50) -> Tensor:
        """Refined images of the shape and range of `images`, (N, C, H, W) in [-1, 1]."""
        with torch.no_grad():
            return torch.cat([self.refiner(batch) for batch in images.split(batch_size)])

    def samples(self) -> Tensor:
        """`fixed_images`, refined."""
        return self.refine(self.fixed_images)

    def state_dict(self) -> dict[str, Any]:
        return {
            "refiner": self.refiner.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "refiner_optimiser": self.refiner_optimiser.state_dict(),
            "discriminator_optimiser": self.discriminator_optimiser.state_dict(),
            "buffer": self.buffer.state_dict(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.refiner.load_state_dict(state["refiner"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.refiner_optimiser.load_state_dict(state["refiner_optimiser"])
        self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])
        self.buffer.load_state_dict(state["buffer"])
        self.updates = state["updates"]

    def _train_refiner(self, synthetic: Tensor) -> dict[str, Tensor]:
        refined = through(self.refiner, synthetic)
        realism = realism_loss(through(self.discriminator, refined))
        change = F.l1_loss(refined, synthetic)
        loss = realism + self.regularisation * change
        self.refiner_optimiser.zero_grad()
        loss.backward()
        self.refiner_optimiser.step()
        return {"refiner_loss": loss.detach(), "realism_loss": realism.detach(), "change": change.detach()}

    def _train_discriminator(self, synthetic: Tensor, real: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            refined = self.buffer.mix(through(self.refiner, synthetic))
        logits = through(self.discriminator, torch.cat([refined, real]))
        loss = discriminator_loss(*logits.split([len(refined), len(real)]))
        self.discriminator_optimiser.zero_grad()
        loss.backward()
        self.discriminator_optimiser.step()
        return {"discriminator_loss": loss.detach()}


class HistoryBuffer:
    """Refined images of earlier updates, for a discriminator that does not forget what it learned (Figure 5).

    Args:
        size: images it holds.
        like: images (N, C, H, W) of the same shape, type and device.
    """

    def __init__(self, size: int, like: Tensor) -> None:
        self.images = like.new_zeros(size, *like.shape[1:])
        self.filled = 0

    def mix(self, refined: Tensor) -> Tensor:
        """The discriminator's refined mini-batch: half of `refined`, half drawn from the buffer.

        The other half of `refined` takes the place of the images drawn. We read: until the buffer is full it
        stores `refined` as far as there is room, and the mini-batch is `refined` itself.

        Raises:
            UserError: the buffer is smaller than half a mini-batch.
        """
        size, half = len(self.images), len(refined) // 2
        if size < half:
            raise UserError(f"buffer_size must be at least half the batch size, {half}; got {size}")
        if self.filled < size:
            stored = refined[: size - self.filled]
            self.images[self.filled : self.filled + len(stored)] = stored
            self.filled += len(stored)
            return refined
        drawn = torch.randperm(size, device=refined.device)[:half]
        present, rest = refined[half:], refined[:half]
        mixed = torch.cat([present, self.images[drawn]])
        self.images[drawn] = rest
        return mixed

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "filled": self.filled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.images.copy_(state["images"])
        self.filled = state["filled"]


def discriminator_loss(refined: Tensor, real: Tensor) -> Tensor:
    """Eq. 2, −log D(x̃) − log(1 − D(y)), where D is the probability of "refined".

    Args:
        refined, real: the discriminator's logits (N, 2, h, w) of refined and of real images.
    """
    return -(refined.log_softmax(dim=1)[:, REFINED].mean() + real.log_softmax(dim=1)[:, REAL].mean())


def realism_loss(refined: Tensor) -> Tensor:
    """First term of eq. 3, −log(1 − D(x̃)), of the discriminator's logits (N, 2, h, w) of refined images."""
    return -refined.log_softmax(dim=1)[:, REAL].mean()
