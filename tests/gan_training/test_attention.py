"""Self-attention against the textbook's formula, and how its weights begin."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from components.gan_training.attention import Initial, SelfAttention


def textbook(attention: SelfAttention, features: Tensor) -> Tensor:
    """x + γ · softmax(q kᵀ) v with the whole matrix of pairs."""
    positions = features.flatten(2).mT
    scores = attention.query(positions) @ attention.key(positions).mT
    mixed = scores.softmax(dim=-1) @ attention.value(positions)
    return features + attention.gamma * mixed.mT.reshape(features.shape)


@given(
    channels=st.sampled_from([1, 3, 8, 20, 64]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    initial=st.sampled_from(["torch", "normal", "uniform"]),
)
def test_attention_equals_the_textbooks_formula(channels: int, height: int, width: int, initial: Initial) -> None:
    """In values and in all gradients."""
    torch.manual_seed(0)
    attention = SelfAttention(channels, initial)
    torch.nn.init.constant_(attention.gamma, 0.7)
    features = torch.randn(2, channels, height, width, requires_grad=True)
    outputs = [attention(features), textbook(attention, features)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    slopes = torch.randn_like(features)
    gradients = [torch.autograd.grad(output, [features, *attention.parameters()], slopes) for output in outputs]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_attention_over_many_positions_equals_the_textbooks_formula() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(32, "normal")
    torch.nn.init.ones_(attention.gamma)
    features = torch.randn(1, 32, 40, 50)
    torch.testing.assert_close(attention(features), textbook(attention, features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("initial", ["torch", "normal", "uniform"])
def test_at_first_the_input_passes_unchanged(initial: Initial) -> None:
    features = torch.randn(2, 16, 5, 7)
    assert torch.equal(SelfAttention(16, initial)(features), features)


def test_query_and_key_have_an_eighth_of_the_channels() -> None:
    attention = SelfAttention(64, "normal")
    shapes = [tuple(layer.weight.shape) for layer in (attention.query, attention.key, attention.value)]
    assert shapes == [(8, 64), (8, 64), (64, 64)]
    assert SelfAttention(1, "normal").query.weight.shape == (1, 1)


@pytest.mark.parametrize("initial", ["normal", "uniform"])
def test_the_papers_weights_are_diagonal(initial: Initial) -> None:
    attention = SelfAttention(64, initial)
    for layer in (attention.query, attention.key, attention.value):
        diagonal = torch.eye(*layer.weight.shape).bool()
        assert (layer.weight[~diagonal] == 0).all()
        assert (layer.weight[diagonal] != 0).all()
        assert (layer.bias == 0).all()


def test_the_diagonal_of_sa1_is_standard_normal() -> None:
    torch.manual_seed(0)
    diagonal = SelfAttention(4000, "normal").value.weight.diagonal()
    assert diagonal.mean().item() == pytest.approx(0, abs=0.05)
    assert diagonal.std().item() == pytest.approx(1, abs=0.05)
    assert (diagonal.abs() < 1).float().mean().item() == pytest.approx(0.683, abs=0.03)


def test_the_diagonal_of_sa2_is_uniform_from_0_to_1() -> None:
    torch.manual_seed(0)
    diagonal = SelfAttention(4000, "uniform").value.weight.diagonal()
    assert 0 <= diagonal.min() < diagonal.max() <= 1
    assert diagonal.mean().item() == pytest.approx(1 / 2, abs=0.02)
    assert diagonal.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_the_weights_of_sa_are_as_torch_draws_a_1x1_convolutions() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(64, "torch")
    torch.manual_seed(0)
    for layer in (attention.query, attention.key, attention.value):
        convolution = torch.nn.Conv2d(64, len(layer.weight), 1)
        assert torch.equal(layer.weight, convolution.weight.flatten(1))
        assert torch.equal(layer.bias, convolution.bias)


def test_attention_works_in_bfloat16() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(16, "uniform")
    torch.nn.init.ones_(attention.gamma)
    features = torch.randn(2, 16, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outcome = attention(features)
    torch.testing.assert_close(outcome.float(), textbook(attention, features), rtol=0.05, atol=0.05)
