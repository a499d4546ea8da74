"""Generated images measured against real ones: everything in this room, of one fold.

The real images are people's, in two parts: those trained on, and *held-out* people whom nothing here has seen. What is
compared as two samples (kernel distances) is compared with held-out people, since what repeats the training people
would look best against these; what is a plain mean over images (spread, sharpness, spectrum), and what asks whether
all kinds of real images are there (density, coverage), with the training people, of whom there are more. The held-out
people's own figures stand beside the generated ones' as what real images get.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from components.core.images import ImageSet
from components.core.training import Judge
from components.evaluation.quality.answers import ask
from components.evaluation.quality.appearance import gradient_energy, spectral_distance, spread
from components.evaluation.quality.copies import (
    FLIPS,
    Distances,
    Nearest,
    feature_distances,
    near_copies,
    nearest_person,
    pixel_distances,
    usual_share,
)
from components.evaluation.quality.coverage import density_and_coverage
from components.evaluation.quality.features import Scale, random_convolutions
from components.evaluation.quality.kernel import Estimate, kernel_distance
from components.evaluation.quality.probe import separability, taught

REAL = "real"
"""The kind of held-out people's images."""

JUDGE, RANDOM = FEATURES = ("judge", "random")
"""Kinds of features: those of a network trained on the real training people, and of one that learned nothing."""

PIXELS = "pixels"
"""In which copies are looked for beside the judge's features."""

BATCH_SIZE = 100
PARTS = 3
"""As many parts of the generated images as this, each as large as the real training part, are probed at most."""


class Record(BaseModel):
    """A JSON object; frozen."""

    model_config = ConfigDict(frozen=True)


class Measures(Record):
    """One class's images of one kind, or all; None where there are too few people to say.

    Attributes:
        diversity, sharpness: spread over the images and gradient energy, over the real training images'.
        spectrum: distance of the power spectrum from the real training images', dB.
        kernel_distance: by features, from the held-out people; of real images, the training people's.
        density, coverage: by features.
        fidelity: share that the judge calls by their label.
        belief: mean probability that it gives their label.
    """

    diversity: float | None
    sharpness: float | None
    spectrum: float | None
    kernel_distance: dict[str, Estimate]
    density: dict[str, float | None]
    coverage: dict[str, float | None]
    fidelity: float | None
    belief: float | None


class Kind(Record):
    """Images of one kind.

    Attributes:
        every: of all classes together.
        classes: of each, in their order.
        classes_apart: how well a linear probe tells the classes apart, AUC; of real images, the training people's.
        real_apart: how well one tells the images from real ones.
        taught: how well one that learned from as many images as there are real ones tells held-out people apart.
        near_copies: share by `PIXELS` and `JUDGE`; of real images, what is usual where nobody is copied.
        pictured: of the nearest pairs that are pictured, the ratio of distances.
    """

    every: Measures
    classes: tuple[Measures, ...]
    classes_apart: float | None
    real_apart: float | None
    taught: float | None
    near_copies: dict[str, float]
    pictured: tuple[float, ...]


class Quality(Record):
    """A fold's.

    Attributes:
        kinds: `REAL` first.
        changes: by features, of kernel distance from the first generated kind to the second, which was made from it
            image by image.
    """

    kinds: dict[str, Kind]
    changes: dict[str, Estimate]


@dataclass(frozen=True)
class Seen:
    """N images, and what is seen in them.

    Attributes:
        images: (N, C, H, W) float32 in [-1, 1].
        people: (N,) whom they show; generated images each stand for themselves.
        probabilities: the judge's, (N, classes).
        features: by kind of features, (N, F), scaled.
    """

    images: np.ndarray
    labels: np.ndarray
    people: np.ndarray
    probabilities: np.ndarray
    features: Mapping[str, np.ndarray]

    def where(self, chosen: np.ndarray) -> "Seen":
        return Seen(
            self.images[chosen],
            self.labels[chosen],
            self.people[chosen],
            self.probabilities[chosen],
            {name: each[chosen] for name, each in self.features.items()},
        )


def measure(
    judge: Judge, training: ImageSet, held_out: ImageSet, made: Mapping[str, ImageSet], pictured: int
) -> tuple[Quality, np.ndarray]:
    """Measure generated images of one fold.

    Args:
        judge: trained on `training`.
        training, held_out: real images in [-1, 1], of different people; one of each part at least.
        made: generated images by kind; where there are two, the second's are made from the first's, in their order.
        pictured: of each kind, nearest pairs in the picture, at most.

    Returns:
        The measures, and the pairs: (kinds, 2, k, C, H, W), images over their nearest training images, nearest first.
    """
    sets = {"training": training, REAL: held_out, **made}
    answers = {name: ask(judge, _floats(each), BATCH_SIZE) for name, each in sets.items()}
    features = {
        JUDGE: {name: each.features.double().numpy() for name, each in answers.items()},
        RANDOM: {name: random_convolutions(_floats(each)) for name, each in sets.items()},
    }
    scales = {kind: Scale.of(each["training"]) for kind, each in features.items()}
    seen = {
        name: Seen(
            _floats(each),
            each.labels,
            each.groups if name in ("training", REAL) else np.array([f"{name} {n}" for n in range(len(each))]),
            answers[name].probabilities,
            {kind: scales[kind](features[kind][name]) for kind in FEATURES},
        )
        for name, each in sets.items()
    }
    trained, unseen = seen.pop("training"), seen[REAL]
    distances = {
        name: {
            PIXELS: pixel_distances(each.images, trained.images),
            JUDGE: feature_distances(each.features[JUDGE], trained.features[JUDGE]),
        }
        for name, each in seen.items()
    }
    near = {
        name: {space: nearest_person(found.values, trained.people) for space, found in spaces.items()}
        for name, spaces in distances.items()
    }
    count = min(pictured, *(len(each.images) for each in seen.values()))
    pairs = [_pairs(each, trained, distances[name][PIXELS], near[name][PIXELS], count) for name, each in seen.items()]
    kinds = {
        name: Kind(
            every=_measures(trained, unseen, each, name),
            classes=tuple(
                _measures(*(one.where(one.labels == label) for one in (trained, unseen, each)), name)
                for label in range(len(training.classes))
            ),
            **_probes(trained, unseen, each, name),
            near_copies={
                space: usual_share(len(unseen.images))
                if name == REAL
                else near_copies(found.ratios, near[REAL][space].ratios)
                for space, found in near[name].items()
            },
            pictured=tuple(np.sort(near[name][PIXELS].ratios)[:count].tolist()),
        )
        for name, each in seen.items()
    }
    return Quality(kinds=kinds, changes=_changes(unseen, [seen[name] for name in made])), np.array(pairs)


