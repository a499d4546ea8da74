"""SimGAN: a refiner makes synthetic images look real to a discriminator that judges every location.

Fu et al. 2021 (paper 1), section 2.1, Table 1, eq. 2 and 3, after Shrivastava et al. 2017 (SimGAN).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from components.core.errors import UserError
from components.core.training import Look, through
from components.refinement.networks import Discriminator, Refiner

REFINED, REAL = 0, 1
"""The discriminator's two channels."""

LONGEST_GRADIENT = 1.0
"""Norm, over all of a network's weights. No update is longer than the learning rate then, whatever a discriminator that
is sure of itself asks for."""


class SimGAN:
    """Refiner against discriminator; implements `components.core.training.Algorithm`.

    Every `step` updates one of the two networks: first the discriminator `discriminator_warmup` times (100 in the
    paper), then `refiner_updates` (2) refiner updates to one of the discriminator. We read: the paper's 500 refiner
    updates before that minimise self-regularisation alone, as in the original SimGAN, since a discriminator that has
    learnt nothing can only mislead it; what they end at is the identity, and there ours begins, so that nothing is
    left to do. The losses are means over images and locations ("average loss"). Gradients longer than
    `LONGEST_GRADIENT` are shortened to it.

    Args:
        refiner, discriminator: `networks.Refiner` and `networks.Discriminator`, on their device.
        learning_rate_refiner, learning_rate_discriminator: of plain SGD.
        regularisation: λ of eq. 3, on the mean absolute difference per pixel; ≥ 0.
        discriminator_warmup, refiner_updates: the schedule above.
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
        self.discriminator_warmup = discriminator_warmup
        self.refiner_updates = refiner_updates
        self.buffer = HistoryBuffer(buffer_size, fixed_images)
        self.fixed_images = fixed_images
        self.updates = 0
        self.look: Look | None = None
        self.optimisers = {"generator": self.refiner_optimiser, "discriminator": self.discriminator_optimiser}

    def step(self, synthetic: Tensor, real: Tensor) -> dict[str, Tensor]:
        """One update on equally many synthetic and real images (N, C, H, W) in [-1, 1].

        The metrics are those of the network that is trained.
        """
        refiner_turn = self.trains_refiner(self.updates)
        self.updates += 1
        self.discriminator.requires_grad_(not refiner_turn)
        return self._train_refiner(synthetic, real) if refiner_turn else self._train_discriminator(synthetic, real)

    def trains_refiner(self, update: int) -> bool:
        """Whether update number `update`, counted from 0, is the refiner's."""
        formal = update - self.discriminator_warmup
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

    def _train_refiner(self, synthetic: Tensor, real: Tensor) -> dict[str, Tensor]:
        refined = through(self.refiner, synthetic)
        realism = realism_loss(through(self.discriminator, refined))
        change = F.l1_loss(refined, synthetic)
        loss = realism + self.regularisation * change
        self._descend(self.refiner, self.refiner_optimiser, loss)
        self.look = Look(real, refined.detach(), given=synthetic)
        return {"refiner_loss": loss.detach(), "realism_loss": realism.detach(), "change": change.detach()}

    def _train_discriminator(self, synthetic: Tensor, real: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            present = through(self.refiner, synthetic)
        refined = self.buffer.mix(present)
        logits = through(self.discriminator, torch.cat([refined, real]))
        refined_logits, real_logits = logits.split([len(refined), len(real)])
        loss = discriminator_loss(refined_logits, real_logits)
        self._descend(self.discriminator, self.discriminator_optimiser, loss)
        self.look = Look(real, present, realness(real_logits), realness(refined_logits), given=synthetic)
        return {"discriminator_loss": loss.detach()}

    def _descend(self, network: nn.Module, optimiser: SGD, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), LONGEST_GRADIENT)
        optimiser.step()


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


def realness(logits: Tensor) -> Tensor:
    """Logits (N, h, w) of "real", detached, of the discriminator's (N, 2, h, w): what softmax makes of two channels."""
    return (logits[:, REAL] - logits[:, REFINED]).detach()
