"""The trainers as child processes run them; importing this module brings in all they need."""

import os
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401 (by an optimiser's first step)

import components.classification.concept
import components.classification.trial
import components.core.training
import components.gan_training.egan
import components.gan_training.recipes
import components.refinement.simgan  # noqa: F401
from components.classification.step import classify, train_concept
from components.gan_training.cardiac_step import train_egan
from components.gan_training.colour_step import train_colour
from components.gan_training.digits_step import train_dcgan, train_gan
from components.refinement.step import refine

TRAINERS = {
    "egan": train_egan,
    "simgan": refine,
    "classify": classify,
    "gan": train_gan,
    "dcgan": train_dcgan,
    "concept": train_concept,
    "train": train_colour,
}


def execute(name: str, params: str, given: dict[str, Any], home: Path, **environment: str) -> None:
    """Run a trainer with its state and journals under `home`."""
    os.environ |= {"GANFLOW_HOME": str(home), "GANFLOW_JOURNALS": str(home / "journals")} | environment
    TRAINERS[name](params, **given)
