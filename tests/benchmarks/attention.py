"""Times the self-attention against the textbook's formula: `python tests/benchmarks/attention.py`.

A training step (forward and backward) of one module on one feature map, at the shapes it meets in the U-Net of 64
channels on an image of 256×256: in front of the second convolution 128×128 positions of 64 channels, and so on. The
first module, on 256×256 positions, and a step of the whole HCEGAN with attention everywhere are run without the
textbook, whose matrix of pairs would take 17 GB; their peak must stay below 3 GB. Peak memory is that of a process
which takes one step, all in all.

Before, the two must agree in values and in all gradients at a small size, else the exit code is 1.
"""

import argparse
import sys
import time

import torch
from pix2pix import deterministic, images, isolated, resident_peak
from torch import Tensor, nn

from components.gan_training.attention import SelfAttention
from components.gan_training.colour import VARIANTS, ColourGAN
from components.gan_training.networks.pix2pix import Discriminator, Generator

SHAPES = {256: 1, 128: 64, 64: 128, 32: 256, 16: 512, 8: 512, 4: 512, 2: 512}
"""Channels in front of each convolution, by the side of the feature map."""

LARGEST_TEXTBOOK = 64
"""The side up to which the textbook's matrix fits comfortably."""

MOST_MEGABYTES = 3000
TOLERANCE = 1e-5


class TextbookAttention(nn.Module):
    """SAGAN's, with 1×1 convolutions and the whole matrix of pairs."""

    def __init__(self, ours: SelfAttention) -> None:
        super().__init__()
        self.gamma = ours.gamma
        for name in ("query", "key", "value"):
            layer = getattr(ours, name)
            convolution = nn.Conv2d(layer.in_features, layer.out_features, 1)
            convolution.weight = nn.Parameter(layer.weight.detach()[..., None, None].clone())
            convolution.bias = nn.Parameter(layer.bias.detach().clone())
            setattr(self, name, convolution)

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (layer(features).flatten(2) for layer in (self.query, self.key, self.value))
        pairs = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        mixed = value @ pairs.transpose(1, 2)
        return features + self.gamma * mixed.view_as(features)


def main() -> int:
    arguments = read_arguments()
    difference = largest_difference()
    print(f"largest difference from the textbook, relative, values and gradients: {difference:.1e}")
    print("positions  channels  version   seconds  peak MB")
    peaks = []
    for side in arguments.sides:
        for version in ("textbook", "ours"):
            if version == "textbook" and side > LARGEST_TEXTBOOK:
                continue
            seconds, peak = isolated(module_step, version, side, arguments.threads)
            print(f"{f'{side}×{side}':>9s}  {SHAPES[side]:8d}  {version:8s}  {seconds:7.3f}  {peak:7.0f}", flush=True)
            peaks += [peak] if version == "ours" else []
    if arguments.whole:
        seconds, peak = isolated(whole_step, arguments.threads)
        print(f"HCEGAN's step, one image of 256×256, attention everywhere: {seconds:.1f} s, peak {peak:.0f} MB")
        peaks.append(peak)
    if difference > TOLERANCE or max(peaks) > MOST_MEGABYTES:
        print("The attention differs from the textbook's, or takes too much memory.", file=sys.stderr)
        return 1
    return 0


def largest_difference() -> float:
    """In values and gradients, each as a share of the largest of its kind."""
    ours = attention(16)
    given = torch.randn(2, 16, 12, 12)
    slopes = torch.randn_like(given)
    results = []
    for module in (ours, TextbookAttention(ours)):
        features = given.clone().requires_grad_()
        output = module(features)
        weights = [module.gamma, *(getattr(module, name).weight for name in ("query", "key", "value"))]
        results.append([output, *torch.autograd.grad(output, [features, *weights], slopes)])
    pairs = [(one.flatten(), other.flatten()) for one, other in zip(*results, strict=True)]
    return max(((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)


def module_step(version: str, side: int, threads: int) -> tuple[float, float]:
    """Seconds of one training step of a module, and MB that its process takes at its peak."""
    deterministic()
    torch.set_num_threads(threads)
    module: nn.Module = attention(SHAPES[side])
    if version == "textbook":
        module = TextbookAttention(module)
    features = torch.randn(1, SHAPES[side], side, side, requires_grad=True)
    start = time.perf_counter()
    module(features).square().sum().backward()
    return time.perf_counter() - start, resident_peak()


def whole_step(threads: int) -> tuple[float, float]:
    deterministic()
    torch.set_num_threads(threads)
    variant = VARIANTS["hcegan"]
    networks = Generator(64, 8, 0.5, variant.attention, 0), Discriminator(64)
    trainer = ColourGAN(
        *networks, variant.discriminator_loss, learning_rate=2e-4, beta_1=0.5, l1_weight=100.0, updates=10**6
    )
    start = time.perf_counter()
    trainer.step(images(1))
    return time.perf_counter() - start, resident_peak()


def attention(channels: int) -> SelfAttention:
    torch.manual_seed(0)
    module = SelfAttention(channels, "normal")
    nn.init.ones_(module.gamma)
    return module


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", choices=SHAPES, default=[256, 128, 64, 32, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--whole", action=argparse.BooleanOptionalAction, default=True, help="HCEGAN's step, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
