"""Times the DCGAN's iteration against its textbook version: `python tests/benchmarks/dcgan.py`.

Both start from the same weights and draw from the same seed; they are timed in turn, in the same process, at one
thread and at two, in float32, with the paper's dropout: 5 discriminator updates and 1 generator update on batches of
32, at the widths of `params.yaml`'s default profile and of its profile `paper`. The target is 1.25×.

Before, they must agree over a few iterations, else the exit code is 1: in float64 in every weight and moving statistic
of both networks, which shows that the algorithm is the same; in float32 in both losses. That is without dropout,
whose masks the two draw differently.
"""

import argparse
import copy
import statistics
import sys
import time
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.optim import Adam, RMSprop

from components.gan_training.gan import GAN
from components.gan_training.keras import adam, rmsprop
from components.gan_training.networks.dcgan import Discriminator, Generator

LATENT_DIM, LEAK, DROPOUT, MOMENTUM, BETA_1, DISCRIMINATOR_STEPS = 100, 0.2, 0.3, 0.9, 0.5, 5
GENERATOR_RATE, GENERATOR_DECAY = 1e-4, 3e-8
DISCRIMINATOR_RATE, DISCRIMINATOR_DECAY = 2e-4, 6e-8

WIDTHS = {
    "default": ((64, 32, 16, 8), (16, 32, 64, 128)),
    "paper": ((256, 128, 64, 32), (32, 64, 128, 256)),
}
"""Of generator and discriminator, by profile."""

FLOAT64_TOLERANCE = 1e-9
"""Largest difference of the networks' states."""
FLOAT32_TOLERANCE = 1e-2
"""Largest difference of the losses. The first steps of Adam and RMSprop are nearly g / |g|, whatever the size of g: the
rounding of a gradient near 0 becomes a full step, and a few iterations later shows in the third digit."""

Contestants = tuple["TextbookDCGAN", GAN]


class TextbookDCGAN:
    """Paper 2, section III.B, to the letter, layer by layer in torch's own modules."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.generator = generator
        self.generator_optimiser = RMSprop(generator.parameters(), GENERATOR_RATE, alpha=0.9, eps=1e-7)
        self.discriminator = discriminator
        self.discriminator_optimiser = Adam(discriminator.parameters(), DISCRIMINATOR_RATE, (BETA_1, 0.999), eps=1e-7)
        self.iterations = 0

    def step(self, real: Tensor) -> dict[str, Tensor]:
        fake = self.generator(torch.randn(len(real), LATENT_DIM)).detach()
        images = torch.cat([real, fake])
        labels = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))])
        losses = [self.train_discriminator(images, labels) for _ in range(DISCRIMINATOR_STEPS)]
        generator_loss = self.train_generator(len(real))
        self.iterations += 1
        return {"discriminator_loss": losses[0], "generator_loss": generator_loss}

    def train_discriminator(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = nn.functional.binary_cross_entropy_with_logits(self.discriminator(images).squeeze(1), labels)
        self.discriminator_optimiser.zero_grad()
        loss.backward()
        self.discriminator_optimiser.step()
        updates = self.discriminator_optimiser.state[next(self.discriminator.parameters())]["step"].item()
        self.discriminator_optimiser.param_groups[0]["lr"] = DISCRIMINATOR_RATE / (1 + DISCRIMINATOR_DECAY * updates)
        return loss.detach()

    def train_generator(self, count: int) -> Tensor:
        self.freeze(True)
        logits = self.discriminator(self.generator(torch.randn(count, LATENT_DIM))).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(count))
        self.generator_optimiser.zero_grad()
        loss.backward()
        self.freeze(False)
        self.generator_optimiser.step()
        self.generator_optimiser.param_groups[0]["lr"] = GENERATOR_RATE / (1 + GENERATOR_DECAY * (self.iterations + 1))
        return loss.detach()

    def freeze(self, frozen: bool) -> None:
        self.discriminator.requires_grad_(not frozen)
        for module in self.discriminator:
            if isinstance(module, nn.BatchNorm2d):
                module.train(not frozen)


def textbook_generator(widths: tuple[int, ...]) -> nn.Sequential:
    units = widths[0] * 7 * 7
    layers = [
        nn.Linear(LATENT_DIM, units, bias=False),
        nn.BatchNorm1d(units, eps=1e-3, momentum=1 - MOMENTUM),
        nn.ReLU(),
        nn.Unflatten(1, (7, 7, widths[0])),
        ChannelsFirst(),
    ]
    for index, (wide, narrow) in enumerate(pairwise(widths)):
        if index < 2:
            layers.append(nn.Upsample(scale_factor=2))
        layers += [
            nn.ConvTranspose2d(wide, narrow, 5, padding=2, bias=False),
            nn.BatchNorm2d(narrow, eps=1e-3, momentum=1 - MOMENTUM),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 1, 5, padding=2), nn.Tanh())


def textbook_discriminator(widths: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers = []
    for narrow, wide in pairwise([1, *widths]):
        layers += [
            nn.Conv2d(narrow, wide, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(wide, eps=1e-3, momentum=1 - MOMENTUM),
            nn.LeakyReLU(LEAK),
            nn.Dropout(dropout),
        ]
    return nn.Sequential(*layers, ChannelsLast(), nn.Flatten(), nn.Linear(widths[-1] * 2 * 2, 1))


class ChannelsFirst(nn.Module):
    """Keras's order of an image to torch's."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).contiguous()


