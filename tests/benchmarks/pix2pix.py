"""Times the colour GAN's step against pix2pix's textbook version: `python tests/benchmarks/pix2pix.py`.

On images of 256×256 with pix2pix's networks (64 channels, 8 + 8 convolutions, 70×70 PatchGAN), at batches of 1 and 4:
the textbook's step in float32, ours in float32, and ours under bfloat16 autocast as the training loop runs it with
`precision: bf16`. All start from the same weights and draw the same dropout; they are timed in turn, in the same
process. The targets at a batch of 1 are 1.3× and, with bfloat16, 1.6×. Peak memory is that of a process which
takes a few steps of one version, less what it held before its networks were built.

Before, they must agree over a few steps, else the exit code is 1: in float64 in every weight of both networks, which
shows that the algorithm is the same; in float32 in the three losses; in bfloat16 roughly.
"""

import argparse
import contextlib
import copy
import multiprocessing
import statistics
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam

from components.core.images import to_grey
from components.gan_training.colour import ColourGAN
from components.gan_training.losses import cross_entropy
from components.gan_training.networks.pix2pix import DROPPING_LAYERS, Discriminator, Generator

WIDTH, DEPTH, SIZE, DROPOUT = 64, 8, 256, 0.5
LEARNING_RATE, BETA_1, L1_WEIGHT = 2e-4, 0.5, 100.0

VERSIONS = {"textbook": "fp32", "ours": "fp32", "ours in bf16": "bf16"}
"""The contestants and their precision."""

FLOAT64_TOLERANCE = 1e-8
"""Largest difference of the networks' weights, in float64."""
TOLERANCES = {"ours": 0.02, "ours in bf16": 0.2}
"""Largest difference of the losses, as a share of the textbook's. Adam's first steps are nearly g / |g|, whatever the
size of g: the rounding of a gradient near 0 becomes a full step."""


class Trainer(Protocol):
    generator: nn.Module
    discriminator: nn.Module

    def step(self, colour: Tensor) -> dict[str, Tensor]: ...


class TextbookPix2pix:
    """Isola et al. 2017, layer by layer in torch's own modules, a pass of the discriminator for every batch."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimiser = Adam(generator.parameters(), LEARNING_RATE, (BETA_1, 0.999))
        self.discriminator_optimiser = Adam(discriminator.parameters(), LEARNING_RATE, (BETA_1, 0.999))
        self.cross_entropy = nn.BCEWithLogitsLoss()
        self.l1 = nn.L1Loss()

    def step(self, colour: Tensor) -> dict[str, Tensor]:
        grey = to_grey(colour)
        rendered = self.generator(grey)

        self.discriminator.requires_grad_(True)
        fake_loss = self.judge(grey, rendered.detach(), real=False)
        real_loss = self.judge(grey, colour, real=True)
        discriminator_loss = real_loss + fake_loss
        self.discriminator_optimiser.zero_grad()
        discriminator_loss.backward()
        self.discriminator_optimiser.step()

        self.discriminator.requires_grad_(False)
        generator_loss = self.judge(grey, rendered, real=True)
        l1_loss = self.l1(rendered, colour)
        self.generator_optimiser.zero_grad()
        (generator_loss + L1_WEIGHT * l1_loss).backward()
        self.generator_optimiser.step()
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
            "l1_loss": l1_loss.detach(),
        }

    def judge(self, grey: Tensor, colour: Tensor, real: bool) -> Tensor:
        logits = self.discriminator(torch.cat([grey, colour], dim=1))
        return self.cross_entropy(logits, torch.full_like(logits, float(real)))


class TextbookGenerator(nn.Module):
    """The U-Net."""

    def __init__(self, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        widths = [1, *(width * min(2**level, 8) for level in range(depth))]
        self.encoder = nn.ModuleList()
        for level, (narrow, wide) in enumerate(pairwise(widths)):
            normalised = 0 < level < depth - 1
            layers = [nn.Conv2d(narrow, wide, 4, 2, 1, bias=not normalised)]
            if level > 0:
                layers.insert(0, nn.LeakyReLU(0.2))
            if normalised:
                layers.append(nn.InstanceNorm2d(wide, affine=True))
            self.encoder.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList()
        for level in reversed(range(1, depth)):
            read = widths[level + 1] * (1 if level == depth - 1 else 2)
            layers = [
                nn.ReLU(),
                nn.ConvTranspose2d(read, widths[level], 4, 2, 1, bias=False),
                nn.InstanceNorm2d(widths[level], affine=True),
            ]
            if depth - 1 - level < DROPPING_LAYERS:
                layers.append(nn.Dropout(dropout))
            self.decoder.append(nn.Sequential(*layers))
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, features: Tensor) -> Tensor:
        skipped = []
        for level in self.encoder:
            features = level(features)
            skipped.append(features)
        features = skipped.pop()
        for level in self.decoder:
            features = torch.cat([skipped.pop(), level(features)], dim=1)
        return self.last(features)


def textbook_discriminator(width: int) -> nn.Sequential:
    layers = [nn.Conv2d(4, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for multiple, stride in ((2, 2), (4, 2), (8, 1)):
        layers += [
            nn.Conv2d(multiple // 2 * width, multiple * width, 4, stride, 1, bias=False),
            nn.InstanceNorm2d(multiple * width, affine=True),
            nn.LeakyReLU(0.2),
        ]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))


def main() -> int:
    arguments = read_arguments()
    deterministic()
    torch.set_num_threads(arguments.threads)
    agree = True
    print("batch  version        ms/step  ratio  peak MB  differences: weights (float64)  losses")
    for batch_size in arguments.batch_sizes:
        weights = weight_difference(arguments.steps)
        losses = loss_differences(batch_size, arguments.steps)
        times = measure(batch_size, arguments.repetitions)
        for version in VERSIONS:
            peak = isolated(peak_memory, version, batch_size, arguments.threads)
            same = f"{weights:30.1e}  {losses[version]:6.1e}" if version in losses else ""
            ratio = times["textbook"] / times[version]
            print(
                f"{batch_size:5d}  {version:12s}  {1e3 * times[version]:8.0f}  {ratio:5.2f}  {peak:7.0f}  {same}",
                flush=True,
            )
        agree = agree and weights < FLOAT64_TOLERANCE
        agree = agree and all(losses[version] < tolerance for version, tolerance in TOLERANCES.items())
    if not agree:
        print("The versions do not compute the same.", file=sys.stderr)
    return 0 if agree else 1


def weight_difference(steps: int) -> float:
    """Largest difference of both networks' weights after some steps in float64, of smaller networks and images."""
    torch.set_default_dtype(torch.float64)
    states = []
    for version in ("textbook", "ours"):
        trainer = build(version, width=8, depth=5)
        torch.manual_seed(1)
        for _ in range(steps):
            trainer.step(images(2, 64))
        states.append([*trainer.generator.parameters(), *trainer.discriminator.parameters()])
    torch.set_default_dtype(torch.float32)
    return max((textbook - ours).abs().max().item() for textbook, ours in zip(*states, strict=True))


