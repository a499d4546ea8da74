"""E-GAN with mixup: one generation at a time, the fittest of the mutated generators survives.

Fu et al. 2021 (paper 1), section 2 and Figure 1; fitness after Wang et al. 2019.
"""

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import get_total_norm
from torch.optim import Adam

from components.core.training import Look, through
from components.gan_training.losses import MUTATIONS, mixup, mixup_loss
from components.gan_training.noise import draw_images, draw_noise
from components.gan_training.schedule import share_left


class EGAN:
    """Evolutionary GAN; implements `components.core.training.Algorithm`.

    Three children start from one parent and share its noise, so they share its images and the discriminator's
    look at them; and because the discriminator couples no samples, the gradient of each objective at an image
    is that objective's slope at the image's logit times the same ∂D/∂x. One pass forward through both networks
    and one back through the discriminator therefore serve all mutations; only the generator's backward pass
    runs once a mutation. `tests/benchmarks/egan.py` holds the textbook version and compares.

    Args:
        generator: noise (N, generator.latent_dim) → images (N, C, H, W) in [-1, 1]. It is the parent, and
            after every `step` the survivor: the network to save.
        discriminator: images → logits (N,); must couple no samples (no batch normalisation).
        learning_rate_generator, learning_rate_discriminator, betas: Adam's.
        gamma: weight of diversity in the fitness, ≥ 0.
        alpha: of mixup's Beta(alpha, alpha), > 0.
        discriminator_steps: n_D, discriminator steps a generation. We read: all on the generation's real
            images, each with fresh noise and fresh λ.
        mutations: names out of `losses.MUTATIONS`, one child each.
        selection: "fitness" keeps the fittest child, "random" any one (the baseline that tells what selection
            is worth).
        generations: length of the training. We read: over its second half all rates fall linearly to 0, as at
            constant rates the last generation may be a bad one.
        sample_count: images that `samples` draws, from noise fixed here.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        learning_rate_generator: float,
        learning_rate_discriminator: float,
        betas: tuple[float, float],
        gamma: float,
        alpha: float,
        discriminator_steps: int,
        mutations: Sequence[str],
        selection: Literal["fitness", "random"],
        generations: int,
        sample_count: int,
    ) -> None:
        self.generator = generator.to(memory_format=torch.channels_last)
        self.discriminator = discriminator.to(memory_format=torch.channels_last)
        self.gamma = gamma
        self.alpha = alpha
        self.discriminator_steps = discriminator_steps
        self.mutations = tuple(mutations)
        self.selection = selection
        self.discriminator_weights = list(discriminator.parameters())
        self.discriminator_optimiser = Adam(self.discriminator_weights, learning_rate_discriminator, betas, fused=True)
        networks = [self.generator, *(copy.deepcopy(self.generator) for _ in self.mutations[1:])]
        self.children = [_Individual(network, learning_rate_generator, betas) for network in networks]
        self.parent = self.children[0]  # the first child is bred in the parent's place
        self.fixed_noise = draw_noise(self.generator, sample_count)
        self.generations = generations
        self.generation = 0
        self.look: Look | None = None
        self.optimisers = {"generator": self.parent.optimiser, "discriminator": self.discriminator_optimiser}
        self.learning_rates = [(self.discriminator_optimiser, learning_rate_discriminator)]
        self.learning_rates += [(child.optimiser, learning_rate_generator) for child in self.children]

    def step(self, real: Tensor) -> dict[str, Tensor]:
        """One generation on real images (N, C, H, W) in [-1, 1]; metrics are detached scalars.

        `survivor` is the index of the surviving mutation in `mutations`; `fitness`, `quality`, `diversity`
        and the look are the survivor's, `fitness_<mutation>` each child's.
        """
        self._anneal()
        for _ in range(self.discriminator_steps):
            discriminator_loss = self._train_discriminator(real)
        self.discriminator.eval()  # judge with fixed spectral norms: no power iteration while judging
        self._mutate(len(real))
        quality, diversity, looks = self._judge(real)
        self.discriminator.train()
        fitness = quality + self.gamma * diversity
        survivor = self._select(fitness)
        chosen = int(survivor)  # the one wait for the device in a generation
        self._survive(chosen)
        self.look = Look(real, *looks[chosen])
        return {
            "discriminator_loss": discriminator_loss,
            "fitness": fitness[survivor],
            "quality": quality[survivor],
            "diversity": diversity[survivor],
            "survivor": survivor,
            **{f"fitness_{name}": value for name, value in zip(self.mutations, fitness, strict=True)},
        }

    def samples(self) -> Tensor:
        """Images (sample_count, C, H, W) in [-1, 1] of the survivor, always from the same noise."""
        return draw_images(self.generator, self.fixed_noise)

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimiser": self.parent.optimiser.state_dict(),
            "discriminator_optimiser": self.discriminator_optimiser.state_dict(),
            "fixed_noise": self.fixed_noise,
            "generation": self.generation,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.parent.optimiser.load_state_dict(state["generator_optimiser"])
        self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])
        self.fixed_noise.copy_(state["fixed_noise"])
        self.generation = state["generation"]

    def _anneal(self) -> None:
        """Set the learning rates of the generation that begins."""
        share = share_left(self.generation, self.generations)
        for optimiser, rate in self.learning_rates:
            for group in optimiser.param_groups:
                group["lr"] = rate * share
        self.generation += 1

    def _train_discriminator(self, real: Tensor) -> Tensor:
        with torch.no_grad():
            fake = through(self.generator, draw_noise(self.generator, len(real)))
        images, labels = mixup(real, fake, self.alpha)
        loss = mixup_loss(through(self.discriminator, images), labels)
        self.discriminator_optimiser.zero_grad()
        loss.backward()
        self.discriminator_optimiser.step()
        return loss.detach()

    def _mutate(self, count: int) -> None:
        """Each child takes one optimiser step from the parent under its own objective."""
        images = through(self.generator, draw_noise(self.generator, count))
        logits, sensitivity = self._look_at(images.detach())
        gradients = []
        for name in self.mutations:
            slope = _slope(name, logits).view(-1, 1, 1, 1)
            gradients.append(torch.autograd.grad(images, self.parent.weights, slope * sensitivity, retain_graph=True))
        for child in self.children[1:]:
            child.copy_from(self.parent)
        for child, gradient in zip(self.children, gradients, strict=True):
            child.descend(gradient)

    def _look_at(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The discriminator's logits (N,) and their derivatives at the images (N, C, H, W)."""
        images.requires_grad_()
        logits = through(self.discriminator, images)
        (sensitivity,) = torch.autograd.grad(logits.sum(), images)
        return logits.detach(), sensitivity

    def _judge(self, real: Tensor) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
        """F_q and F_d of every child, (children,) each, all on the same fresh noise.

        Then, of every child, its images (N, C, H, W), the logits (N,) of the real images and those of its images.
        """
        noise = draw_noise(self.generator, len(real))
        real_logits = through(self.discriminator, real)
        real_gradient = self._discriminator_gradient(F.softplus(-real_logits).mean())
        qualities, diversities, looks = [], [], []
        for child in self.children:
            with torch.no_grad():
                fake = through(child.generator, noise)
            logits = through(self.discriminator, fake)
            fake_gradient = self._discriminator_gradient(F.softplus(logits).mean())
            qualities.append(quality(logits.detach()))
            diversities.append(diversity(torch._foreach_add(real_gradient, fake_gradient)))
            looks.append((fake, real_logits.detach(), logits.detach()))
        return torch.stack(qualities), torch.stack(diversities), looks

    def _discriminator_gradient(self, loss: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss, self.discriminator_weights)

    def _select(self, fitness: Tensor) -> Tensor:
        if self.selection == "random":
            return torch.randint(len(fitness), (), device=fitness.device)
        return fitness.argmax()

    def _survive(self, survivor: int) -> None:
        if survivor != 0:
            self.parent.copy_from(self.children[survivor])


