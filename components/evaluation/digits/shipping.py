"""What a finished evaluation hands to the model registry: a generator of digits."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from components.core.errors import UserError
from components.core.images import ALL
from components.evaluation.digits.trainings import Network, Training
from components.evaluation.shipment import Shipment

NAME = "digit-generator"


def shipment(generators: Iterable[Path], network: Network, scores: dict[str, Any]) -> Shipment:
    """The generator of all digits of one network: noise (N, latent_dim) → images (N, 1, 28, 28) in [-1, 1].

    It is the first replicate's.

    Args:
        generators: what `train_gan` and `train_dcgan` wrote.
        scores: Inception Scores by network and experiment, as in metrics.json.

    Raises:
        UserError: the network was not trained on all digits.
    """
    trained = [Training.read(folder) for folder in generators]
    chosen = [each for each in trained if (each.network, each.label) == (network, ALL)]
    if not chosen:
        raise UserError(f"There is no training of {network} on {ALL} to register; run it.")
    training = min(chosen, key=lambda each: each.replicate)
    generator = training.generator()
    noise = torch.randn(2, generator.latent_dim, generator=torch.Generator().manual_seed(0))
    tags = {
        "network": network,
        "label": training.label,
        "replicate": str(training.replicate),
        "origin": training.origin,
    }
    return Shipment(NAME, generator, noise, scores[network]["complex"]["mean"], tags)
