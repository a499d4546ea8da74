import pytest

from components.evaluation.digits.findings import Advantage, verdict


def verdict_of(diversity, quality):
    """The verdict on differences given as (difference, deviation)."""
    return verdict({"complex": Advantage(*diversity, 1.55), "simple": Advantage(*quality, 2.02)})


def test_an_advantage_in_both_is_a_yes_with_its_size():
    assert verdict_of((3.0, 0.1), (1.0, 0.25)) == (
        "Yes: DCGAN is ahead of the plain GAN, by 30 standard deviations in diversity and 4.0 in quality."
    )


@pytest.mark.parametrize(
    ("diversity", "quality", "sentence"),
    [
        ((1, 0.1), (0.1, 0.1), "In part: DCGAN is ahead of the plain GAN in diversity, and level with it in quality."),
        ((-1, 0.1), (1, 0.1), "In part: DCGAN is behind the plain GAN in diversity, and ahead of it in quality."),
        ((0, 0.1), (-1, 0.1), "No: DCGAN is level with the plain GAN in diversity, and behind it in quality."),
    ],
)
def test_anything_else_is_said_as_it_is(diversity, quality, sentence):
    assert verdict_of(diversity, quality) == sentence


def test_a_difference_of_two_deviations_is_not_called_one():
    assert verdict_of((0.2, 0.1), (-0.2, 0.1)).startswith("No: DCGAN is level with")


def test_without_a_deviation_the_question_is_open():
    assert verdict_of((1, 0), (1, 0)).startswith("Open:")
