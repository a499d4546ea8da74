import numpy as np

from components.evaluation.quality.probe import separability, taught


def two_classes(people, gap, seed=0, slices=2):
    random = np.random.default_rng(seed)
    labels, names = np.repeat(np.arange(people) % 2, slices), np.repeat(np.arange(people), slices)
    return random.normal(0, 1, (people * slices, 20)) + gap * labels[:, None], labels, names


def test_classes_that_differ_are_told_apart_and_those_that_do_not_are_not():
    assert separability(*two_classes(40, gap=2)) > 0.95
    assert abs(np.mean([separability(*two_classes(40, gap=0, seed=seed)) for seed in range(20)]) - 0.5) < 0.07


def test_somebodys_other_slice_gives_no_class_away():
    """With labels at random, features that only say who it is are worth nothing."""
    random = np.random.default_rng(0)
    names = np.repeat(np.arange(60), 4)
    found = [
        separability(random.normal(size=(60, 30))[names], random.integers(0, 2, 60)[names], names) for _ in range(10)
    ]
    assert abs(np.mean(found) - 0.5) < 0.07


def test_a_class_of_one_person_leaves_it_open():
    features, labels, _ = two_classes(10, gap=1)
    assert separability(features, labels, labels) is None


def test_what_was_learned_from_swapped_labels_is_wrong_on_real_people():
    features, labels, _ = two_classes(40, gap=2)
    asked = two_classes(20, gap=2, seed=1)
    assert taught(features, labels, *asked) > 0.95
    assert taught(features, 1 - labels, *asked) < 0.05


def test_an_absent_class_leaves_it_open():
    features, labels, _ = two_classes(10, gap=1)
    assert taught(features, np.zeros_like(labels), *two_classes(10, gap=1)) is None
    assert taught(features, labels, features, np.ones_like(labels), labels) is None
