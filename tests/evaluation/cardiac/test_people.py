import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from components.evaluation.cardiac.fold import Answers, Classification, Fold
from components.evaluation.cardiac.people import People, gain, score_people

SLICES = 3
LABELS = np.array([0, 0, 0, 1, 1, 1, 1])


def fold_of(number, answers, labels=LABELS):
    """A fold whose people have slices of their own; `answers` by network and set: a chance of 1 for every slice."""
    return Fold(
        fold=number,
        replicate=0,
        origin="0" * 64,
        classes=("no", "yes"),
        counts={},
        drawn={},
        people=[f"{number}-{person}" for person in np.repeat(np.arange(len(labels)), SLICES)],
        external_people=[],
        selection="fitness",
        shipped=("resnet50", "none"),
        classifications=[
            Classification(
                network=network,
                training_set=name,
                fold=number,
                ratio=0,
                images=10,
                labels=np.repeat(labels, SLICES),
                probabilities=[(1 - each, each) for each in chances],
                external={"labels": [], "probabilities": []},
            )
            for network, name, chances in answers
        ],
        points=[],
    )


def with_external(fold, seeds, labels):
    """The same fold with external people `e0`, `e1` …, of two slices each, in an order of the images of its own."""
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(labels)), 2))
    answers = [np.random.default_rng(seed).random(len(order)) for seed in seeds]
    results = [
        each.model_copy(
            update={"external": Answers(labels=labels[order], probabilities=[(1 - p, p) for p in given])},
        )
        for each, given in zip(fold.classifications, answers, strict=True)
    ]
    people = [f"e{person}" for person in order]
    means = [np.array([given[order == person].mean() for person in range(len(labels))]) for given in answers]
    return fold.model_copy(update={"classifications": tuple(results), "external_people": tuple(people)}), means


def chances(seed):
    return np.random.default_rng(seed).random(len(LABELS) * SLICES)


def test_people_are_scored_by_the_mean_over_their_slices():
    given = [chances(0), chances(1)]
    folds = [People.of(fold_of(number, [("resnet50", "none", each)])) for number, each in enumerate(given)]
    means = [each.reshape(-1, SLICES).mean(axis=1) for each in given]
    for score, expected in (
        ("auc", [roc_auc_score(LABELS, each) for each in means]),
        ("accuracy", [accuracy_score(LABELS, each > 0.5) for each in means]),
        ("balanced_accuracy", [balanced_accuracy_score(LABELS, each > 0.5) for each in means]),
    ):
        assert score_people(folds, score)["resnet50"]["none"] == pytest.approx(np.mean(expected))


def test_slices_of_a_person_are_found_wherever_they_stand():
    fold = fold_of(0, [("resnet50", "none", chances(0))])
    order = np.random.default_rng(1).permutation(len(fold.people))
    result = fold.classifications[0]
    mixed = result.model_copy(
        update={
            "labels": tuple(np.array(result.labels)[order]),
            "probabilities": tuple(np.array(result.probabilities)[order]),
        }
    )
    shuffled = fold.model_copy(update={"people": tuple(np.array(fold.people)[order]), "classifications": (mixed,)})
    assert score_people([People.of(fold)], "auc") == score_people([People.of(shuffled)], "auc")


def test_a_gain_is_the_mean_over_networks_and_folds_of_the_difference():
    sets = [("resnet50", "none", 0), ("resnet50", "egan", 1), ("xception", "none", 2), ("xception", "egan", 3)]
    folds = [
        People.of(fold_of(fold, [(network, name, chances(10 * fold + seed)) for network, name, seed in sets]))
        for fold in range(3)
    ]
    found = score_people(folds, "auc")
    expected = np.mean([found[network]["egan"] - found[network]["none"] for network in found])
    assert gain(folds, "egan", "none", "auc").estimate == pytest.approx(expected)


def test_a_networks_results_on_one_set_are_its_trainings():
    folds = [
        People.of(fold_of(0, [("resnet50", name, chances(seed)) for name in ("none", "egan") for seed in seeds]))
        for seeds in ((0, 1, 2), (3, 4, 5))
    ]
    assert gain(folds, "egan", "none", "auc").scope == "this recipe"


def test_external_people_are_paired_over_all_folds_and_replicates():
    labels = np.array([0, 0, 0, 1, 1, 1])
    pairs = [("resnet50", "none"), ("resnet50", "egan")]
    folds, means = [], []
    for number in (0, 1, 0, 1):  # two replicates of two folds
        fold = fold_of(number, [(*pair, chances(0)) for pair in pairs])
        found, mean = with_external(fold, (10 * len(folds), 10 * len(folds) + 1), labels)
        folds, means = [*folds, found], [*means, mean]
    external = People.external(folds)
    areas = np.array([[roc_auc_score(labels, each) for each in pair] for pair in means])
    found = score_people([external], "auc")["resnet50"]
    assert [found["none"], found["egan"]] == pytest.approx(areas.mean(axis=0))
    change = gain([external], "egan", "none", "auc")
    assert change.estimate == pytest.approx((areas[:, 1] - areas[:, 0]).mean())
    assert change.replicates == 2
    assert external.parts == 2 and external.answers["resnet50"]["none"].shape == (4, 6, 2)


def test_without_external_people_there_are_none():
    assert People.external([fold_of(0, [("resnet50", "none", chances(0))])]) is None


def test_a_fold_without_one_class_is_left_out_of_auc_alone():
    whole = fold_of(0, [("resnet50", "none", chances(0)), ("resnet50", "egan", chances(1))])
    half = fold_of(1, [("resnet50", "none", chances(2)), ("resnet50", "egan", chances(3))], labels=np.ones(7, int))
    both, one = [People.of(each) for each in (whole, half)], [People.of(whole)]
    assert gain(both, "egan", "none", "auc") == gain(one, "egan", "none", "auc")
    assert gain(both, "egan", "none", "accuracy") != gain(one, "egan", "none", "accuracy")
    assert score_people([People.of(half)], "auc")["resnet50"]["none"] is None
