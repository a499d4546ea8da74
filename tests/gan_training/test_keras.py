"""Keras's conventions against Keras's own formulas, written out."""

import math

import pytest
import torch
from torch import nn

from components.gan_training.keras import adam, batch_norm, decayed, glorot, rmsprop


def test_moving_statistics_keep_the_share_of_the_past_that_keras_calls_momentum() -> None:
    layer = batch_norm(nn.BatchNorm1d, 1, momentum=0.9)
    mean, variance = 0.0, 1.0
    for batch in ([1.0, 3.0], [10.0, 14.0]):
        layer(torch.tensor(batch).view(-1, 1))
        mean = 0.9 * mean + 0.1 * sum(batch) / 2
        variance = 0.9 * variance + 0.1 * (batch[1] - batch[0]) ** 2 / 2  # of a sample of two, unbiased
    assert layer.running_mean.item() == pytest.approx(mean)
    assert layer.running_var.item() == pytest.approx(variance)


def test_batch_normalisation_adds_keras_epsilon_to_the_variance() -> None:
    layer = batch_norm(nn.BatchNorm2d, 1, momentum=0.9)
    images = torch.tensor([-0.01, 0.01]).view(2, 1, 1, 1)
    torch.testing.assert_close(layer(images), images / math.sqrt(0.01**2 + 1e-3))


def test_the_rate_decays_with_the_updates_done() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimiser = rmsprop([weight], learning_rate=0.1)
    schedule = decayed(optimiser, decay=0.5)
    rates = []
    for _ in range(4):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.1, 0.1 / 1.5, 0.1 / 2, 0.1 / 2.5])


def test_rmsprop_follows_keras_update() -> None:
    """v = ρ v + (1 − ρ) g², w = w − rate · g / (√v + ε)."""
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimiser = rmsprop([weight], learning_rate=0.01)
    expected, square = 1.0, 0.0
    for gradient in (2e-7, -0.5, 3.0):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        square = 0.9 * square + 0.1 * gradient**2
        expected -= 0.01 * gradient / (math.sqrt(square) + 1e-7)
        assert weight.item() == pytest.approx(expected, abs=1e-12)


def test_adam_follows_its_update() -> None:
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimiser = adam([weight], learning_rate=0.01, beta_1=0.5)
    expected, mean, square = 1.0, 0.0, 0.0
    for update, gradient in enumerate((2e-7, -0.5, 3.0), start=1):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimiser.step()
        mean = 0.5 * mean + 0.5 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        root = math.sqrt(square / (1 - 0.999**update))
        expected -= 0.01 * mean / (1 - 0.5**update) / (root + 1e-7)
        assert weight.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (nn.Linear(30, 50), 30 + 50),
        (nn.Conv2d(8, 16, 5), (8 + 16) * 25),
        (nn.ConvTranspose2d(16, 8, 5), (8 + 16) * 25),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_start_as_glorot_says_and_biases_at_nothing(layer: nn.Module, fans: int) -> None:
    torch.manual_seed(0)
    glorot(nn.Sequential(layer))
    limit = math.sqrt(6 / fans)
    assert 0.95 * limit < layer.weight.abs().max() <= limit
    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.1)
    assert not layer.bias.any()
