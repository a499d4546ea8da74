"""E-GAN's objectives and HCEGAN's discriminator losses against values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.gan_training.losses import (
    MUTATIONS,
    cross_entropy,
    heuristic,
    hinge_cross_entropy,
    hinge_squares,
    least_squares,
    minimax,
    mixup,
    mixup_loss,
)

LOG_3 = math.log(3)
LOGITS = torch.tensor([0.0, LOG_3])  # D = 1/2 and 3/4


def test_minimax_is_the_mean_of_log_one_minus_d() -> None:
    assert minimax(LOGITS).item() == pytest.approx((math.log(1 / 2) + math.log(1 / 4)) / 2)


def test_heuristic_is_the_mean_of_minus_log_d() -> None:
    assert heuristic(LOGITS).item() == pytest.approx(-(math.log(1 / 2) + math.log(3 / 4)) / 2)


def test_least_squares_acts_on_the_probability() -> None:
    assert least_squares(LOGITS).item() == pytest.approx((0.5**2 + 0.25**2) / 2)


@pytest.mark.parametrize("objective", MUTATIONS.values(), ids=MUTATIONS.keys())
@given(logit=st.floats(-200, 200))
def test_every_objective_is_finite_and_rewards_a_fooled_discriminator(objective, logit: float) -> None:
    logits = torch.tensor([logit], requires_grad=True)
    loss = objective(logits)
    (slope,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(slope).all()
    assert (slope <= 0).all()


def test_mixup_lays_real_over_fake_by_its_label() -> None:
    torch.manual_seed(0)
    real, fake = torch.full((5, 1, 2, 2), 1.0), torch.full((5, 1, 2, 2), -1.0)
    images, labels = mixup(real, fake, alpha=1.0)
    expected = (2 * labels - 1).view(-1, 1, 1, 1).expand_as(images)  # λ·1 + (1 − λ)·(−1)
    torch.testing.assert_close(images, expected)


def test_mixup_mixes_every_pair_from_both_sides() -> None:
    torch.manual_seed(0)
    images, labels = mixup(torch.rand(3, 1, 2, 2), torch.rand(3, 1, 2, 2), alpha=0.4)
    assert len(images) == 6
    torch.testing.assert_close(labels[:3] + labels[3:], torch.ones(3))


def test_mixup_draws_a_label_for_every_pair_from_the_global_generator() -> None:
    images = torch.zeros(64, 1, 2, 2)
    torch.manual_seed(3)
    _, labels = mixup(images, images, alpha=1.0)
    torch.manual_seed(3)
    _, again = mixup(images, images, alpha=1.0)
    assert labels.shape == (128,)
    assert labels[:64].unique().numel() == 64
    assert torch.equal(labels, again)


@given(alpha=st.floats(0.2, 5))
def test_labels_follow_the_beta_distribution(alpha: float) -> None:
    torch.manual_seed(0)
    images = torch.zeros(4000, 1, 1, 1)
    _, labels = mixup(images, images, alpha)
    assert labels.min() >= 0
    assert labels.max() <= 1
    assert labels.mean().item() == pytest.approx(0.5, abs=0.03)
    assert labels.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_mixup_loss_is_cross_entropy_against_the_soft_label() -> None:
    by_hand = -(0.2 * math.log(3 / 4) + 0.8 * math.log(1 / 4))
    assert mixup_loss(torch.tensor([LOG_3]), torch.tensor([0.2])).item() == pytest.approx(by_hand)


def mean_of(function, *values: float) -> float:
    return sum(map(function, values)) / len(values)


def softplus(value: float) -> float:
    return math.log(1 + math.exp(value))


REAL, FAKE = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([-3.0, 0.0, 0.5])
"""The first of each is past the hinge's margin."""


def test_cross_entropy_is_that_of_both_sides() -> None:
    expected = mean_of(lambda logit: softplus(-logit), 2.0, 0.0, -1.0) + mean_of(softplus, -3.0, 0.0, 0.5)
    assert cross_entropy(REAL, FAKE).item() == pytest.approx(expected)


def test_hinge_squares_counts_what_lies_inside_the_margin() -> None:
    assert hinge_squares(REAL, FAKE).item() == pytest.approx((0 + 1 + 4) / 3 + (0 + 1 + 2.25) / 3)


def test_hinge_cross_entropy_is_log_2_past_the_margin() -> None:
    inside = (softplus(1.0) + softplus(2.0)) / 3 + (softplus(1.0) + softplus(1.5)) / 3
    assert hinge_cross_entropy(REAL, FAKE).item() == pytest.approx(inside + 2 * math.log(2) / 3)


@pytest.mark.parametrize(("loss", "floor"), [(hinge_squares, 0.0), (hinge_cross_entropy, 2 * math.log(2))])
def test_past_the_margin_a_hinge_has_no_gradient_at_all(loss, floor: float) -> None:
    real, fake = torch.tensor([1.5, 40.0], requires_grad=True), torch.tensor([-1.5, -40.0], requires_grad=True)
    outcome = loss(real, fake)
    outcome.backward()
    assert outcome.item() == pytest.approx(floor)
    assert real.grad.tolist() == fake.grad.tolist() == [0.0, 0.0]


def test_inside_the_margin_the_cross_entropy_decides() -> None:
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    hinge_cross_entropy(real, fake).backward()

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    assert real.grad.tolist() == pytest.approx([0.0, -sigmoid(1.0) / 3, -sigmoid(2.0) / 3])
    assert fake.grad.tolist() == pytest.approx([0.0, sigmoid(1.0) / 3, sigmoid(1.5) / 3])


@given(logit=st.floats(-1e4, 1e4))
def test_discriminator_losses_are_finite(logit: float) -> None:
    for loss in (cross_entropy, hinge_squares, hinge_cross_entropy):
        assert torch.isfinite(loss(torch.tensor([logit]), torch.tensor([logit])))