def quality(logits: Tensor) -> Tensor:
    """F_q = E D(G(z)) of the generated images' logits (N,)."""
    return torch.sigmoid(logits).mean()


def diversity(gradients: Sequence[Tensor]) -> Tensor:
    """F_d = −log ‖∇_D[−E log D(x) − E log(1 − D(G(z)))]‖, the norm over all the discriminator's weights."""
    return -get_total_norm(gradients).log()


def _slope(mutation: str, logits: Tensor) -> Tensor:
    """Derivative (N,) of a mutation's objective with respect to each logit."""
    logits = logits.detach().requires_grad_()
    return torch.autograd.grad(MUTATIONS[mutation](logits), logits)[0]


class _Individual:
    """A generator and its optimiser: together what a mutation changes and a survivor hands on."""

    def __init__(self, generator: nn.Module, learning_rate: float, betas: tuple[float, float]) -> None:
        self.generator = generator
        self.weights = list(generator.parameters())
        self.optimiser = Adam(self.weights, learning_rate, betas, fused=True)
        self._create_moments()

    def descend(self, gradients: Sequence[Tensor]) -> None:
        """One optimiser step along the gradients of the weights."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.optimiser.step()
        self.optimiser.zero_grad()

    def copy_from(self, other: "_Individual") -> None:
        """Take over another's weights, buffers and moments, in place."""
        with torch.no_grad():
            torch._foreach_copy_(self._tensors(), other._tensors())

    def _tensors(self) -> list[Tensor]:
        moments = [tensor for weight in self.weights for tensor in self.optimiser.state[weight].values()]
        return [*self.weights, *self.generator.buffers(), *moments]

    def _create_moments(self) -> None:
        """Adam creates its moments in its first step; a step of no length makes them exist from the start."""
        self.descend([torch.zeros_like(weight) for weight in self.weights])
        for weight in self.weights:
            self.optimiser.state[weight]["step"].zero_()
