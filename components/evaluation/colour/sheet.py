"""The comparison sheet: test photographs in grey, in their own colours, and in every variant's."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components.evaluation.colour.params import Variant
from components.evaluation.colour.scores import Scores
from components.evaluation.colour.sources import Pictures


@dataclass(frozen=True)
class Row:
    """One test photograph; pictures are (3, s, s) uint8.

    Attributes:
        name: its file's, in words.
        rank: "best", "worst" or "".
        psnr: of the rendering shown, by variant.
        grey_psnr: of the grey picture.
    """

    name: str
    rank: str
    grey: np.ndarray
    original: np.ndarray
    rendered: Mapping[Variant, np.ndarray]
    psnr: Mapping[Variant, float]
    grey_psnr: float


def sheet(pictures: Pictures, scores: Scores, count: int, size: int) -> list[Row]:
    """`count` photographs from HCEGAN's best to its worst, by PSNR (mean over the replicates), at even ranks.

    Renderings are the first replicate's; pictures are scaled down to `size` where they are larger.
    """
    psnr = scores.fidelity["psnr"]
    ranked = np.argsort(-psnr.variants["hcegan"].mean(axis=0), kind="stable")
    chosen = ranked[np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)]
    ranks = {chosen[-1]: "worst", chosen[0]: "best"}
    return [
        Row(
            name=Path(pictures.names[index]).stem.replace("_", " "),
            rank=ranks.get(index, ""),
            grey=_shrunk(pictures.grey[index], size),
            original=_shrunk(pictures.originals[index], size),
            rendered={variant: _shrunk(sets[0][index], size) for variant, sets in pictures.rendered.items()},
            psnr={variant: float(values[0, index]) for variant, values in psnr.variants.items()},
            grey_psnr=float(psnr.grey[index]),
        )
        for index in chosen
    ]


def _shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    if picture.shape[-1] <= size:
        return picture
    shrunk = Image.fromarray(picture.transpose(1, 2, 0)).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(shrunk).transpose(2, 0, 1)
