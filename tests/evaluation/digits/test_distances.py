import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.digits.distances import frechet_distance, kernel_distance


def features(count, length, seed=0):
    return torch.randn(count, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(mean, covariance):
    """Features whose sample mean and covariance are exactly these, up to rounding."""
    raw = features(200, len(mean))
    raw = raw - raw.mean(dim=0)
    whitened = raw @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T))).T
    return whitened @ torch.linalg.cholesky(covariance).T + mean


def test_equal_sets_have_no_distance():
    some = features(50, 6)
    assert frechet_distance(some, some) == pytest.approx(0, abs=1e-10)


def test_a_shift_counts_squared():
    some = features(50, 6)
    assert frechet_distance(some, some + torch.tensor([3.0, 4, 0, 0, 0, 0])) == pytest.approx(25)


def test_commuting_covariances_have_the_closed_form():
    """Diagonal covariances: the sum of (σ₁ − σ₂)²."""
    deviations = torch.tensor([[1.0, 2, 3], [4.0, 2, 0.5]], dtype=torch.float64)
    some, others = (with_moments(torch.zeros(3), torch.diag(each**2)) for each in deviations)
    assert frechet_distance(some, others) == pytest.approx(9 + 0 + 6.25)


def test_covariances_that_do_not_commute_agree_with_a_general_matrix_root():
    mixing = torch.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 1.5]], dtype=torch.float64)
    some = with_moments(torch.zeros(3), torch.diag(torch.tensor([1.0, 4, 9], dtype=torch.float64)))
    others = with_moments(torch.ones(3), mixing)
    first, second = np.diag([1.0, 4, 9]), mixing.numpy()
    expected = 3 + np.trace(first + second) - 2 * np.sqrt(np.linalg.eigvals(first @ second)).sum()
    assert frechet_distance(some, others) == pytest.approx(expected)


def test_dead_features_and_few_images_do_no_harm():
    some, others = features(5, 64), features(7, 64, seed=1)
    some[:, 32:], others[:, 32:] = 0, 0
    assert np.isfinite(frechet_distance(some, others))
    assert frechet_distance(some, some) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 1000))
def test_the_distance_is_symmetric_and_does_not_see_a_rotation(seed):
    some, others = features(30, 4, seed), 2 * features(20, 4, seed + 1) + 1
    rotation = torch.linalg.qr(features(4, 4, seed + 2)).Q
    distance = frechet_distance(some, others)
    assert frechet_distance(others, some) == pytest.approx(distance)
    assert frechet_distance(some @ rotation, others @ rotation) == pytest.approx(distance)


def test_one_feature_is_enough():
    some = torch.tensor([[0.0], [2.0]])
    assert frechet_distance(some, some + 1) == pytest.approx(1)


def test_the_kernel_distance_is_the_unbiased_estimate_term_by_term():
    some, others = features(4, 3), features(5, 3, seed=1)

    def kernel(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    within = np.mean([kernel(a, b) for i, a in enumerate(some) for j, b in enumerate(some) if i != j])
    beyond = np.mean([kernel(a, b) for i, a in enumerate(others) for j, b in enumerate(others) if i != j])
    between = np.mean([kernel(a, b) for a in some for b in others])
    assert kernel_distance(some, others, parts=1).mean == pytest.approx(within + beyond - 2 * between)


def test_sets_from_one_distribution_are_around_zero_and_others_are_not():
    some = features(2000, 8)
    alike = kernel_distance(some, features(2000, 8, seed=1), parts=10)
    apart = kernel_distance(some, features(2000, 8, seed=1) + 0.5, parts=10)
    assert abs(alike.mean) < 3 * alike.std / 10**0.5
    assert apart.mean > 10 * alike.std
    assert len(apart.values) == 10


def test_every_part_has_two_images_of_each_set():
    assert len(kernel_distance(features(7, 3), features(100, 3), parts=10).values) == 3
