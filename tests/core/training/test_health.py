"""Vital signs: what they are, and when they are believed."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.core.training import (
    DISTANCE,
    DIVERSITY,
    GENERATOR_GRADIENT,
    LEVEL,
    MARGIN,
    SATURATION,
    SHARPNESS,
    WINDOW,
    Health,
    Look,
    vital_signs,
)

HEALTHY = {DIVERSITY: 0.9, SHARPNESS: 1.1, LEVEL: 0.1, SATURATION: 0.0, MARGIN: 0.5, GENERATOR_GRADIENT: 0.1}

REAL = torch.empty(8, 1, 8, 8).uniform_(-0.9, 0.9, generator=torch.Generator().manual_seed(0))


def signs(fake, real=REAL, **others):
    return {name: value.item() for name, value in vital_signs([Look(real, fake, **others)]).items()}


def diagnoses(*rows):
    health = Health()
    return [health.diagnose(row) for row in rows]


class TestSigns:
    def test_of_real_images_are_those_of_the_best_generator(self):
        assert signs(REAL.flip(0)) == pytest.approx({DIVERSITY: 1, SHARPNESS: 1, LEVEL: 0, SATURATION: 0}, abs=1e-6)

    def test_one_crisp_image_again_and_again_has_no_diversity_but_is_sharp(self):
        found = signs(REAL[:1].expand_as(REAL))
        assert found[DIVERSITY] == 0
        assert found[SHARPNESS] > 0.8

    def test_a_blur_has_diversity_but_no_sharpness(self):
        found = signs(torch.linspace(-0.9, 0.9, 8).view(8, 1, 1, 1).expand_as(REAL))
        assert found[SHARPNESS] == 0
        assert found[DIVERSITY] > 0.8

    def test_white_images_are_saturated_and_too_bright(self):
        found = signs(torch.ones_like(REAL))
        assert found[SATURATION] == 1
        assert found[LEVEL] == pytest.approx(1, abs=0.1)

    def test_images_made_from_others_are_held_against_those(self):
        faint = REAL / 4
        found = signs(faint, given=faint)
        assert (found[DIVERSITY], found[SHARPNESS], found[DISTANCE]) == pytest.approx((1, 1, 0))
        assert signs(faint + 0.2, given=faint)[DISTANCE] == pytest.approx(0.2)

    def test_colours_are_as_far_from_the_grey_they_were_made_from_as_their_mean(self):
        colour = torch.cat([REAL + 0.3, REAL, REAL - 0.3], dim=1)
        assert signs(colour, real=colour, given=REAL)[DISTANCE] == pytest.approx(0, abs=1e-6)

    def test_the_margin_is_the_difference_of_the_mean_probabilities(self):
        logits = torch.tensor([100.0, 0.0]), torch.tensor([-100.0, -100.0])
        assert signs(REAL, real_logits=logits[0], fake_logits=logits[1])[MARGIN] == pytest.approx(0.75)

    def test_several_looks_are_one_of_all_their_images(self):
        apart = vital_signs([Look(REAL[:3], REAL[:3] / 2), Look(REAL[3:], REAL[3:] / 2)])
        assert {name: value.item() for name, value in apart.items()} == pytest.approx(signs(REAL / 2))


BAD = [
    (DIVERSITY, 0.03, "lost its diversity (3%"),
    (SHARPNESS, 0.03, "lost their sharpness (3%"),
    (LEVEL, 1.2, "brightness is off (1.20"),
    (SATURATION, 0.9, "saturated (90%"),
    (DISTANCE, 0.7, "left what they were made from (0.70"),
    (MARGIN, 0.99, "wins outright"),
    (GENERATOR_GRADIENT, 0.0, "nothing reaches the generator"),
]


class TestDiagnosis:
    @pytest.mark.parametrize(("sign", "value", "words"), BAD)
    def test_a_sign_is_believed_after_a_whole_window(self, sign, value, words):
        found = diagnoses(*[HEALTHY | {sign: value}] * (WINDOW + 1))
        assert found[: WINDOW - 1] == [""] * (WINDOW - 1)
        assert words in found[WINDOW - 1] and words in found[WINDOW]

    def test_a_training_that_comes_back_is_well_again(self):
        bad, good = HEALTHY | {DIVERSITY: 0.0}, HEALTHY
        found = diagnoses(*[bad] * WINDOW, *[good] * WINDOW)
        assert found[WINDOW - 1] and not found[-1]

    @given(st.lists(st.tuples(st.floats(0.25, 2), st.floats(0.1, 9), st.floats(-1, 0.98)), max_size=2 * WINDOW))
    def test_a_healthy_training_is_never_accused(self, rows):
        assert not any(diagnoses(*(dict(zip((DIVERSITY, SHARPNESS, MARGIN), row, strict=True)) for row in rows)))

    def test_what_was_never_well_has_half_of_the_training_to_become_so(self):
        health = Health(steps=1000)
        found = [health.diagnose({"step": step, SHARPNESS: 0.0}) for step in range(1, 1001)]
        assert not any(found[:500]) and all(found[500:])

    def test_what_was_well_is_watched_at_once(self):
        health = Health(steps=1000)
        rows = [{"step": step, SHARPNESS: float(step < 30)} for step in range(1, 100)]
        assert health.diagnose(rows[-1]) == "" and any(health.diagnose(row) for row in rows)

    def test_a_training_without_the_signs_is_left_alone(self):
        assert not any(diagnoses(*[{"loss": 0.0}] * (2 * WINDOW)))

    def test_where_images_are_held_to_others_a_discriminator_may_win(self):
        assert not any(diagnoses(*[HEALTHY | {MARGIN: 1.0, DISTANCE: 0.1}] * (2 * WINDOW)))

    def test_steps_without_a_sign_are_no_looks(self):
        found = diagnoses(*[{DIVERSITY: 0.0}, *[{"loss": math.pi}] * 9] * WINDOW)
        assert not any(found[: 10 * WINDOW - 10]) and found[-1]
