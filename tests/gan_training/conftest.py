from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from components.gan_training.params import ColourParams, DcganParams, GanParams, PaperTwoParams


@pytest.fixture
def params() -> Callable[..., PaperTwoParams]:
    """Small settings by kind, "gan" or "dcgan", with changes."""
    common = {
        "threads": 1,
        "seed": 0,
        "batch_size": 6,
        "precision": "fp32",
        "checkpoint_seconds": 10.0,
        "on_collapse": "warn",
        "latent_dim": 8,
        "generator_learning_rate": 1e-3,
        "generator_decay": 1e-2,
        "discriminator_learning_rate": 2e-3,
        "discriminator_decay": 3e-2,
        "beta_1": 0.5,
        "leak": 0.2,
        "momentum": 0.9,
        "iterations": 10,
        "samples": 4,
    }
    special = {
        "gan": {"generator_widths": [8, 12, 16], "discriminator_widths": [16, 8]},
        "dcgan": {
            "generator_widths": [8, 8, 4, 4],
            "discriminator_widths": [4, 4, 8, 8],
            "dropout": 0.3,
            "discriminator_steps": 5,
        },
    }
    sections = {"gan": GanParams, "dcgan": DcganParams}
    return lambda kind, **changes: sections[kind](**{**common, **special[kind], **changes})


@pytest.fixture
def colour_params() -> Callable[..., ColourParams]:
    """Small settings of the colour GAN, with changes."""
    common = {
        "threads": 1,
        "seed": 0,
        "batch_size": 4,
        "precision": "fp32",
        "checkpoint_seconds": 10.0,
        "on_collapse": "warn",
        "crop": 32,
        "width": 4,
        "depth": 3,
        "dropout": 0.0,
        "discriminator_width": 4,
        "largest_attention": 16,
        "learning_rate": 1e-3,
        "beta_1": 0.5,
        "l1_weight": 100.0,
        "epochs": 1000.0,
        "updates": 10,
        "samples": 2,
    }
    return lambda **changes: ColourParams(**{**common, **changes})


@pytest.fixture
def assert_same_state() -> Callable[[Any, Any], None]:
    """Asserts that two nested states hold the same tensors, bit for bit, and the same plain values."""

    def compare(first: Any, second: Any) -> None:
        if isinstance(first, Tensor):
            assert torch.equal(first, second)
        elif isinstance(first, dict):
            assert first.keys() == second.keys()
            for key in first:
                compare(first[key], second[key])
        elif isinstance(first, list | tuple):
            assert len(first) == len(second)
            for one, other in zip(first, second, strict=True):
                compare(one, other)
        else:
            assert first == second

    return compare
