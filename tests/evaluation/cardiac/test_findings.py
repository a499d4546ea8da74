import math

import pytest

from components.evaluation.cardiac.findings import (
    CONTROL,
    METRIC,
    OTHERS,
    PRIMARY,
    Comparison,
    Findings,
    answer,
    best,
    verdict,
)
from components.evaluation.cardiac.people import SHARES
from components.evaluation.cardiac.scores import Scores
from components.evaluation.statistics import Difference
from components.evaluation.summary import summarise

MAJORITY = 0.8


def comparison_of(estimate, error=0.01, replicates=3, pair=PRIMARY, p=None):
    change = Difference(estimate, error, math.inf, replicates)
    return Comparison(*pair, dict.fromkeys(SHARES, change), change.p if p is None else p, 0.05)


def findings_of(comparison, control=None, external=False, top=0.8):
    areas = {METRIC: {"resnet50": dict.fromkeys(("none", "classic", "egan"), 0.7) | {"simgan": top}, "xception": {}}}
    return Findings(
        primary=comparison,
        control=control,
        others=[],
        out_of_fold=comparison_of(0.02) if external else None,
        people=240 if external else 40,
        folds=4,
        scores=areas,
        external=areas if external else {},
        areas={},
        ratio={},
    )


def scores_of(none, egan, simgan, folds=2):
    """Scores of one network whose classic set equals `none`; values are lists over folds."""
    table = {"resnet50": {"none": none, "classic": none, "egan": egan, "simgan": simgan}}
    accuracy = {network: {name: summarise(each) for name, each in sets.items()} for network, sets in table.items()}
    return Scores(accuracy, accuracy, accuracy, summarise([MAJORITY] * folds), {}, {}, {}, {})


SCORES = scores_of([0.7, 0.7], [0.7, 0.7], [0.8, 0.8])


@pytest.mark.parametrize(
    ("estimate", "replicates", "words"),
    [
        (0.05, 3, "Yes: this recipe did better with SimGAN images than with classic augmentation."),
        (0.05, 1, "Yes: these models did"),
        (-0.05, 3, "No: this recipe did worse"),
        (0.01, 3, "No worse: with SimGAN images this recipe lost less than 0.03 of AUC"),
        (-0.015, 3, "Not shown: in this recipe, the difference between SimGAN images and classic augmentation"),
    ],
)
def test_the_verdict_is_the_intervals(estimate, replicates, words):
    assert verdict(comparison_of(estimate, replicates=replicates)).startswith(words)


def test_one_training_leaves_the_question_open():
    comparison = comparison_of(0.5, error=math.inf)
    assert verdict(comparison).startswith("Open: one training alone")
    assert comparison.as_json()["interval"] == [None, None]
    assert "95 % interval –;" in answer(findings_of(comparison), SCORES)[0]


def test_other_comparisons_answer_by_the_adjusted_p_and_know_no_margin():
    assert comparison_of(0.05, pair=OTHERS[0], p=0.06).answer == "not shown"
    assert comparison_of(0.01, pair=OTHERS[0]).answer == "not shown"


def test_where_there_are_external_people_they_decide_and_the_folds_stand_beside():
    sentence = answer(findings_of(comparison_of(0.01), external=True), SCORES)[0]
    assert "240 external people, ResNet-50 and Xception, 3 trainings of each fold." in sentence
    assert sentence.endswith("In the folds’ own test people: +0.020, +0.000 to +0.040.")


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (0.08, "so a gain like that would have been seen."),
        (0.01, "could not have seen what a perfect generator gains."),
    ],
)
def test_the_control_says_whether_a_gain_would_have_been_seen(estimate, words):
    control = comparison_of(estimate, pair=CONTROL)
    sentences = answer(findings_of(comparison_of(0.01), control=control), SCORES)
    assert sentences[2].startswith("Control: ") and sentences[2].endswith(words)
    assert not any(each.startswith("Control: ") for each in answer(findings_of(comparison_of(0.01)), SCORES))


def test_the_answer_gives_the_interval_and_whom_it_is_over():
    sentence = answer(findings_of(comparison_of(0.01)), SCORES)[0]
    assert "by +0.010, 95 % interval −0.010 to +0.030; 40 people in 4 folds" in sentence
    assert "ResNet-50 and Xception, 3 trainings each" in sentence


def test_beside_what_is_not_shown_stands_what_could_have_been():
    could, proved = (answer(findings_of(comparison_of(each)), SCORES)[1] for each in (-0.015, 0.05))
    assert could == (
        "A true change of 0.03 or more would have been found in four of five runs. "
        "A loss of more than 0.03 is not ruled out."
    )
    assert proved == "A loss of more than 0.03 is ruled out."


def test_an_interval_ends_where_differences_do():
    few = comparison_of(0.1, error=1.0)
    assert few.as_json()["interval"] == [-1, 1]
    assert answer(findings_of(few), SCORES)[1].startswith("So few people and trainings can show no change at all.")


@pytest.mark.parametrize(
    ("top", "words"),
    [(0.8, "exactly what always answering"), (0.78, "2.0 points below"), (0.85, "5.0 points above")],
)
def test_the_best_is_held_against_the_majority_line(top, words):
    scores = scores_of([0.7, 0.7], [0.7, 0.7], [top, top])
    assert words in answer(findings_of(comparison_of(0.01)), scores)[2]


def test_accuracy_breaks_a_tie_of_areas():
    found = best(findings_of(comparison_of(0.01), top=0.7), scores_of([0.7], [0.8], [0.75], folds=1))
    assert (found.training_set, found.area) == ("egan", 0.7)


def test_the_best_is_none_of_the_controls():
    findings = findings_of(comparison_of(0.01))
    findings.scores[METRIC]["resnet50"]["oracle"] = 0.99
    assert best(findings, SCORES).training_set == "simgan"
