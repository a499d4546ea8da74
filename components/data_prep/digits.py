"""A folder of handwritten digits in MNIST's four files: images and labels of a training and of a test part."""

from pathlib import Path

import numpy as np

from components.core.images import NO_FOLD, TEST_FOLD, ImageSet
from components.data_prep.idx import Kind, read_idx
from components.data_prep.problems import Problems, Unusable

SOURCE = "source.txt"
"""Says in words what the digits are; a folder of the user's need not hold it."""

UNNAMED = "MNIST-format idx files"

TRAIN, TEST = "train", "t10k"

CLASSES = tuple("0123456789")


def file_name(part: str, kind: Kind) -> str:
    """What MNIST calls a file; `.gz` follows where it is compressed."""
    return f"{part}-{kind.words}-idx{kind.dimensions}-ubyte"


def read_digits(raw: Path) -> ImageSet:
    """Read the four files: images (N, 1, H, W) uint8, the training part first; the test part is that of fold 0.

    Raises:
        UserError: one line for everything in the folder that cannot be used.
    """
    problems = Problems()
    train_images, train_labels = _read_part(raw, TRAIN, problems)
    test_images, test_labels = _read_part(raw, TEST, problems)
    if train_images is not None and test_images is not None and train_images.shape[1:] != test_images.shape[1:]:
        sizes = f"{_size(test_images)} pixels, those of the training part of {_size(train_images)}"
        problems.add(file_name(TEST, Kind.IMAGES), f"its images are of {sizes}")
    problems.stop(raw)

    labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
    source = raw / SOURCE
    return ImageSet(
        images=np.concatenate([train_images, test_images])[:, np.newaxis],
        labels=labels,
        classes=CLASSES,
        groups=np.full(len(labels), ""),
        folds=np.repeat([NO_FOLD, TEST_FOLD], [len(train_labels), len(test_labels)]),
        source=source.read_text().strip() if source.is_file() else UNNAMED,
    )


def _read_part(raw: Path, part: str, problems: Problems) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Images (N, H, W) and labels (N,) of a part; None, and a note in `problems`, for what cannot be used."""
    images_file, labels_file = (problems.attempt(file_name(part, kind), _find, raw, part, kind) for kind in Kind)
    images = problems.attempt(images_file.name, read_idx, images_file, Kind.IMAGES) if images_file else None
    labels = problems.attempt(labels_file.name, _read_labels, labels_file, images) if labels_file else None
    return images, labels


def _find(raw: Path, part: str, kind: Kind) -> Path:
    """A file of a part, under its own name or the one with a dot that some mirrors give it."""
    name = file_name(part, kind)
    names = (each + suffix for each in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz"))
    found = [raw / each for each in names if (raw / each).is_file()]
    if not found:
        raise Unusable("there is no such file, neither plain nor as .gz")
    kept, *spare = found
    if spare:
        raise Unusable(f"is there more than once; keep {kept.name}, remove {', '.join(path.name for path in spare)}")
    return kept


def _read_labels(path: Path, images: np.ndarray | None) -> np.ndarray:
    """Read labels and hold them against the images they belong to, where those could be read.

    Raises:
        Unusable: as `read_idx`; a label that is no digit; a digit that no label names; more or fewer than images.
    """
    labels = read_idx(path, Kind.LABELS)
    if images is not None and len(labels) != len(images):
        raise Unusable(f"holds {len(labels)} labels for {len(images)} images")
    if labels.max() >= len(CLASSES):
        first = int(np.argmax(labels >= len(CLASSES)))
        raise Unusable(f"label {labels[first]} at position {first} is none of the digits 0 to 9")
    if missing := [name for digit, name in enumerate(CLASSES) if digit not in labels]:
        raise Unusable(f"labels no image as {' or '.join(missing)}; every digit is needed")
    return labels


def _size(images: np.ndarray) -> str:
    return "×".join(map(str, images.shape[1:]))
