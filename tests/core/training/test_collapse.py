import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.core.training import DIVERSITY, MARGIN, WINDOW, CollapseWatch, vital_signs

HEALTHY = {DIVERSITY: 0.9, MARGIN: 0.5}


def diagnoses(*rows):
    watch = CollapseWatch()
    return [watch.diagnose(row) for row in rows]


def test_a_batch_as_diverse_as_the_real_one_has_ratio_1_and_a_single_image_0():
    real = torch.randn(8, 1, 4, 4)
    logits = torch.zeros(8)
    assert vital_signs(real, real.flip(0), logits, logits)[DIVERSITY].item() == pytest.approx(1)
    assert vital_signs(real, real[:1].expand(8, -1, -1, -1), logits, logits)[DIVERSITY].item() == 0


def test_the_margin_is_the_difference_of_the_mean_probabilities():
    images = torch.randn(2, 1, 4, 4)
    signs = vital_signs(images, images, torch.tensor([100.0, 0.0]), torch.tensor([-100.0, -100.0]))
    assert signs[MARGIN].item() == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("sign", "value", "words"), [(DIVERSITY, 0.03, "lost its diversity (3%"), (MARGIN, 0.99, "wins outright")]
)
def test_a_sign_is_believed_after_a_whole_window(sign, value, words):
    found = diagnoses(*[HEALTHY | {sign: value}] * (WINDOW + 1))
    assert found[: WINDOW - 1] == [""] * (WINDOW - 1)
    assert words in found[WINDOW - 1] and words in found[WINDOW]


def test_a_training_that_comes_back_is_well_again():
    bad, good = HEALTHY | {DIVERSITY: 0.0}, HEALTHY
    found = diagnoses(*[bad] * WINDOW, *[good] * WINDOW)
    assert found[WINDOW - 1] and not found[-1]


@given(st.lists(st.tuples(st.floats(0.25, 2), st.floats(-1, 0.98)), max_size=2 * WINDOW))
def test_a_healthy_training_is_never_accused(signs):
    assert not any(diagnoses(*({DIVERSITY: ratio, MARGIN: margin} for ratio, margin in signs)))


def test_a_training_without_the_signs_is_left_alone():
    assert not any(diagnoses(*[{"loss": 0.0}] * (2 * WINDOW)))
