"""The Inception Score of images, from what a concept network answers about them (Liu et al. 2021, section IV)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.evaluation.summary import Summary, summarise


@dataclass(frozen=True)
class InceptionScore:
    """An Inception Score and what it is made of; each a value a part, with mean and sample standard deviation.

    Of several generators together each is a value a generator, the mean over its parts.

    Attributes:
        score: exp(H(y) − H(y|x)), between 1 and the number of concepts.
        marginal_entropy: H(y), in nats: high where the images spread evenly over the concepts.
        conditional_entropy: H(y|x), in nats: low where the network is sure of each image.
    """

    score: Summary
    marginal_entropy: Summary
    conditional_entropy: Summary

    @classmethod
    def together(cls, several: "Sequence[InceptionScore]") -> "InceptionScore":
        """Over several generators."""
        return cls(
            summarise(each.score.mean for each in several),
            summarise(each.marginal_entropy.mean for each in several),
            summarise(each.conditional_entropy.mean for each in several),
        )


def inception_score(probabilities: np.ndarray, parts: int) -> InceptionScore:
    """Equations 12 and 13, part by part: ln IS = H(y) − H(y|x).

    The images are dealt out to the parts in turn, like cards; where their number is not divisible, some parts have
    one more than others. A part's H(y), and with it its score, is biased downwards, by about (n − 1) / (2 × images
    of the part) in ln IS: compare scores only over parts of one size.

    Everything is computed in NumPy's longest floating point and rounded once to float64, so that the closed forms
    come out exactly: n for answers that are certain and evenly spread, 1 for answers that are all the same.

    Args:
        probabilities: p(y|x), (N, n); rows sum to 1.
        parts: at most N.

    Raises:
        ValueError: there are fewer images than parts.
    """
    if not 1 <= parts <= len(probabilities):
        raise ValueError(f"{len(probabilities)} images cannot be dealt out to {parts} parts")
    answers = probabilities.astype(np.longdouble)
    dealt = [answers[first::parts] for first in range(parts)]
    marginal = [_entropy(part.mean(axis=0)) for part in dealt]
    conditional = [_entropy(part).mean() for part in dealt]
    return InceptionScore(
        score=summarise(float(np.exp(high - low)) for high, low in zip(marginal, conditional, strict=True)),
        marginal_entropy=summarise(map(float, marginal)),
        conditional_entropy=summarise(map(float, conditional)),
    )


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """−Σ p ln p over the last axis, in nats; 0 ln 0 is 0."""
    logarithms = np.log(np.where(probabilities > 0, probabilities, 1))
    return -(probabilities * logarithms).sum(axis=-1)
