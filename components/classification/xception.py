"""Xception (Chollet 2017, "Xception: deep learning with depthwise separable convolutions", Figure 5)."""

from itertools import pairwise

from torch import Tensor, nn

from components.classification.width import scaled

ENTRY = (128, 256, 728)  # channels of the entry flow's blocks, each of which halves the resolution
MIDDLE = 8  # blocks of the middle flow


class Xception(nn.Module):
    """Images (N, in_channels, H, W) → logits (N, classes), for H and W of at least 7 pixels.

    `width` scales every hidden channel count; 1.0 is the published network.
    """

    def __init__(self, classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        stem = [scaled(channels, width) for channels in (32, 64)]
        entry = [scaled(channels, width) for channels in ENTRY]
        middle = entry[-1]
        exits = [scaled(channels, width) for channels in (1024, 1536, 2048)]
        blocks: list[nn.Module] = []
        for inputs, outputs in pairwise([stem[-1], *entry]):
            blocks.append(Block([inputs, outputs, outputs], stride=2, activate_first=bool(blocks)))
        blocks += [Block([middle] * 4) for _ in range(MIDDLE)]
        blocks.append(Block([middle, middle, exits[0]], stride=2))
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, stem[0], 3, stride=2, bias=False),
            nn.BatchNorm2d(stem[0]),
            nn.ReLU(inplace=True),
            nn.Conv2d(stem[0], stem[1], 3, bias=False),
            nn.BatchNorm2d(stem[1]),
            nn.ReLU(inplace=True),
            *blocks,
            separable(exits[0], exits[1]),
            nn.ReLU(inplace=True),
            separable(exits[1], exits[2]),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classify = nn.Linear(exits[2], classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))


class Block(nn.Module):
    """Separable convolutions from `channels[0]` to `channels[-1]`, each after a ReLU, beside a shortcut.

    With stride 2 a max pooling ends them, and the shortcut is a 1×1 convolution of the same stride.
    """

    def __init__(self, channels: list[int], stride: int = 1, activate_first: bool = True) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels[0], channels[-1], 1, stride, bias=False), nn.BatchNorm2d(channels[-1])
            )
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(channels)):
            if index > 0 or activate_first:
                layers.append(nn.ReLU(inplace=index > 0))  # the first one's input feeds the shortcut too
            layers.append(separable(inputs, outputs))
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        return self.body(features) + self.shortcut(features)


def separable(in_channels: int, out_channels: int) -> nn.Sequential:
    """Depthwise 3×3, then pointwise 1×1 convolution, then batch normalisation; keeps the size."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )
