import numpy as np
import pytest

from components.evaluation.colour.findings import colour_judgement, verdict
from components.evaluation.colour.scores import Measured, Scores
from components.evaluation.colour.trainings import VARIANTS


def verdict_of(psnr, ssim, grey=30):
    """The verdict on HCEGAN's gains by replicate; all others have 20 dB."""

    def measured(gains, grey):
        base = np.full((len(gains), 1), 20.0)
        return Measured(
            dict.fromkeys(VARIANTS, base) | {"hcegan": base + np.array(gains)[:, None]}, np.array([float(grey)])
        )

    return verdict(Scores({"psnr": measured(psnr, grey), "ssim": measured(ssim, grey)}, {}, np.zeros(1), {}))


def test_an_advantage_in_both_is_a_yes_with_its_size():
    # Student's t of 2 degrees of freedom is 4.303 at 97.5 %, the deviations are 0.1 dB, 1.53 % and 1 %.
    assert verdict_of([1, 1.1, 1.2], [0.01, 0.02, 0.04]).startswith(
        "In part: HCEGAN is ahead of pix2pix in PSNR (+1.10 ± 0.25 dB) and level with it in SSIM (+2.33 ± 3.79 %). "
    )
    assert verdict_of([1, 1.1, 1.2], [0.02, 0.03, 0.04]).startswith(
        "Yes: HCEGAN is ahead of pix2pix in PSNR (+1.10 ± 0.25 dB) and ahead of it in SSIM (+3.00 ± 2.48 %). "
    )


def test_a_disadvantage_is_a_no():
    assert verdict_of([-1, -1.1], [0, 0.1]).startswith("No: HCEGAN is behind pix2pix in PSNR (−1.05 ± 0.64 dB)")


def test_one_replicate_leaves_the_question_open():
    assert verdict_of([1], [0.01]).startswith("Open: HCEGAN differs from pix2pix by +1.00 dB of PSNR and +1.00 % of")


@pytest.mark.parametrize(
    ("grey", "sentence"),
    [
        (30, "No variant is above plain grey in PSNR."),
        (10, "7 of 7 variants are above plain grey in PSNR."),
        (20.5, "One variant is above plain grey in PSNR."),
    ],
)
def test_grey_is_always_in_the_verdict(grey, sentence):
    assert verdict_of([1, 1.1], [0, 0.1], grey).endswith(sentence)


def test_brown_and_garish_are_told_from_colour():
    assert [colour_judgement(share) for share in (0.39, 0.4, 1.5, 1.51)] == [
        "sepia",
        "colours, not sepia",
        "colours, not sepia",
        "garish",
    ]