def loss_differences(batch_size: int, steps: int) -> dict[str, float]:
    """Largest difference of the losses of some steps from the textbook's, as a share of these."""
    histories = {}
    for version in VERSIONS:
        trainer = build(version)
        torch.manual_seed(1)
        history = [take_step(version, trainer, images(batch_size)) for _ in range(steps)]
        histories[version] = torch.stack([metrics[name] for metrics in history for name in NAMES])
    textbook = histories.pop("textbook")
    return {version: ((losses - textbook) / textbook).abs().max().item() for version, losses in histories.items()}


NAMES = ("discriminator_loss", "generator_loss", "l1_loss")


def measure(batch_size: int, repetitions: int) -> dict[str, float]:
    """Median seconds of a step, by version, taken in turn so that a busy machine slows all."""
    trainers = {version: build(version) for version in VERSIONS}
    real = images(batch_size)
    times: dict[str, list[float]] = {version: [] for version in VERSIONS}
    for repetition in range(repetitions + 1):
        for version, trainer in trainers.items():
            start = time.perf_counter()
            take_step(version, trainer, real)
            if repetition:  # the first warms up
                times[version].append(time.perf_counter() - start)
    return {version: statistics.median(taken) for version, taken in times.items()}


def peak_memory(version: str, batch_size: int, threads: int) -> float:
    """MB that a training adds to a process, at its peak."""
    deterministic()
    torch.set_num_threads(threads)
    before = resident_peak()
    trainer = build(version)
    for _ in range(3):
        take_step(version, trainer, images(batch_size))
    return resident_peak() - before


def resident_peak() -> float:
    """MB of this process at its peak; `getrusage` would count the parent's, too."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1e3


def isolated(function, *arguments):
    """What a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def take_step(version: str, trainer: Trainer, real: Tensor) -> dict[str, Tensor]:
    half = VERSIONS[version] == "bf16"
    with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
        return trainer.step(real)


def build(version: str, width: int = WIDTH, depth: int = DEPTH) -> Trainer:
    torch.manual_seed(0)
    generator = Generator(width, depth, DROPOUT, None, 0)
    discriminator = Discriminator(width)
    if version == "textbook":
        return TextbookPix2pix(
            like(generator, TextbookGenerator(width, depth, DROPOUT)),
            like(discriminator, textbook_discriminator(width)),
        )
    settings = {"learning_rate": LEARNING_RATE, "beta_1": BETA_1, "l1_weight": L1_WEIGHT, "updates": 10**6}
    return ColourGAN(generator, discriminator, cross_entropy, **settings)


def like(ours: nn.Module, textbook: nn.Module) -> nn.Module:
    """The textbook's network with our network's weights: the tensors are the same ones, in the same order."""
    state = zip(textbook.state_dict(), copy.deepcopy(ours.state_dict()).values(), strict=True)
    textbook.load_state_dict(dict(state))
    return textbook


def images(count: int, size: int = SIZE) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def deterministic() -> None:
    """As in every step of the pipelines."""
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2, help="compared")
    parser.add_argument("--repetitions", type=int, default=11, help="timed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