class ChannelsLast(nn.Module):
    """torch's order of an image to Keras's."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).contiguous()


def main() -> int:
    arguments = read_arguments()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # as in every step of the pipelines
    agree = True
    print("widths   threads  textbook ms  ours ms  ratio  differences: states (float64)  losses (float32)")
    for profile in arguments.widths:
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            states, _ = differences(profile, torch.float64, arguments)
            _, losses = differences(profile, torch.float32, arguments)
            slow, fast = measure(profile, arguments)
            print(
                f"{profile:7s}  {threads:7d}  {1e3 * slow:11.1f}  {1e3 * fast:7.1f}  {slow / fast:5.2f}"
                f"  {states:29.1e}  {losses:16.1e}",
                flush=True,
            )
            agree = agree and states < FLOAT64_TOLERANCE and losses < FLOAT32_TOLERANCE
    if not agree:
        print("The two versions do not compute the same.", file=sys.stderr)
    return 0 if agree else 1


def differences(profile: str, precision: torch.dtype, arguments: argparse.Namespace) -> tuple[float, float]:
    """Largest differences of both networks' states after some iterations, and of the losses on the way."""
    torch.set_default_dtype(precision)
    contestants = build(profile, dropout=0.0)
    real = images(arguments)
    histories = []
    for gan in contestants:
        torch.manual_seed(1)
        histories.append([gan.step(real) for _ in range(arguments.iterations)])
    torch.set_default_dtype(torch.float32)
    states = [[*gan.generator.state_dict().values(), *gan.discriminator.state_dict().values()] for gan in contestants]
    losses = [[loss for metrics in history for loss in losses_of(metrics)] for history in histories]
    return (
        max((textbook - ours).abs().max().item() for textbook, ours in zip(*states, strict=True)),
        max(abs(textbook - ours) for textbook, ours in zip(*losses, strict=True)),
    )


def losses_of(metrics: dict[str, Tensor]) -> list[float]:
    return [metrics["discriminator_loss"].item(), metrics["generator_loss"].item()]


def measure(profile: str, arguments: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of an iteration, textbook and ours, taken in turn so that a busy machine slows both."""
    contestants = build(profile, DROPOUT)
    real = images(arguments)
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(arguments.repetitions + 2):
        for gan, taken in zip(contestants, times, strict=True):
            start = time.perf_counter()
            gan.step(real)
            if repetition >= 2:  # the first two warm up
                taken.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def build(profile: str, dropout: float) -> Contestants:
    torch.manual_seed(0)
    generator_widths, discriminator_widths = WIDTHS[profile]
    generator = Generator(LATENT_DIM, 1, 28, generator_widths, MOMENTUM)
    discriminator = Discriminator(1, 28, discriminator_widths, LEAK, dropout, MOMENTUM)
    textbook = TextbookDCGAN(
        like(generator, textbook_generator(generator_widths)),
        like(discriminator, textbook_discriminator(discriminator_widths, dropout)),
    )
    ours = GAN(
        generator,
        discriminator,
        rmsprop(generator.parameters(), GENERATOR_RATE),
        adam(discriminator.parameters(), DISCRIMINATOR_RATE, BETA_1),
        generator_decay=GENERATOR_DECAY,
        discriminator_decay=DISCRIMINATOR_DECAY,
        discriminator_steps=DISCRIMINATOR_STEPS,
        sample_count=1,
    )
    return textbook, ours


def like(ours: nn.Module, textbook: nn.Module) -> nn.Module:
    """The textbook's network with our network's state: the tensors are the same ones, in the same order."""
    state = zip(textbook.state_dict(), copy.deepcopy(ours.state_dict()).values(), strict=True)
    textbook.load_state_dict(dict(state))
    return textbook


def images(arguments: argparse.Namespace) -> Tensor:
    return torch.rand(arguments.batch_size, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--widths", nargs="+", choices=WIDTHS, default=list(WIDTHS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=3, help="compared")
    parser.add_argument("--repetitions", type=int, default=15, help="timed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
