"""One experiment judged: what its concept network, and the nearest training images, say of each generator."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from components.classification.concept import ConceptNetwork
from components.core.images import TEST_FOLD, ImageSet, as_levels
from components.core.training import device
from components.evaluation.digits.distances import frechet_distance, kernel_distance
from components.evaluation.digits.histogram import Histogram
from components.evaluation.digits.inception_score import InceptionScore, inception_score
from components.evaluation.digits.neighbours import Memorisation, nearest
from components.evaluation.digits.params import EvaluateDigitsParams
from components.evaluation.digits.trainings import Network
from components.evaluation.quality.answers import Answers, ask
from components.evaluation.summary import Summary, summarise


@dataclass(frozen=True)
class Distance:
    """How far images are from the real held-out ones, in the concept network's features.

    Attributes:
        frechet: one value a generator.
        kernel: over the parts of one generator's images, or over several generators.
    """

    frechet: Summary
    kernel: Summary

    def as_json(self) -> dict[str, Any]:
        return {"frechet": self.frechet.mean, "kernel": asdict(self.kernel)}


@dataclass(frozen=True)
class Drawings:
    """What one generator draws, or several that differ in their seed.

    Attributes:
        images: (N, C, H, W) uint8, the first generator's.
        neighbours: (k · s, C, H, W) uint8, training images: the nearest of each of the first s, then the second, ….
        nearest: distances of some of every generator's images to the nearest training image.
        score: over the parts of one generator's images, or over several generators.
        replicates: number of generators.
    """

    images: np.ndarray
    neighbours: np.ndarray
    nearest: np.ndarray
    score: InceptionScore
    distance: Distance
    histogram: Histogram
    memorisation: Memorisation
    replicates: int = 1

    @classmethod
    def together(cls, several: "Sequence[Drawings]", unseen: np.ndarray) -> "Drawings":
        """Of several generators: means, over the generators where there is a deviation; one stays what it is.

        Args:
            unseen: distances of held-out images to the nearest training image.
        """
        first = several[0]
        if len(several) == 1:
            return first
        nearest = np.concatenate([each.nearest for each in several])
        return cls(
            images=first.images,
            neighbours=first.neighbours,
            nearest=nearest,
            score=InceptionScore.together([each.score for each in several]),
            distance=Distance(
                summarise(each.distance.frechet.mean for each in several),
                summarise(each.distance.kernel.mean for each in several),
            ),
            histogram=Histogram.together([each.histogram for each in several]),
            memorisation=Memorisation.of(nearest, unseen),
            replicates=len(several),
        )


@dataclass(frozen=True)
class Judgement:
    """Both networks' generators of one experiment, and the real images beside them.

    Attributes:
        concepts: names of what the concept network tells apart.
        accuracy: the concept network's on the held-out images.
        ceiling: score of the real held-out images.
        floor: distance of real training images from the held-out ones.
        nearest: distances of held-out images to the nearest training image.
        held_out, training: number of images.
    """

    concepts: tuple[str, ...]
    accuracy: float
    ceiling: InceptionScore
    floor: Distance
    nearest: np.ndarray
    held_out: int
    training: int
    drawings: Mapping[Network, Drawings]

    @property
    def replicates(self) -> int:
        """Generators of each network."""
        return next(iter(self.drawings.values())).replicates


def draw(generator: nn.Module, count: int, batch_size: int) -> np.ndarray:
    """Images (count, C, H, W) as a person would save them: in 256 levels, uint8."""
    generator = generator.to(device())
    with torch.no_grad():
        noise = torch.randn(count, generator.latent_dim).to(device())
        images = torch.cat([generator(part) for part in noise.split(batch_size)])
    return as_levels(images.cpu().numpy())


def judge(
    real: ImageSet,
    concept: ConceptNetwork,
    drawn: Mapping[Network, Sequence[np.ndarray]],
    params: EvaluateDigitsParams,
) -> Judgement:
    """Judge what the generators of one experiment drew.

    The held-out images are scored over parts as large as the generated ones', so that the bias of a score is the same;
    where they do not fill several, over a single one.

    Args:
        real: the experiment's images; what `TEST_FOLD` does not hold out, the generators were trained on.
        concept: tells the classes of `real` apart.
        drawn: by network, (N, C, H, W) uint8 of each of its generators.
    """
    training, held_out = real.training(TEST_FOLD), real.test(TEST_FOLD)
    seen = ask(concept, held_out.images, params.batch_size)
    known = ask(concept, _some(training.images, params.images), params.batch_size)
    unseen = nearest(_some(held_out.images, params.compared_images), training.images, 1).distances[:, 0]

    def distance(answers: Answers) -> Distance:
        return Distance(
            summarise([frechet_distance(seen.features, answers.features)]),
            kernel_distance(seen.features, answers.features, params.parts),
        )

    def drawings(images: np.ndarray) -> Drawings:
        answers = ask(concept, images, params.batch_size)
        found = nearest(images[: params.compared_images], training.images, params.neighbours)
        return Drawings(
            images=images,
            neighbours=training.images[found.indices[: params.shown_images].T.ravel()],
            nearest=found.distances[:, 0],
            score=inception_score(answers.probabilities, params.parts),
            distance=distance(answers),
            histogram=Histogram.of(real.classes, answers.probabilities, seen.probabilities),
            memorisation=Memorisation.of(found.distances[:, 0], unseen),
        )

    return Judgement(
        concepts=real.classes,
        accuracy=float((seen.probabilities.argmax(axis=1) == held_out.labels).mean()),
        ceiling=inception_score(seen.probabilities, max(1, len(held_out) * params.parts // params.images)),
        floor=distance(known),
        nearest=unseen,
        held_out=len(held_out),
        training=len(training),
        drawings={
            network: Drawings.together([drawings(images) for images in sets], unseen) for network, sets in drawn.items()
        },
    )


def recognised(network: ConceptNetwork, images: np.ndarray, concept: int, batch_size: int) -> float:
    """Share of images that a concept network takes for one concept."""
    return float((ask(network, images, batch_size).probabilities.argmax(axis=1) == concept).mean())


def _some(images: np.ndarray, count: int) -> np.ndarray:
    """At most `count` images, spread evenly over all."""
    return images[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]
