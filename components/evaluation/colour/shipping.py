"""What a finished evaluation hands to the model registry: a network that colours grey pictures."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from components.core.errors import UserError
from components.core.images import load_model
from components.evaluation.colour.params import Variant
from components.evaluation.colour.trainings import Training
from components.evaluation.shipment import Shipment
from components.gan_training.networks.pix2pix import Generator

NAME = "colour-renderer"


def shipment(folders: Iterable[Path], variant: Variant, metrics: dict[str, Any]) -> Shipment:
    """One variant's generator: grey (N, 1, s, s) → RGB (N, 3, s, s), both in [-1, 1]; s is the test pictures' side.

    It is the first replicate's, on the first data set.

    Args:
        folders: what `train_colour` wrote.
        metrics: the content of metrics.json; its data sets are in the evaluation's order.

    Raises:
        UserError: the variant was not trained on that data set.
    """
    dataset = next(iter(metrics["datasets"]))
    trained = [Training.read(folder) for folder in folders]
    chosen = [each for each in trained if (each.variant, each.dataset) == (variant, dataset)]
    if not chosen:
        raise UserError(f"There is no training of {variant} on {dataset} to register; run it.")
    training = min(chosen, key=lambda each: each.replicate)
    size = training.rendered().shape[-1]
    return Shipment(
        NAME,
        load_model(training.folder, Generator),
        torch.zeros(2, 1, size, size),
        metrics["datasets"][dataset]["psnr"][variant]["mean"],
        {"variant": variant, "dataset": dataset, "replicate": str(training.replicate), "origin": training.origin},
    )
