"""Which generated images contradict their label, and what is done with them."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from components.core.images import ImageSet
from components.gan_training.fidelity import FEW, Count, Jury

RUN = SimpleNamespace(seed=0)
"""All that a jury takes of a run."""

SMALL, LARGE = range(2)

REDRAWS = 4


def discs(random: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """(N, 1, 32, 32), whose radii overlap a little between the classes."""
    radii = np.where(labels == LARGE, 0.33, 0.2) + random.normal(0, 0.02, len(labels))
    rows, columns = np.mgrid[:32, :32] / 32 - 0.5
    centres = random.normal(0, 0.03, (2, len(labels), 1, 1))
    inside = np.hypot(rows - centres[0], columns - centres[1]) < radii[:, None, None]
    return (np.where(inside, 0.5, -0.5) + random.normal(0, 0.1, inside.shape)).astype(np.float32)[:, None]


def people(labels: np.ndarray, seed: int = 0) -> ImageSet:
    """One image of each."""
    return ImageSet(
        images=discs(np.random.default_rng(seed), labels),
        labels=labels,
        classes=("small", "large"),
        groups=np.arange(len(labels)).astype(np.str_),
        folds=np.zeros(len(labels), dtype=np.int64),
    )


def drawing(share: float) -> Callable[[int, int], np.ndarray]:
    """Draws large discs, but a small one with a chance of `share`."""

    def draw(count: int, time: int) -> np.ndarray:
        random = np.random.default_rng([7, time])
        return discs(random, np.where(random.random(count) < share, SMALL, LARGE))

    return draw


def is_large(images: np.ndarray) -> np.ndarray:
    return (images > 0).mean(axis=(1, 2, 3)) > 0.22


@pytest.fixture(scope="module")
def jury() -> Jury:
    return Jury(people(np.arange(40) % 2), RUN)


def test_images_of_the_other_class_are_drawn_again(jury: Jury) -> None:
    images, count = jury.choose(drawing(0.4), LARGE, 60, REDRAWS)
    wrong = (~is_large(drawing(0.4)(60, 0))).sum()
    assert 15 < wrong <= count.contradicting < count.drawn - 50
    assert (~is_large(images)).sum() <= 2
    assert count.drawn - count.contradicting + count.left == 60
    assert (jury.typicality(images, LARGE) <= FEW).sum() == count.left


def test_what_does_not_contradict_stays_as_it_was_drawn(jury: Jury) -> None:
    images, count = jury.choose(drawing(0.0), LARGE, 60, REDRAWS)
    kept = (images == drawing(0.0)(60, 0)).all(axis=(1, 2, 3))
    assert kept.sum() >= 60 * (1 - 2.5 * FEW)
    assert count.drawn <= 60 / (1 - 2.5 * FEW) and count.left == 0


def test_a_generator_of_the_other_class_alone_comes_to_an_end_and_is_told(jury: Jury) -> None:
    _, count = jury.choose(drawing(1.0), LARGE, 20, REDRAWS)
    assert count == Count(drawn=20 * (1 + REDRAWS), contradicting=20 * (1 + REDRAWS), left=20)


def test_where_classes_look_alike_next_to_nothing_contradicts() -> None:
    alike = people(np.full(40, LARGE))
    jury = Jury(replace(alike, labels=np.arange(40) % 2), RUN)
    for label in (SMALL, LARGE):
        _, count = jury.choose(drawing(0.0), label, 100, REDRAWS)
        assert count.contradicting <= 2.5 * FEW * count.drawn


def test_real_images_of_other_people_are_as_typical_as_those_of_training(jury: Jury) -> None:
    others = people(np.arange(200) % 2, seed=1)
    for label in (SMALL, LARGE):
        typical = jury.typicality(others.images[others.labels == label], label)
        assert np.mean(typical) == pytest.approx(0.5, abs=0.15)
        assert (typical <= FEW).mean() < 2.5 * FEW


def test_one_person_of_a_class_contradicts_nobody() -> None:
    jury = Jury(people(np.array([SMALL, LARGE, LARGE, LARGE])), RUN)
    _, count = jury.choose(drawing(0.5), LARGE, 10, REDRAWS)
    assert count == Count(drawn=10, contradicting=0, left=0)


def test_people_are_unseen_with_all_their_images() -> None:
    """Else a network that knows a person by heart would set the scale."""
    labels = np.arange(12) % 2
    real = people(labels)
    pairs = real.where(np.repeat(np.arange(12), 2))
    jury = Jury(pairs, RUN)
    assert sum(len(juror.labels) for juror in jury._jurors) == 24
    assert all(len(juror.labels) % 2 == 0 for juror in jury._jurors)
