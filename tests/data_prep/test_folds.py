import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data_prep.folds import assign_folds


@st.composite
def cohorts(draw):
    """Labels and patients of images, and folds, each class having at least as many patients as there are folds."""
    folds = draw(st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True))
    labels, patients = [], []
    for label in range(draw(st.integers(2, 3))):
        sizes = draw(st.lists(st.integers(1, 6), min_size=len(folds), max_size=14))
        for number, size in enumerate(sizes):
            labels += [label] * size
            patients += [f"{label}-{number}"] * size
    order = draw(st.randoms(use_true_random=False)).sample(range(len(labels)), len(labels))
    return np.array(labels)[order], np.array(patients)[order], folds


SEEDS = st.integers(0, 1000)


@given(cohorts(), SEEDS)
@settings(max_examples=60)
def test_every_image_stands_in_one_fold_and_every_fold_is_used(cohort, seed):
    labels, patients, folds = cohort
    assigned = assign_folds(labels, patients, folds, seed)
    assert assigned.shape == labels.shape
    assert set(assigned) == set(folds)


@given(cohorts(), SEEDS)
@settings(max_examples=60)
def test_no_patient_stands_in_two_folds(cohort, seed):
    labels, patients, folds = cohort
    assigned = assign_folds(labels, patients, folds, seed)
    for patient in set(patients):
        assert len(set(assigned[patients == patient])) == 1


@given(cohorts(), SEEDS)
@settings(max_examples=60)
def test_classes_are_spread_evenly(cohort, seed):
    labels, patients, folds = cohort
    assigned = assign_folds(labels, patients, folds, seed)
    for label in set(labels):
        counts = [np.sum((labels == label) & (assigned == fold)) for fold in folds]
        largest = max(np.sum(patients == patient) for patient in patients[labels == label])
        assert min(counts) > 0
        assert max(counts) - min(counts) <= largest


@given(cohorts(), SEEDS)
@settings(max_examples=20)
def test_the_same_seed_deals_the_same_folds(cohort, seed):
    labels, patients, folds = cohort
    first, second = (assign_folds(labels, patients, folds, seed) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_another_seed_deals_other_folds():
    labels, patients = np.repeat([0, 1], 30), np.repeat(np.arange(20), 3)
    first, second = (assign_folds(labels, patients, [0, 1, 2, 3], seed) for seed in (0, 1))
    assert (first != second).any()


def test_patients_of_equal_size_are_dealt_equally():
    labels, patients = np.repeat([0] * 20 + [1] * 80, 3), np.repeat(np.arange(100), 3)
    assigned = assign_folds(labels, patients, [0, 1, 2, 3], seed=0)
    for fold in range(4):
        assert np.bincount(labels[assigned == fold]).tolist() == [15, 60]
