"""Images on disk with their labels, groups and folds: what flows between steps."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from components.core.errors import UserError

IMAGES, META = "images.npy", "meta.json"
"""A set's two files."""

NO_FOLD = -1

EXTERNAL = -2
"""Stands in place of a fold: test images that no fold has, on which nothing is trained or chosen."""

RESERVE = -3
"""Stands in place of a fold: further people of a simulated cohort, on whom nothing but a control is trained."""

ALL = "all"
"""What all classes together are called where one can be chosen."""

TEST_FOLD = 0
"""The fold of a set that comes with a test part of its own; the rest, in no fold, is for training."""


@dataclass(frozen=True)
class ImageSet:
    """N images of one shape; every per-image array has N entries.

    Attributes:
        images: (N, C, H, W), float32 in [-1, 1] or uint8 in [0, 255]; memory-mapped after `load`.
        labels: (N,) int64 indices into `classes`.
        classes: names of the classes, in the order of their indices.
        groups: (N,) names; images of one group (a patient) must never be separated by a split.
        folds: (N,) int64, the fold in whose test part an image stands, `NO_FOLD` for none, `EXTERNAL` or
            `RESERVE` for what belongs to no fold's training part either.
        origin: digest of the training part that all images descend from; "" for acquired images.
        source: what acquired images are, in words, where a report must say it.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray
    folds: np.ndarray
    origin: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        counts = {len(self.images), len(self.labels), len(self.groups), len(self.folds)}
        if self.images.ndim != 4 or len(counts) != 1:
            raise ValueError(f"images of shape {self.images.shape} do not fit per-image arrays of {counts}")

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def generated(cls, images: np.ndarray, label: int, classes: tuple[str, ...], origin: str) -> "ImageSet":
        """A set of generated images (N, C, H, W) of one class: no group, no fold."""
        count = len(images)
        return cls(
            images=images,
            labels=np.full(count, label, dtype=np.int64),
            classes=classes,
            groups=np.full(count, ""),
            folds=np.full(count, NO_FOLD, dtype=np.int64),
            origin=origin,
        )

    @classmethod
    def concatenate(cls, sets: "list[ImageSet]") -> "ImageSet":
        """All images of `sets`, in order; classes and origin must agree."""
        first = sets[0]
        if any((each.classes, each.origin) != (first.classes, first.origin) for each in sets):
            raise ValueError("image sets of different classes or origin cannot be joined")
        return replace(
            first,
            images=np.concatenate([each.images for each in sets]),
            labels=np.concatenate([each.labels for each in sets]),
            groups=np.concatenate([each.groups for each in sets]),
            folds=np.concatenate([each.folds for each in sets]),
        )

    def where(self, chosen: np.ndarray) -> "ImageSet":
        """The images that a boolean mask (N,) or an index array chooses."""
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            folds=self.folds[chosen],
        )

    def training(self, fold: int) -> "ImageSet":
        """Everything outside the test part of `fold`, but what is `EXTERNAL` or in `RESERVE`.

        Raises:
            UserError: there is no such fold, and everything would be trained on.
        """
        if fold < 0 or fold not in (TEST_FOLD, *self.folds):
            there = sorted({int(each) for each in self.folds if each >= 0})
            raise UserError(f"There is no fold {fold}; choose one of {', '.join(map(str, there))}.")
        return self.where((self.folds != fold) & (self.folds >= NO_FOLD))

    def test(self, fold: int) -> "ImageSet":
        """The test part of `fold`; of `EXTERNAL` the images in no fold."""
        return self.where(self.folds == fold)

    def of_class(self, name: str) -> "ImageSet":
        """The images of one class, or of `ALL` together.

        Raises:
            UserError: there is no such class.
        """
        if name not in (ALL, *self.classes):
            raise UserError(f"There is no class '{name}'; choose one of {', '.join(self.classes)}.")
        return self if name == ALL else self.where(self.labels == self.classes.index(name))

    def counts(self) -> dict[str, int]:
        """Images by class."""
        return {name: int((self.labels == index).sum()) for index, name in enumerate(self.classes)}

    def digest(self) -> str:
        """SHA-256 over images, labels, groups and classes (not folds: a part has the same digest anywhere)."""
        content = hashlib.sha256()
        content.update(json.dumps([self.images.shape, self.images.dtype.str, self.classes]).encode())
        content.update(np.ascontiguousarray(self.images).tobytes())
        content.update(np.ascontiguousarray(self.labels).tobytes())
        content.update(json.dumps(self.groups.tolist()).encode())
        return content.hexdigest()

    def save(self, directory: Path) -> None:
        """Write the images and what is known of them into `directory`, which is made where it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        np.save(directory / IMAGES, np.ascontiguousarray(self.images))
        self.save_meta(directory)

    def save_meta(self, directory: Path) -> None:
        """Write what is known of the images beside `IMAGES`, which lies in `directory` already."""
        meta = {
            "classes": list(self.classes),
            "origin": self.origin,
            "source": self.source,
            "labels": self.labels.tolist(),
            "groups": self.groups.tolist(),
            "folds": self.folds.tolist(),
        }
        (directory / META).write_text(json.dumps(meta, indent=1) + "\n")

    @classmethod
    def load(cls, directory: Path) -> "ImageSet":
        """Read what `save` wrote; the images stay on disk until they are touched."""
        meta = json.loads((directory / META).read_text())
        return cls(
            images=np.load(directory / IMAGES, mmap_mode="r"),
            labels=np.array(meta["labels"], dtype=np.int64),
            classes=tuple(meta["classes"]),
            groups=np.array(meta["groups"], dtype=np.str_),
            folds=np.array(meta["folds"], dtype=np.int64),
            origin=meta["origin"],
            source=meta["source"],
        )
