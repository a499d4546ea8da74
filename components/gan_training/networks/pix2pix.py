"""pix2pix's generator and discriminator, the generator with self-attention where it is asked for.

Li et al. 2023 (paper 3), section 3.3, after Isola et al. 2017 (pix2pix), sections 3.2 and 6.1. We read: instance
normalisation. pix2pix's batch normalisation is just that at its batch of one, in training and in use ("the statistics
of the test batch"); and it couples no images at any other batch, so that an image is rendered the same in any company.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.gan_training.attention import Initial, SelfAttention

KERNEL, PADDING = 4, 1

GREATEST_MULTIPLE = 8
"""Feature channels double from layer to layer, up to this multiple of the first layer's."""

LEAK = 0.2

DEVIATION = 0.02
"""Of the normal distribution that the initial weights of the convolutions are drawn from."""

FEW_POSITIONS = 64
"""Positions of a batch up to which a matrix product trains a layer faster on a CPU than torch's convolutions do: these
bring the weights, millions of them in the innermost layers, into an order of their own and back at every pass."""

DROPPING_LAYERS = 3
"""How many of the decoder's innermost layers drop features."""


class Generator(nn.Module):
    """The U-Net: grey images (N, 1, H, W) → colour images (N, 3, H, W), both in [-1, 1].

    `depth` convolutions halve the image, as many transposed ones double it again; each of these reads the output of
    the convolution of its size, too. H and W are multiples of 2**depth. The outermost and the innermost convolution
    have no normalisation.

    All weights but the attention's are drawn as they are without attention.

    Args:
        width: feature channels of the first convolution (pix2pix: 64).
        depth: convolutions, at least 2 (pix2pix: 8, for images of 256 pixels).
        dropout: share of features that the three innermost layers of the decoder drop while training. We read: not
            in use, so that a rendering can be repeated.
        attention: initial weights of the self-attention, None for none.
        attention_from: number, counted from 0, of the first convolution that has attention in front of it; all
            behind it have (paper 3: 0).
    """

    def __init__(self, width: int, depth: int, dropout: float, attention: Initial | None, attention_from: int) -> None:
        super().__init__()
        widths = [1, *(width * min(2**level, GREATEST_MULTIPLE) for level in range(depth))]
        last = depth - 1
        self.encoder = nn.ModuleList(
            nn.Sequential(*_halving(narrow, wide, normalised=0 < level < last))
            for level, (narrow, wide) in enumerate(pairwise(widths))
        )
        self.decoder = nn.ModuleList(
            _enlargement(
                widths[level + 1] * (1 if level == last else 2),
                widths[level],
                dropout if level > last - DROPPING_LAYERS else 0.0,
            )
            for level in range(last, 0, -1)
        )
        self.to_image = nn.Sequential(nn.ConvTranspose2d(2 * width, 3, KERNEL, 2, PADDING), nn.Tanh())
        _draw_weights(self)
        levels = range(attention_from, depth) if attention else ()
        self.attention = nn.ModuleDict({str(level): SelfAttention(widths[level], attention) for level in levels})

    def forward(self, grey: Tensor) -> Tensor:
        features, skipped = grey, []
        for level, convolution in enumerate(self.encoder):
            if str(level) in self.attention:
                features = self.attention[str(level)](features)
            features = convolution(features)
            skipped.append(features)
        features = skipped.pop().relu()
        for enlargement in self.decoder:
            # ReLU takes from LeakyReLU's output what it would take from its input.
            features = torch.cat([skipped.pop(), enlargement(features)], dim=1).relu_()
        return self.to_image(features)


class Discriminator(nn.Module):
    """The PatchGAN: grey images (N, 1, H, W) and colours (N, 3, H, W) → logits (N, 1, h, w) of patches of 70×70.

    h is H / 8 − 2 and w is W / 8 − 2.

    Args:
        width: feature channels of the first convolution (pix2pix: 64).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_halving(1 + 3, width, normalised=False),
            *_halving(width, 2 * width, normalised=True),
            *_halving(2 * width, 4 * width, normalised=True),
            *_activated(nn.Conv2d(4 * width, 8 * width, KERNEL, 1, PADDING, bias=False), normalised=True),
            nn.Conv2d(8 * width, 1, KERNEL, 1, PADDING),
        )
        _draw_weights(self)

    def forward(self, grey: Tensor, colour: Tensor) -> Tensor:
        return self.layers(torch.cat([grey, colour], dim=1))


class Halving(nn.Conv2d):
    """The 4×4 convolution of stride 2; on small feature maps, a matrix product over their patches."""

    def __init__(self, narrow: int, wide: int, bias: bool) -> None:
        super().__init__(narrow, wide, KERNEL, 2, PADDING, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        if not _prefers_a_product(self, features):
            return super().forward(features)
        height, width = features.shape[2:]
        patches = F.unfold(features, KERNEL, padding=PADDING, stride=2).transpose(1, 2)
        products = F.linear(patches, self.weight.flatten(1), self.bias)
        return products.transpose(1, 2).unflatten(2, (height // 2, width // 2))


class Doubling(nn.ConvTranspose2d):
    """The 4×4 transposed convolution of stride 2, without bias; on small feature maps, a matrix product."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__(wide, narrow, KERNEL, 2, PADDING, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        if not _prefers_a_product(self, features):
            return super().forward(features)
        height, width = features.shape[2:]
        patches = features.flatten(2).transpose(1, 2) @ self.weight.flatten(1)
        return F.fold(patches.transpose(1, 2), (2 * height, 2 * width), KERNEL, padding=PADDING, stride=2)


def _prefers_a_product(layer: nn.Module, features: Tensor) -> bool:
    """Only in training: in use, what a network computes must not hang on how many images it is given."""
    count, _, height, width = features.shape
    return layer.training and features.device.type == "cpu" and count * height * width <= FEW_POSITIONS


def _halving(narrow: int, wide: int, *, normalised: bool) -> list[nn.Module]:
    return _activated(Halving(narrow, wide, bias=not normalised), normalised)


def _activated(convolution: nn.Conv2d, normalised: bool) -> list[nn.Module]:
    """No convolution in front of a normalisation has a bias, which the normalisation would take away again."""
    normalisation = [_normalisation(convolution.out_channels)] if normalised else []
    return [convolution, *normalisation, nn.LeakyReLU(LEAK, inplace=True)]


def _enlargement(wide: int, narrow: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(Doubling(wide, narrow), _normalisation(narrow), nn.Dropout(dropout, inplace=True))


def _normalisation(channels: int) -> nn.Module:
    """Of every channel of every image by itself."""
    return nn.InstanceNorm2d(channels, affine=True)


def _draw_weights(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
