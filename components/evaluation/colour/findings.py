"""The paper's question, answered in words from the numbers: does HCEGAN colour better than pix2pix?"""

import math
from collections.abc import Mapping

from scipy import stats

from components.evaluation.colour.scores import Metric, Scores
from components.evaluation.colour.trainings import VARIANTS
from components.evaluation.page import fixed, percent, plus_minus, signed
from components.evaluation.summary import Summary

CONFIDENCE = 0.95
"""Of the interval around a gain over the replicates; a gain whose interval holds 0 is not called one."""

AHEAD, LEVEL, BEHIND = "ahead of", "level with", "behind"

COLOURFUL = (0.4, 1.5)
"""Mean colourfulness of renderings that is neither sepia nor garish, over the originals'."""


def margin(gain: Summary) -> float:
    """Half the width of Student's interval around a gain over two replicates or more."""
    count = len(gain.values)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * gain.std / math.sqrt(count)


def standing(gain: Summary) -> str:
    """Where the one stands that has gained; ahead or behind by more than chance, else level."""
    if abs(gain.mean) <= margin(gain):
        return LEVEL
    return AHEAD if gain.mean > 0 else BEHIND


def verdict(scores: Scores) -> str:
    """One sentence: is HCEGAN better than pix2pix, and is anything better than grey?"""
    gains = {metric: measured.gain("hcegan", "pix2pix") for metric, measured in scores.fidelity.items()}
    return f"{_comparison(gains)} {_against_grey(scores)}"


def answer(scores: Scores) -> list[str]:
    """The verdict's numbers, then what they are worth."""
    psnr = scores.fidelity["psnr"]
    hcegan, pix2pix = (plus_minus(psnr.summary(each), "fixed") for each in ("hcegan", "pix2pix"))
    gain, share = psnr.gain("hcegan", "pix2pix").mean, scores.colour_share("hcegan")
    return [
        f"On {scores.images} test photographs HCEGAN reaches {hcegan} dB, pix2pix {pix2pix} dB, a difference of "
        f"{signed(gain)} dB; HCEGAN’s is the nearer one of {percent(psnr.share_better('hcegan', 'pix2pix'))} % of the "
        "pairs of renderings.",
        f"Grey is the strong baseline: copied to three channels it has {fixed(psnr.grey.mean())} dB, and no colour at "
        f"all. HCEGAN’s pictures are {fixed(share)} times as colourful as the originals: {colour_judgement(share)}.",
    ]


def colour_judgement(share: float) -> str:
    """Whether renderings are as colourful as photographs are."""
    low, high = COLOURFUL
    return "sepia" if share < low else "garish" if share > high else "colours, not sepia"


def _comparison(gains: Mapping[Metric, Summary]) -> str:
    psnr, ssim = gains["psnr"], gains["ssim"]
    if len(psnr.values) == 1:
        return (
            f"Open: HCEGAN differs from pix2pix by {signed(psnr.mean)} dB of PSNR and {signed(100 * ssim.mean)} % of "
            "SSIM, but from one replicate that cannot be told from chance."
        )
    places = (
        f"{standing(psnr)} pix2pix in PSNR ({signed(psnr.mean)} ± {margin(psnr):.2f} dB) and "
        f"{standing(ssim)} it in SSIM ({signed(100 * ssim.mean)} ± {100 * margin(ssim):.2f} %)"
    )
    met = [standing(gain) == AHEAD for gain in gains.values()]
    return f"{'Yes' if all(met) else 'In part' if any(met) else 'No'}: HCEGAN is {places}."


def _against_grey(scores: Scores) -> str:
    psnr = scores.fidelity["psnr"]
    above = sum(psnr.summary(variant).mean > psnr.grey.mean() for variant in VARIANTS)
    count = (
        "No variant is" if not above else "One variant is" if above == 1 else f"{above} of {len(VARIANTS)} variants are"
    )
    return f"{count} above plain grey in PSNR."
