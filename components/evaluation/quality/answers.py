"""What a network that tells classes apart says of images: probabilities, and the features it decides from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from components.core.training import as_floats, device


@dataclass(frozen=True)
class Answers:
    """What a network says of N images.

    Attributes:
        probabilities: p(y|x), (N, n) float64.
        features: (N, F), on the CPU.
    """

    probabilities: np.ndarray
    features: Tensor


def ask(network: nn.Module, images: np.ndarray, batch_size: int) -> Answers:
    """Show a network images (N, C, H, W), floats in [-1, 1] or uint8.

    Args:
        network: has `features`, images → (N, F), and a `head`, features → logits: a concept network, or a `Judge`.
    """
    network = network.to(device())
    with torch.no_grad():
        shown = (as_floats(part.to(device())) for part in torch.from_numpy(images).split(batch_size))
        features = torch.cat([network.features(part) for part in shown])
        probabilities = network.head(features).double().softmax(dim=1)
    return Answers(probabilities.cpu().numpy(), features.cpu())
