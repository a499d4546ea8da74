"""What a finished evaluation hands to the model registry: generator, refiner and classifier of one fold."""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor, nn

from components.classification.networks import NETWORKS
from components.core.errors import UserError
from components.core.images import load_model, model_facts
from components.evaluation.cardiac.fold import Fold
from components.evaluation.shipment import Shipment
from components.gan_training.networks.egan import Generator
from components.refinement.networks import Refiner


class ClassGenerators(nn.Module):
    """One generator a class as one model: noise (N, latent_dim) → images (N, classes, C, H, W) in [-1, 1]."""

    def __init__(self, generators: list[Generator]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)

    def forward(self, noise: Tensor) -> Tensor:
        return torch.stack([generator(noise) for generator in self.generators], dim=1)


def shipments(folds: list[Path], scores: dict[str, dict[str, float | None]]) -> Iterator[Shipment]:
    """The models of the first fold's first training, judged by the mean over all.

    We read: cross-validation judges the recipe, not one fold's luck; so none is picked for its score. The
    generator answers for the training set `egan`, the refiner for `simgan`, as the mean over both classifiers.

    Args:
        folds: what `gather` wrote.
        scores: the gate's metric by network and training set, as in metrics.json.

    Raises:
        UserError: no fold defines the metric.
    """
    if any(score is None for sets in scores.values() for score in sets.values()):
        raise UserError(
            "No fold has test people of every class, so no AUC; choose accuracy as cardiac.registry.metric."
        )
    loaded = [(Fold.load(each), each) for each in folds]
    fold, folder = min(loaded, key=lambda pair: (pair[0].fold, pair[0].replicate))
    models = folder / "models"
    real = torch.from_numpy(np.load(folder / "samples.npy")[0, 0])  # (k, C, H, W)
    tags = {"fold": str(fold.fold), "origin": fold.origin, "classes": ", ".join(fold.classes)}

    def mean_score(training_set: str) -> float:
        return fmean(sets[training_set] for sets in scores.values())

    generators = [load_model(models / f"generator-{label}", Generator) for label in fold.classes]
    noise = torch.randn(2, generators[0].latent_dim, generator=torch.Generator().manual_seed(0))
    yield Shipment("cardiac-generator", ClassGenerators(generators), noise, mean_score("egan"), tags)

    refiner = load_model(models / "refiner", Refiner)
    yield Shipment("cardiac-refiner", refiner, real, mean_score("simgan"), tags)

    network, training_set = fold.shipped
    classifier = load_model(models / "classifier", NETWORKS[model_facts(models / "classifier")["kind"]])
    about = tags | {"network": network, "training_set": training_set}
    yield Shipment("cardiac-classifier", classifier, real, scores[network][training_set], about)
