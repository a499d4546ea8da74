"""ResNet-50 (He et al. 2016, "Deep residual learning for image recognition", Table 1)."""

from torch import Tensor, nn

from components.classification.width import scaled

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # bottleneck channels, number of blocks
EXPANSION = 4


class ResNet50(nn.Module):
    """Images (N, in_channels, H, W) → logits (N, classes), for any H and W.

    He et al. halve the resolution in the first 1×1 convolution of a stage, and so does this network
    (later variants, often called "b" or "v1.5", do it in the 3×3 convolution).
    Each block begins as its shortcut: the last γ of its body is 0 (Goyal et al. 2017, "Accurate, large minibatch SGD",
    section 5.1), without which a few hundred updates leave the network half trained.
    `width` scales every hidden channel count; 1.0 is the published network.
    """

    def __init__(self, classes: int, in_channels: int = 3, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(64, width)
        layers: list[nn.Module] = [
            convolution(in_channels, channels, 7, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        for stage, (base, blocks) in enumerate(STAGES):
            bottleneck = scaled(base, width)
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(Bottleneck(channels, bottleneck, stride))
                channels = EXPANSION * bottleneck
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classify = nn.Linear(channels, classes)
        for module in self.features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.body[-1][1].weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.features(images))


class Bottleneck(nn.Module):
    """Convolutions 1×1 → 3×3 → 1×1 beside a shortcut, which is a 1×1 convolution where the shapes differ."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = EXPANSION * channels
        self.body = nn.Sequential(
            convolution(in_channels, channels, 1, stride),
            nn.ReLU(inplace=True),
            convolution(channels, channels, 3),
            nn.ReLU(inplace=True),
            convolution(channels, out_channels, 1),
        )
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same_shape else convolution(in_channels, out_channels, 1, stride)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        return self.activation(self.body(features) + self.shortcut(features))


def convolution(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (divided by `stride`), with batch normalisation in place of a bias."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )
