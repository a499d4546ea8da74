"""E-GAN's objectives against values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.gan_training.losses import MUTATIONS, heuristic, least_squares, minimax, mixup, mixup_loss

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


def test_mixup_draws_a_label_for_every_sample_from_the_global_generator() -> None:
    images = torch.zeros(64, 1, 2, 2)
    torch.manual_seed(3)
    _, labels = mixup(images, images, alpha=1.0)
    torch.manual_seed(3)
    _, again = mixup(images, images, alpha=1.0)
    assert labels.shape == (64,)
    assert labels.unique().numel() == 64
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
