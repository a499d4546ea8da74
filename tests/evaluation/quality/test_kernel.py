import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation.quality.kernel import Estimate, cubic_kernel, kernel_distance, over_folds


def features(count, seed, shift=0.0, length=6):
    return np.random.default_rng(seed).normal(shift, 1, (count, length))


def by_hand(real, fake, people, groups):
    """The mean of the kernel over pairs of different people, pair by pair."""

    def mean(some, others, apart):
        pairs = [(a, b) for a in range(len(some)) for b in range(len(others)) if apart(a, b)]
        return np.mean([cubic_kernel(some[[a]], others[[b]]).item() for a, b in pairs])

    within = mean(real, real, lambda a, b: people[a] != people[b]) + mean(
        fake, fake, lambda a, b: groups[a] != groups[b]
    )
    return within - 2 * mean(real, fake, lambda a, b: True)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=9), st.integers(3, 6), st.integers(0, 1000))
def test_it_is_the_mean_over_pairs_of_different_people_and_leaves_out_one_at_a_time(people, count, seed):
    people = np.array([*people, 0, 1, 2])  # three people at least
    real, fake, groups = features(len(people), seed), features(count, seed + 1), np.arange(count)
    found = kernel_distance(real, fake, people)
    assert found.estimate == pytest.approx(by_hand(real, fake, people, groups))
    for position, person in enumerate(np.unique(people)):
        kept = people != person
        assert found.left_out[0][position] == pytest.approx(by_hand(real[kept], fake, people[kept], groups))
    for image in range(count):
        kept = groups != image
        assert found.left_out[1][image] == pytest.approx(by_hand(real, fake[kept], people, groups[kept]))


def slices(people, seed):
    """Features of two slices a person, as alike as real ones."""
    names = np.repeat(np.arange(people), 2)
    return features(people, seed)[names] + 0.3 * features(2 * people, seed + 50_000), names


def test_people_of_one_kind_have_no_distance_and_the_interval_says_so():
    """In 97 of 100 cases at least: the jackknife is never too bold, and two slices are not two people."""
    held, estimates = [], []
    for trial in range(200):
        (real, people), (others, groups) = slices(10, trial), slices(30, trial + 10_000)
        found = kernel_distance(real, others, people, groups)
        low, high = over_folds([found.summary()]).interval
        held.append(low <= 0 <= high)
        estimates.append(found.estimate)
    assert np.mean(held) >= 0.97
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / 200**0.5


def test_slices_taken_for_people_would_seem_another_kind():
    estimates = []
    for trial in range(200):
        (real, _), (others, _) = slices(10, trial), slices(30, trial + 10_000)
        estimates.append(kernel_distance(real, others, np.arange(len(real))).estimate)
    assert np.mean(estimates) > 6 * np.std(estimates) / 200**0.5


def test_another_distribution_is_far_beyond_its_interval():
    real, people = slices(10, 0)
    low, _ = over_folds([kernel_distance(real, features(60, 1, shift=1.5), people).summary()]).interval
    assert low > 0


def test_a_change_of_paired_images_is_surer_than_two_distances():
    real, people = slices(10, 0)
    before = features(60, 1, shift=1)
    after = before - 0.3
    distances = [kernel_distance(real, each, people) for each in (before, after)]
    change = (distances[1] - distances[0]).summary()
    assert change.value == pytest.approx(distances[1].estimate - distances[0].estimate)
    assert over_folds([change]).interval[1] < 0
    assert change.error < max(each.summary().error for each in distances)


@pytest.mark.parametrize(("people", "value", "error"), [(1, False, False), (2, True, False), (3, True, True)])
def test_too_few_people_leave_it_open(people, value, error):
    real, names = slices(people, 0)
    found = kernel_distance(real, features(9, 1), names).summary()
    assert (found.value is not None, found.error is not None) == (value, error)


def test_over_folds_an_error_is_never_less_than_people_alone_make_it():
    agreeing = [Estimate(value=1.0, error=0.5, freedom=9)] * 4
    assert over_folds(agreeing).error == pytest.approx(0.25)
    apart = [Estimate(value=value, error=0.1, freedom=9) for value in (0.0, 2.0)]
    found = over_folds(apart)
    assert (found.estimate, found.error, found.freedom) == (pytest.approx(1), pytest.approx(1), 1)


def test_folds_without_people_do_not_count():
    assert not over_folds([Estimate.unknown()]).known
    assert over_folds([Estimate.unknown(), Estimate(value=2.0, error=0.1, freedom=5)]).estimate == 2
