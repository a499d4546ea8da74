import pytest

from components.evaluation.cardiac.fold import Classification, Fold
from components.evaluation.cardiac.scores import accuracy, auc, balanced_accuracy, majority, score


def answers_of(labels, patient_probabilities, network="resnet50", training_set="none", fold=0):
    return Classification(
        network=network,
        training_set=training_set,
        fold=fold,
        ratio=0,
        images=10,
        labels=labels,
        probabilities=[(1 - each, each) for each in patient_probabilities],
        external={"labels": [], "probabilities": []},
    )


def fold_of(number, classifications, replicate=0):
    labels = classifications[0].labels
    counts = {"no": labels.count(0), "yes": labels.count(1)}
    return Fold(
        fold=number,
        replicate=replicate,
        origin="0" * 64,
        classes=("no", "yes"),
        counts={"training": {"no": 2, "yes": 8}, "test": counts},
        drawn={},
        people=[str(index) for index in range(len(labels))],
        external_people=[],
        selection="fitness",
        shipped=("resnet50", "none"),
        classifications=classifications,
        points=[],
    )


def test_scores_equal_hand_computed_values():
    result = answers_of((0, 0, 1, 1, 1), (0.2, 0.7, 0.9, 0.6, 0.4))
    assert accuracy(result) == pytest.approx(3 / 5)
    assert balanced_accuracy(result) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert auc(result) == pytest.approx(4 / 6)  # of 6 pairs, (0.7, 0.6) and (0.7, 0.4) stand the wrong way round


def test_auc_of_a_test_part_with_one_class_is_undefined():
    assert auc(answers_of((1, 1), (0.9, 0.2))) is None


def test_balanced_accuracy_averages_over_the_classes_present():
    assert balanced_accuracy(answers_of((1, 1), (0.9, 0.2))) == pytest.approx(0.5)


def test_majority_answers_the_training_parts_commonest_class():
    assert majority(fold_of(0, [answers_of((0, 0, 0, 1), (0.1, 0.1, 0.1, 0.1))])) == pytest.approx(1 / 4)


def test_a_folds_score_is_the_mean_over_its_trainings():
    answers = {(0, 0): (0.9, 0.9), (0, 1): (0.9, 0.1), (1, 0): (0.1, 0.9), (1, 1): (0.9, 0.1)}  # right: 1, 0, 2, 0 of 2
    folds = [fold_of(fold, [answers_of((0, 1), given)], number) for (fold, number), given in answers.items()]
    found = score(folds)
    assert found.accuracy["resnet50"]["none"].values == pytest.approx((0.25, 0.5))
    assert found.majority.values == (0.5, 0.5)


def test_confusion_is_summed_over_folds():
    folds = [fold_of(number, [answers_of((0, 1, 1), (0.9, 0.9, 0.2))]) for number in (0, 1)]
    assert score(folds).confusion["resnet50"]["none"] == [[0, 2], [2, 2]]
