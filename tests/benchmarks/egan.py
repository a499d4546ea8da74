"""Times E-GAN's generation step against its textbook version: `python tests/benchmarks/egan.py`.

Both start from the same networks and draw from the same seed; they are timed in turn, in the same process, at one
thread and at two, in float32. The target is 1.4×.

Before, they must agree, else the exit code is 1: in float64 over a few generations in every weight, which shows that
the algorithm is the same; in float32 over one, in the best child's fitness within `FLOAT32_TOLERANCE`. More is no
measure in float32: with β₁ = 0 Adam turns the rounding of a gradient near 0 into a full step, and two children nearly
as fit may change places.
"""

import argparse
import copy
import statistics
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.optim import Adam

from components.gan_training.egan import EGAN
from components.gan_training.losses import MUTATIONS, mixup, mixup_loss
from components.gan_training.networks.egan import Discriminator, Generator

GAMMA, ALPHA, BETAS = 0.1, 1.0, (0.0, 0.99)
FLOAT64_TOLERANCE = 1e-9
"""Largest difference of the survivors' weights."""
FLOAT32_TOLERANCE = 1e-3
"""Largest difference of the survivors' fitness."""


class TextbookEGAN:
    """Paper 1, section 2, to the letter: every child is a deep copy with passes of its own."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, learning_rate: float) -> None:
        self.generator = generator
        self.generator_optimiser = Adam(generator.parameters(), learning_rate, BETAS)
        self.discriminator = discriminator
        self.discriminator_optimiser = Adam(discriminator.parameters(), learning_rate, BETAS)

    def step(self, real: Tensor) -> dict[str, Tensor]:
        self.train_discriminator(real)
        self.discriminator.eval()
        noise = self.noise(len(real))
        children = [self.mutate(objective, noise) for objective in MUTATIONS.values()]
        noise = self.noise(len(real))
        fitness = torch.stack([self.fitness(child, real, noise) for child, _ in children])
        self.discriminator.train()
        self.generator, self.generator_optimiser = children[int(fitness.argmax())]
        return {"fitness": fitness.max(), "survivor": fitness.argmax()}

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.generator.latent_dim)

    def train_discriminator(self, real: Tensor) -> None:
        fake = self.generator(self.noise(len(real))).detach()
        images, labels = mixup(real, fake, ALPHA)
        self.discriminator_optimiser.zero_grad()
        mixup_loss(self.discriminator(images), labels).backward()
        self.discriminator_optimiser.step()

    def mutate(self, objective, noise: Tensor) -> tuple[nn.Module, Adam]:
        child = copy.deepcopy(self.generator)
        optimiser = Adam(child.parameters(), betas=BETAS)
        optimiser.load_state_dict(copy.deepcopy(self.generator_optimiser.state_dict()))
        optimiser.zero_grad()
        self.discriminator.requires_grad_(False)
        objective(self.discriminator(child(noise))).backward()
        self.discriminator.requires_grad_(True)
        optimiser.step()
        return child, optimiser

    def fitness(self, child: nn.Module, real: Tensor, noise: Tensor) -> Tensor:
        fake = child(noise).detach()
        layers = [layer for layer in self.discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        with parametrize.cached():  # one tensor a normalised weight, which a gradient can be taken for
            logits = self.discriminator(fake)
            loss = F.softplus(-self.discriminator(real)).mean() + F.softplus(logits).mean()
            gradients = torch.autograd.grad(loss, [each for layer in layers for each in (layer.weight, layer.bias)])
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        return (torch.sigmoid(logits).mean() - GAMMA * norm.log()).detach()


def main() -> int:
    arguments = read_arguments()
    torch.use_deterministic_algorithms(True)
    agree = True
    print("threads  textbook ms  ours ms  ratio  differences: weights (float64)  fitness (float32)")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        weights, _ = differences(arguments, torch.float64, arguments.generations)
        _, fitness = differences(arguments, torch.float32, 1)
        slow, fast = measure(arguments)
        print(
            f"{threads:7d}  {1e3 * slow:11.1f}  {1e3 * fast:7.1f}  {slow / fast:5.2f}  {weights:30.1e}  {fitness:17.1e}"
        )
        agree = agree and weights < FLOAT64_TOLERANCE and fitness < FLOAT32_TOLERANCE
    if not agree:
        print("The two versions do not compute the same.", file=sys.stderr)
    return 0 if agree else 1


def differences(arguments: argparse.Namespace, precision: torch.dtype, generations: int) -> tuple[float, float]:
    """Largest differences of the last survivors' weights and of all survivors' fitness.

    The first is infinite where the survivors are not the same children.
    """
    torch.set_default_dtype(precision)
    contestants = build(arguments)
    real = images(arguments)
    histories = []
    for egan in contestants:
        torch.manual_seed(1)
        found = [egan.step(real) for _ in range(generations)]
        histories.append([(int(metrics["survivor"]), float(metrics["fitness"])) for metrics in found])
    torch.set_default_dtype(torch.float32)
    pairs = list(zip(*histories, strict=True))
    same = all(textbook[0] == ours[0] for textbook, ours in pairs)
    weights = zip(*(egan.generator.parameters() for egan in contestants), strict=True)
    return (
        max((textbook - ours).abs().max().item() for textbook, ours in weights) if same else float("inf"),
        max(abs(textbook[1] - ours[1]) for textbook, ours in pairs),
    )


def measure(arguments: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of a generation, textbook and ours, taken in turn so that a busy machine slows both."""
    contestants = build(arguments)
    real = images(arguments)
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(arguments.repetitions + 2):
        for egan, taken in zip(contestants, times, strict=True):
            start = time.perf_counter()
            egan.step(real)
            if repetition >= 2:  # the first two warm up
                taken.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def build(arguments: argparse.Namespace) -> tuple[TextbookEGAN, EGAN]:
    torch.manual_seed(0)
    generator = Generator(arguments.latent_dim, 1, arguments.generator_width, 80)
    discriminator = Discriminator(1, arguments.discriminator_width, 80)
    textbook = TextbookEGAN(copy.deepcopy(generator), copy.deepcopy(discriminator), arguments.learning_rate)
    ours = EGAN(
        generator,
        discriminator,
        learning_rate_generator=arguments.learning_rate,
        learning_rate_discriminator=arguments.learning_rate,
        betas=BETAS,
        augment=lambda images: images,
        gamma=GAMMA,
        alpha=ALPHA,
        discriminator_steps=1,
        mutations=list(MUTATIONS),
        selection="fitness",
        judged_every=1,
        averaging=0.0,
        generations=10**6,
        sample_count=1,
    )
    return textbook, ours


def images(arguments: argparse.Namespace) -> Tensor:
    return torch.rand(arguments.batch_size, 1, 80, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--latent-dim", type=int, default=64)
    parser.add_argument("--generator-width", type=int, default=16)
    parser.add_argument("--discriminator-width", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--generations", type=int, default=3, help="compared")
    parser.add_argument("--repetitions", type=int, default=30, help="timed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
