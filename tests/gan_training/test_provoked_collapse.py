"""GANs that really collapse, in the real loop."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from components.core.contract import Run
from components.core.errors import UserError
from components.core.storage import Checkpoints
from components.core.telemetry import Journal
from components.core.training import LOOK_STEPS, WINDOW, Batches, History, train
from components.gan_training.gan import GAN
from components.gan_training.keras import adam

ITERATIONS = 600
FROZEN, FAST = 1e-9, 0.01
RATES = {"wins outright": (FROZEN, FAST), "has lost its diversity": (FAST, FROZEN)}
"""Of generator and discriminator: one that cannot learn beside one that can; by what becomes of the training."""

provoked = pytest.mark.parametrize("sign", RATES)


class Sketch(nn.Module):
    """A generator of 8×8 images that no batch normalisation keeps diverse."""

    latent_dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, noise: Tensor) -> Tensor:
        return self.layers(noise)


@pytest.fixture
def provoke(params: Callable[..., Any], tmp_path) -> Callable[..., History]:
    """Trains a GAN that collapses."""

    def run(sign: str, on_collapse: str) -> History:
        torch.manual_seed(0)
        generator, discriminator = Sketch(), nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
        optimisers = [
            adam(network.parameters(), rate, 0.5)
            for network, rate in zip((generator, discriminator), RATES[sign], strict=True)
        ]
        gan = GAN(
            generator,
            discriminator,
            *optimisers,
            generator_decay=0,
            discriminator_decay=0,
            discriminator_steps=1,
            sample_count=1,
        )
        journal = Journal(tmp_path / "journals", {"step": "provoked"})
        given = Run(tmp_path / "out", "f", {}, 7, Checkpoints("f"), journal)
        batches = Batches(torch.rand(40, 1, 8, 8), batch_size=8, seed=0)  # brighter than sketches
        return train(gan, [batches], params("gan", on_collapse=on_collapse), given, steps=ITERATIONS)

    return run


@provoked
def test_a_collapse_is_reported_while_the_training_goes_on(sign, provoke, capsys) -> None:
    history = provoke(sign, "warn")
    at = history.collapsed_at()
    assert (WINDOW - 1) * LOOK_STEPS < at < ITERATIONS
    told = capsys.readouterr().err
    assert told.startswith(f"warning: The training collapsed at step {at}: ") and sign in told
    collapsed = [row["step"] for row in history.rows if row.get("collapsed")]
    assert collapsed == list(range(at, ITERATIONS + 1, LOOK_STEPS))


@provoked
def test_a_collapse_ends_the_training_where_that_is_asked_for(sign, provoke) -> None:
    with pytest.raises(UserError, match=sign):
        provoke(sign, "stop")
