"""Hearts that no training is needed for: rings of several sizes, thick in one class, two slices a person."""

import numpy as np
import pytest

from components.core.images import ImageSet

CLASSES = ("thin", "thick")


@pytest.fixture(scope="session")
def hearts():
    """Make an ImageSet of `people` people, 32 × 32 pixels; another seed, other people of the same kind."""

    def make(people: int, seed: int, size: int = 32) -> ImageSet:
        random = np.random.default_rng(seed)
        rows, columns = np.mgrid[:size, :size] / size - 0.5
        images, labels = [], []
        for person in range(people):
            label = person % 2
            radius, wall = random.uniform(0.18, 0.26), (0.06, 0.12)[label] * random.uniform(0.8, 1.2)
            light, dark, (top, left) = random.uniform(0.5, 0.9), random.uniform(-0.9, -0.5), random.normal(0, 0.03, 2)
            for slice_radius in (radius, 0.93 * radius):
                distance = np.hypot(rows - top, (columns - left) * 1.2)
                ring = 1 / (1 + np.exp(-(np.abs(distance - slice_radius) - wall / 2) * 2 * size))
                image = dark + (light - dark) * ring * (0.6 + 0.4 * (distance < slice_radius))
                images.append(image + random.normal(0, 0.04, image.shape))
                labels.append(label)
        return ImageSet(
            images=np.clip(images, -1, 1).astype(np.float32)[:, None],
            labels=np.array(labels),
            classes=CLASSES,
            groups=np.array([f"{seed}-{person:03d}" for person in range(people) for _ in range(2)]),
            folds=np.zeros(2 * people, dtype=np.int64),
        )

    return make
