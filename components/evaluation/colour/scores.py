"""What the variants' renderings score on the test photographs, and by how much one variant is ahead of another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from components.evaluation.colour.colourfulness import colourfulness
from components.evaluation.colour.fidelity import psnr, ssim
from components.evaluation.colour.params import Variant
from components.evaluation.colour.sources import Pictures
from components.evaluation.colour.stability import Stability, stability
from components.evaluation.colour.trainings import VARIANTS
from components.evaluation.histories import History
from components.evaluation.summary import Summary, summarise

Metric = Literal["psnr", "ssim"]

METRICS: dict[Metric, str] = {"psnr": "PSNR", "ssim": "SSIM"}


@dataclass(frozen=True)
class Measured:
    """One metric on M test photographs.

    Attributes:
        variants: (R, M) for R replicates, by variant.
        grey: (M,), of the grey value copied to three channels.
    """

    variants: Mapping[Variant, np.ndarray]
    grey: np.ndarray

    def summary(self, variant: Variant) -> Summary:
        """Over the replicates, each the mean over the photographs."""
        return summarise(self.variants[variant].mean(axis=1).tolist())

    @property
    def best(self) -> Variant:
        """The variant with the highest mean."""
        return max(VARIANTS, key=lambda variant: self.summary(variant).mean)

    def image_std(self, variant: Variant) -> float:
        """Standard deviation over the photographs, mean over the replicates."""
        return float(_std(self.variants[variant]).mean())

    def gain(self, variant: Variant, over: Variant) -> Summary:
        """What a variant is ahead of another, paired by photograph and replicate; over the replicates."""
        return summarise((self.variants[variant] - self.variants[over]).mean(axis=1).tolist())

    def share_better(self, variant: Variant, over: Variant) -> float:
        """Of the renderings, those that are nearer to the original than the other variant's of the same number."""
        return float((self.variants[variant] > self.variants[over]).mean())


@dataclass(frozen=True)
class Scores:
    """Everything that is measured on one data set, or on several together.

    Attributes:
        fidelity: by metric.
        colourfulness: of the renderings, (R, M) by variant.
        original_colourfulness: of the originals, (M,).
        histories: of the trainings, by variant.
    """

    fidelity: Mapping[Metric, Measured]
    colourfulness: Mapping[Variant, np.ndarray]
    original_colourfulness: np.ndarray
    histories: Mapping[Variant, Sequence[History]]

    @classmethod
    def measure(cls, pictures: Pictures, histories: Mapping[Variant, Sequence[History]]) -> "Scores":
        """Score every rendering."""
        rendered = pictures.rendered.items()

        def measured(metric: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Measured:
            return Measured(
                {variant: np.stack([metric(pictures.originals, each) for each in sets]) for variant, sets in rendered},
                metric(pictures.originals, pictures.grey),
            )

        return cls(
            fidelity={"psnr": measured(psnr), "ssim": measured(ssim)},
            colourfulness={variant: np.stack(list(map(colourfulness, sets))) for variant, sets in rendered},
            original_colourfulness=colourfulness(pictures.originals),
            histories=histories,
        )

    @classmethod
    def together(cls, several: "Iterable[Scores]") -> "Scores":
        """Data sets as one: every photograph counts alike."""
        several = list(several)

        def joined(parts: Iterable[Mapping[Variant, np.ndarray]]) -> dict[Variant, np.ndarray]:
            parts = list(parts)
            return {variant: np.concatenate([part[variant] for part in parts], axis=1) for variant in VARIANTS}

        return cls(
            fidelity={
                metric: Measured(
                    joined(each.fidelity[metric].variants for each in several),
                    np.concatenate([each.fidelity[metric].grey for each in several]),
                )
                for metric in METRICS
            },
            colourfulness=joined(each.colourfulness for each in several),
            original_colourfulness=np.concatenate([each.original_colourfulness for each in several]),
            histories={variant: [each for one in several for each in one.histories[variant]] for variant in VARIANTS},
        )

    @property
    def replicates(self) -> int:
        return len(self.colourfulness[VARIANTS[0]])

    @property
    def images(self) -> int:
        return len(self.original_colourfulness)

    @property
    def steps(self) -> int:
        """Length of a training."""
        return len(self.histories[VARIANTS[0]][0]["step"])

    @cached_property
    def stability(self) -> dict[Variant, Stability]:
        """By variant."""
        measured = self.fidelity["psnr"]
        return {variant: stability(measured.summary(variant).values, self.histories[variant]) for variant in VARIANTS}

    def colour_share(self, variant: Variant) -> float:
        """A variant's mean colourfulness over the originals'."""
        return float(self.colourfulness[variant].mean() / self.original_colourfulness.mean())


def _std(values: np.ndarray) -> np.ndarray:
    """Over the last axis; 0 where it holds one value."""
    return values.std(axis=-1, ddof=1) if values.shape[-1] > 1 else np.zeros(values.shape[:-1])
