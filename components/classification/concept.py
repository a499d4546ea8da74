"""The concept network: which concept does a small image show? (Liu et al. 2021, section IV)

The paper calls it "concept classification network" and does not describe it. We read: a small convolutional network,
trained on the labels of the real images like any classifier.
"""

from torch import Tensor, nn

FEATURES = 64
"""Length of the features in which generated images are compared with real ones."""


class ConceptNetwork(nn.Module):
    """Images (N, in_channels, H, W) in [-1, 1] → logits (N, classes).

    Args:
        classes: number of concepts.
        in_channels: image channels.
        width: feature channels at the image's size; they double with every halving.
    """

    def __init__(self, classes: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolve(in_channels, width),
            nn.MaxPool2d(2),
            *_convolve(width, 2 * width),
            nn.MaxPool2d(2),
            *_convolve(2 * width, 4 * width),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(4 * width * 9, FEATURES),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))

    def features(self, images: Tensor) -> Tensor:
        """What the decision is made from, (N, FEATURES)."""
        return self.body(images)


def _convolve(narrow: int, wide: int) -> list[nn.Module]:
    return [
        nn.Conv2d(narrow, wide, 3, padding=1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(inplace=True),
    ]
