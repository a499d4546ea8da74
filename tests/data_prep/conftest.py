"""A small data set of real image files, to be prepared as it is or after something was broken."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from components.core.images import ImageSet
from components.data_prep.step import PrepareParams, prepare

PARAMS = PrepareParams(
    spacing=1.5,
    size=40,
    low_percentile=1,
    high_percentile=99,
    classes=["non-patient", "patient"],
    folds=[0, 1],
    seed=0,
)


class DataFolder:
    """A folder with `labels.csv`; two healthy and two ill people of two slices each until something is changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw = root / "raw"
        self.raw.mkdir()
        self.columns = ["image", "mask", "patient", "group", "label"]
        self.rows: list[dict[str, str]] = []
        self.random = np.random.default_rng(0)
        for number in range(4):
            for index in range(2):
                self.add(f"p{number}_{index}", f"p{number}", "patient" if number < 2 else "non-patient")

    def add(self, name: str, patient: str, label: str) -> None:
        """An image of 60 × 50 pixels with a marked disc, and its row."""
        image, mask = self.picture()
        row = {"image": f"{name}.mha", "mask": f"{name}_mask.mha", "patient": patient, "group": "", "label": label}
        self.write(row["image"], image)
        self.write(row["mask"], mask)
        self.rows.append(row)

    def picture(self, shape: tuple[int, int] = (60, 50), spacing: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
        """A disc of 12 mm radius on noise (uint16), and its mask (uint8)."""
        rows, columns = np.indices(shape)
        disc = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) * spacing < 12
        return (disc * 300 + self.random.integers(0, 100, shape)).astype(np.uint16), disc.astype(np.uint8)

    def write(
        self,
        name: str,
        pixels: np.ndarray,
        spacing: Sequence[float] = (1.5, 1.5),
        direction: Sequence[float] | None = None,
    ) -> None:
        """Write an image of two or three dimensions."""
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing(spacing)
        if direction:
            image.SetDirection(direction)
        sitk.WriteImage(image, self.raw / name)

    def only(self, *rows: dict[str, str]) -> None:
        """Replace the rows of the first patient by others of that patient."""
        kept = [row for row in self.rows if row["patient"] != "p0"]
        self.rows = [{"mask": "", "patient": "p0", "group": "", "label": "patient"} | row for row in rows] + kept

    def mark(self, **splits: str) -> None:
        """Give people, by name, a split; the others' cells stay empty."""
        self.columns = [*dict.fromkeys([*self.columns, "split"])]
        for row in self.rows:
            row["split"] = splits.get(row["patient"], "")

    def save_labels(self) -> None:
        """Write `labels.csv`."""
        with (self.raw / "labels.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)

    def prepare(self, **changes: Any) -> ImageSet:
        """The image set made of the folder."""
        self.save_labels()
        return self.prepare_as_it_is(**changes)

    def prepare_as_it_is(self, **changes: Any) -> ImageSet:
        """As `prepare`, with whatever `labels.csv` there is."""
        out = self.root / "out"
        prepare(PARAMS.model_copy(update=changes), raw=self.raw, out=out)
        return ImageSet.load(out)


@pytest.fixture
def folder(tmp_path):
    return DataFolder(tmp_path)
