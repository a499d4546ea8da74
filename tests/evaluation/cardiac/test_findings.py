import pytest

from components.evaluation.cardiac.findings import answer, best, verdict
from components.evaluation.cardiac.scores import Scores
from components.evaluation.summary import summarise

MAJORITY = 0.8


def scores_of(none, egan, simgan, balanced=None, folds=2):
    """Scores of one network whose classic set equals `none`; values are lists over folds."""
    table = {"resnet50": {"none": none, "classic": none, "egan": egan, "simgan": simgan}}
    accuracy = {network: {name: summarise(each) for name, each in sets.items()} for network, sets in table.items()}
    other = {"resnet50": {name: summarise(each) for name, each in balanced.items()}} if balanced else accuracy
    return Scores(accuracy, other, other, summarise([MAJORITY] * folds), {}, {}, {})


def test_a_gain_beyond_one_deviation_in_both_accuracies_is_a_yes():
    assert verdict(scores_of([0.70, 0.72], [0.75, 0.77], [0.78, 0.81])).startswith("Yes: SimGAN")


def test_a_gain_within_one_deviation_is_not_shown():
    assert verdict(scores_of([0.70, 0.80], [0.78, 0.74], [0.69, 0.80])).startswith("Not shown: the change by E-GAN")


def test_equal_numbers_are_a_no():
    flat = [MAJORITY, MAJORITY]
    assert verdict(scores_of(flat, flat, flat)).startswith("No:")


def test_a_gain_in_accuracy_alone_is_named_so():
    flat = {name: [0.5, 0.5] for name in ("none", "classic", "egan", "simgan")}
    assert verdict(scores_of([0.70, 0.72], [0.75, 0.77], [0.78, 0.80], flat)).startswith("Only accuracy")


def test_one_fold_leaves_the_question_open():
    scores = scores_of([0.7], [0.8], [0.9], folds=1)
    assert verdict(scores).startswith("Open")
    assert "one fold" in answer(scores)[0]


@pytest.mark.parametrize(
    ("top", "words"),
    [(0.8, "exactly what always answering"), (0.78, "2.0 points below"), (0.85, "5.0 points above")],
)
def test_the_best_is_held_against_the_majority_line(top, words):
    assert words in answer(scores_of([0.7, 0.7], [0.7, 0.7], [top, top]))[1]


def test_balanced_accuracy_breaks_a_tie():
    balanced = {"none": [0.5], "classic": [0.5], "egan": [0.7], "simgan": [0.6]}
    assert best(scores_of([0.8], [0.8], [0.8], balanced, folds=1)).training_set == "egan"
