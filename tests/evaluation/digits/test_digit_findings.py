import pytest

from components.evaluation.digits.findings import Advantage, primary, verdict
from components.evaluation.statistics import Difference, of_parts, of_trainings


def found(diversity, quality, replicates=1):
    """Advantages of (difference, standard error)."""
    pairs = zip(("complex", "simple"), (diversity, quality), strict=True)
    return {name: Advantage(Difference(*each, 9, replicates), 1.55) for name, each in pairs}


def test_an_advantage_in_both_is_a_yes_with_its_size():
    assert verdict(found((3.0, 0.1), (1.0, 0.25))) == (
        "Yes: of these models, DCGAN is ahead of the plain GAN in diversity (+3.00) and in quality (+1.00)."
    )


@pytest.mark.parametrize(
    ("replicates", "scope"), [(1, "of these models"), (2, "of these models"), (3, "by this recipe")]
)
def test_the_verdict_says_whom_it_is_about(replicates, scope):
    assert verdict(found((3.0, 0.1), (1.0, 0.25), replicates)).startswith(f"Yes: {scope}, DCGAN is ahead of")


@pytest.mark.parametrize(
    ("diversity", "quality", "sentence"),
    [
        (
            (1, 0.1),
            (0.1, 0.1),
            "In part: of these models, DCGAN is ahead of the plain GAN in diversity (+1.00); in quality, no difference "
            "is shown.",
        ),
        (
            (-1, 0.1),
            (1, 0.1),
            "In part: of these models, DCGAN is behind the plain GAN in diversity (−1.00) and ahead of it in quality "
            "(+1.00).",
        ),
        (
            (0, 0.1),
            (-1, 0.1),
            "No: of these models, DCGAN is behind the plain GAN in quality (−1.00); in diversity, no difference is "
            "shown.",
        ),
        (
            (0.2, 0.1),
            (-0.2, 0.1),
            "Not shown: of these models, DCGAN may differ from the plain GAN in diversity and in quality by chance "
            "alone.",
        ),
    ],
)
def test_anything_else_is_said_as_it_is(diversity, quality, sentence):
    assert verdict(found(diversity, quality)) == sentence


def test_without_a_deviation_the_question_is_open():
    alone = {name: Advantage(of_parts([1.0]), 1.55) for name in ("complex", "simple")}
    assert verdict(alone).startswith("Open:")
    assert primary(alone)["interval"] == [None, None]


def test_all_digits_decide():
    told = primary(found((3.0, 0.1), (1.0, 0.25)))
    assert (told["comparison"], told["metric"], told["estimate"]) == ("dcgan - gan", "inception_score/complex", 3.0)
    assert told["interval"][0] < 3 < told["interval"][1]


def test_trainings_that_scatter_hide_what_their_images_parts_would_show():
    parts, trainings = of_parts([1.0, 1.1, 0.9]), of_trainings([1.0, -0.9, 2.9])
    assert [each.answer() for each in (parts, trainings)] == ["yes", "not shown"]
