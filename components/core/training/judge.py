"""A judge of class: a small network that learns from real images what generated ones have to show."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from components.core.training.augment import as_floats, flip_and_shift

MEMBERS = 3
WIDTH = 8
HIDDEN = 64
UPDATES = 100
BATCH_SIZE = 32
LEARNING_RATE = 0.003
WEIGHT_DECAY = 0.01
LARGEST_SHIFT = 0.05
"""Of the image's side."""
JITTER = 0.1
"""Contrast, and half of the range of levels, change by at most so much."""


class Judge(nn.Module):
    """Images (N, in_channels, H, W) in [-1, 1] → logits (N, classes): the mean belief of a few small networks.

    Few people can be told apart in many ways, and one network notices what another does not: distances in the
    features of single ones differ by a factor of three, and their calls with them.

    Args:
        classes: it tells apart.
        in_channels: image channels.
        members: networks.
    """

    def __init__(self, classes: int, in_channels: int, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(_Member(classes, in_channels) for _ in range(members))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the decisions are made from, (N, F): every network's convolutional features, over 3 × 3 cells.

        Not those of the layer before the last, which hold little but the class: there a blur is no distance, and a
        few outliers are much of one.
        """
        return torch.cat([member.body(images) for member in self.members], dim=1)

    def head(self, features: Tensor) -> Tensor:
        """The logarithm of the mean probabilities."""
        beliefs = torch.stack([each.log_softmax(dim=1) for each in self.logits(features)])
        return beliefs.logsumexp(dim=0) - math.log(len(beliefs))

    def logits(self, features: Tensor) -> list[Tensor]:
        """Every network's own."""
        parts = features.chunk(len(self.members), dim=1)
        return [member.decide(part) for member, part in zip(self.members, parts, strict=True)]


class _Member(nn.Module):
    def __init__(self, classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolve(in_channels, WIDTH, 5),
            *_convolve(WIDTH, 2 * WIDTH, 3),
            *_convolve(2 * WIDTH, 4 * WIDTH, 3),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
        )
        self.decide = nn.Sequential(nn.Linear(4 * WIDTH * 9, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, classes))


def train_judge(images: np.ndarray, labels: np.ndarray, classes: int, members: int = MEMBERS) -> Judge:
    """A judge trained on real images, in evaluation mode; what is drawn comes from torch's global generator.

    Batches hold every class equally often, so that a judge in doubt does not call everything by the commoner name.
    Flips, shifts and jitter of brightness keep few people from being learned by heart; what a network that never saw
    an image says of it is the measure, so only images of other people may be asked about beside generated ones.

    Args:
        images: (N, C, H, W), floats in [-1, 1] or uint8.
        labels: (N,) below `classes`; each has an image at least.
        classes: number of them.
        members: networks.
    """
    shown, answers = as_floats(torch.from_numpy(np.array(images))), torch.from_numpy(np.array(labels))
    judge = Judge(classes, shown.shape[1], members)
    optimiser = AdamW(judge.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = OneCycleLR(optimiser, LEARNING_RATE, total_steps=UPDATES)
    of_class = [(answers == label).nonzero().flatten() for label in range(classes)]
    each = -(-BATCH_SIZE // classes)
    for _ in range(UPDATES):
        chosen = torch.cat([members[torch.randint(len(members), (each,))] for members in of_class])
        batch = _jittered(flip_and_shift(shown[chosen], LARGEST_SHIFT))
        loss = sum(F.cross_entropy(logits, answers[chosen]) for logits in judge.logits(judge.features(batch)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return judge.eval()


def _convolve(narrow: int, wide: int, side: int) -> list[nn.Module]:
    """Half the size."""
    return [
        nn.Conv2d(narrow, wide, side, stride=2, padding=side // 2, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(inplace=True),
    ]


def _jittered(images: Tensor) -> Tensor:
    contrast, level = (JITTER * (2 * torch.rand(len(images), 1, 1, 1) - 1) for _ in range(2))
    return images * (1 + contrast) + level