def _measures(trained: Seen, unseen: Seen, each: Seen, kind: str) -> Measures:
    """One class's; where a part has no image of it, nothing is known."""
    if not min(len(trained.images), len(unseen.images), len(each.images)):
        nothing = dict.fromkeys(FEATURES)
        unknown = dict.fromkeys(FEATURES, Estimate.unknown())
        return Measures(
            **dict.fromkeys(("diversity", "sharpness", "spectrum", "fidelity", "belief")),
            kernel_distance=unknown,
            density=nothing,
            coverage=nothing,
        )
    spreads = spread(each.images, each.people), spread(trained.images, trained.people)
    energy = gradient_energy(trained.images)
    compared = trained if kind == REAL else each
    covered = {
        name: density_and_coverage(trained.features[name], each.features[name], trained.people, len(unseen.images))
        for name in FEATURES
    }
    belief = each.probabilities[np.arange(len(each.labels)), each.labels]
    return Measures(
        diversity=spreads[0] / spreads[1] if None not in spreads and spreads[1] else None,
        sharpness=gradient_energy(each.images) / energy if energy else None,
        spectrum=spectral_distance(trained.images, each.images),
        kernel_distance={
            name: kernel_distance(
                unseen.features[name], compared.features[name], unseen.people, compared.people
            ).summary()
            for name in FEATURES
        },
        density={name: found and found.density for name, found in covered.items()},
        coverage={name: found and found.coverage for name, found in covered.items()},
        fidelity=float((each.probabilities.argmax(axis=1) == each.labels).mean()),
        belief=float(belief.mean()),
    )


def _probes(trained: Seen, unseen: Seen, each: Seen, kind: str) -> dict[str, float | None]:
    """Linear probes of features that know no class; where images are generated, means over parts of them."""
    parts = [trained] if kind == REAL else [each.where(chosen) for chosen in _dealt(each.labels, trained.labels)]
    found = [
        {
            "classes_apart": separability(part.features[RANDOM], part.labels, part.people),
            "real_apart": None
            if kind == REAL
            else separability(
                np.concatenate([trained.features[RANDOM], part.features[RANDOM]]),
                np.repeat([0, 1], [len(trained.labels), len(part.labels)]),
                np.concatenate([trained.people, part.people]),
            ),
            "taught": taught(part.features[RANDOM], part.labels, unseen.features[RANDOM], unseen.labels, unseen.people),
        }
        for part in parts
    ]
    return {
        name: None if any(each[name] is None for each in found) else float(np.mean([each[name] for each in found]))
        for name in found[0]
    }


def _dealt(labels: np.ndarray, like: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of disjoint parts with as many images of each class as `like` has, or with all there are."""
    members = {label: np.flatnonzero(labels == label) for label in np.unique(like)}
    counts = {label: int((like == label).sum()) for label in members}
    parts = min(PARTS, *(len(members[label]) // count for label, count in counts.items()))
    for part in range(max(1, parts)):
        yield np.concatenate([members[label][part * count :][:count] for label, count in counts.items()])


def _changes(unseen: Seen, made: list[Seen]) -> dict[str, Estimate]:
    if len(made) < 2:
        return {}
    distances = {
        name: [kernel_distance(unseen.features[name], each.features[name], unseen.people) for each in made]
        for name in FEATURES
    }
    return {name: (after - before).summary() for name, (before, after) in distances.items()}


def _pairs(each: Seen, trained: Seen, distances: Distances, near: Nearest, count: int) -> np.ndarray:
    """The nearest of all pairs, (2, k, C, H, W); the training images are flipped as they were compared."""
    worst = np.argsort(near.ratios, kind="stable")[:count]
    originals = [
        np.flip(trained.images[near.indices[index]], FLIPS[distances.flips[index, near.indices[index]]])
        for index in worst
    ]
    return np.stack([each.images[worst], originals])


def _floats(images: ImageSet) -> np.ndarray:
    """In [-1, 1]; uint8 levels are scaled."""
    levels = np.array(images.images)
    return (levels / 127.5 - 1).astype(np.float32) if levels.dtype == np.uint8 else levels
