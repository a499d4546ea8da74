"""The paper's question, answered in words from the numbers: does HCEGAN colour better than pix2pix?"""

from collections.abc import Mapping

from components.evaluation.colour.scores import METRICS, Metric, Scores
from components.evaluation.colour.trainings import VARIANTS
from components.evaluation.page import fixed, percent, plus_minus, signed
from components.evaluation.summary import Summary

CLEAR = 2
"""A difference of fewer standard deviations is not called one."""

AHEAD, LEVEL, BEHIND = "ahead of", "level with", "behind"

COLOURFUL = (0.4, 1.5)
"""Mean colourfulness of renderings that is neither sepia nor garish, over the originals'."""


def deviations(gain: Summary) -> float | None:
    """A gain in standard deviations over the replicates; None where there is no deviation."""
    return gain.mean / gain.std if gain.std else None


def standing(gain: Summary) -> str:
    """Where the one stands that has gained; ahead or behind by more than chance, else level."""
    if abs(gain.mean) <= CLEAR * gain.std:
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
    if any(deviations(gain) is None for gain in gains.values()):
        psnr, ssim = gains["psnr"].mean, gains["ssim"].mean
        return (
            f"Open: HCEGAN differs from pix2pix by {signed(psnr)} dB of PSNR and {signed(100 * ssim)} % of SSIM, but "
            "without a deviation over several replicates that cannot be told from chance."
        )
    standings = {metric: standing(gain) for metric, gain in gains.items()}
    places = " and ".join(
        f"{standings[metric]} {whom} in {METRICS[metric]} ({_rounded(abs(deviations(gain)))}{unit})"
        for (metric, gain), whom, unit in zip(
            gains.items(), ("pix2pix", "it"), (" standard deviations", ""), strict=True
        )
    )
    met = [place == AHEAD for place in standings.values()]
    return f"{'Yes' if all(met) else 'In part' if any(met) else 'No'}: HCEGAN is {places}."


def _against_grey(scores: Scores) -> str:
    psnr = scores.fidelity["psnr"]
    above = sum(psnr.summary(variant).mean > psnr.grey.mean() for variant in VARIANTS)
    count = (
        "No variant is" if not above else "One variant is" if above == 1 else f"{above} of {len(VARIANTS)} variants are"
    )
    return f"{count} above plain grey in PSNR."


def _rounded(count: float) -> str:
    return f"{count:.{0 if count >= 10 else 1}f}"
