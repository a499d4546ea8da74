"""Training of a classifier on labelled images, and its probabilities."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.swa_utils import update_bn

from components.classification.params import ClassifierSection
from components.core.contract import Run
from components.core.training import Batches, History, as_floats, device, through, train


class Classifier:
    """A network trained on cross-entropy; implements `components.core.training.Algorithm`.

    Fu et al. 2021 (paper 1) name the networks, not how they are trained. We read: Adam with decoupled decay, its
    rate annealed to 0 along a cosine, so that a short training ends with batch statistics that fit its weights.

    Args:
        network: images (N, C, H, W) → logits (N, classes).
        learning_rate, weight_decay: AdamW's, at the start.
        updates: length of the training, after which the rate is 0.
    """

    def __init__(self, network: nn.Module, *, learning_rate: float, weight_decay: float, updates: int) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.optimiser = AdamW(network.parameters(), learning_rate, weight_decay=weight_decay, fused=True)
        self.schedule = CosineAnnealingLR(self.optimiser, updates)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One update on images (N, C, H, W) in [-1, 1] and labels (N,), the indices of their classes."""
        logits = through(self.network, images)
        loss = F.cross_entropy(logits, labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        return {"loss": loss.detach(), "accuracy": accuracy}

    def predict(self, images: Tensor, batch_size: int = 100) -> Tensor:
        """Probabilities (N, classes) of images (N, C, H, W), floats or uint8, each independent of the others."""
        self.network.eval()
        with torch.no_grad():
            logits = torch.cat([self.network(as_floats(batch)) for batch in images.split(batch_size)])
        self.network.train()
        return logits.softmax(dim=1)

    def estimate_statistics(self, batches: Iterable[Tensor]) -> None:
        """Let batch normalisation know these images' means and variances, and no others it has seen.

        Args:
            batches: (N, C, H, W) in [-1, 1]; each counts alike.
        """
        update_bn(batches, self.network)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def fit(
    network: nn.Module,
    sources: Sequence[Batches],
    params: ClassifierSection,
    run: Run,
    *,
    augment: Callable[[list[Tensor]], list[Tensor]],
    name: str = "training",
) -> tuple[Classifier, History]:
    """Train a network; resumable.

    Args:
        sources: of images (N, C, H, W), floats in [-1, 1] or uint8, and labels (N,).
        augment: makes one batch, images as floats and labels, of those of all sources.
        name: of the checkpoint, where a step trains more than once.
    """
    classifier = Classifier(
        network.to(device()),
        learning_rate=params.learning_rate,
        weight_decay=params.weight_decay,
        updates=params.updates,
    )
    history = train(classifier, sources, params, run, steps=params.updates, augment=augment, name=name)
    return classifier, history
