"""The region of interest: a window of fixed physical size around the heart, resampled and normalised."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from components.data_prep.labels import Entry
from components.data_prep.problems import Problems, Unusable
from components.data_prep.volumes import orient, read_mask, read_volume


@dataclass(frozen=True)
class Slice:
    """One plane of a volume.

    Attributes:
        pixels: (rows, columns) float32.
        spacing: mm between columns, mm between rows.
        centre: what the window is centred on, in pixels (column, row).
        name: how to call it in a message; "" where the volume has no other.
    """

    pixels: np.ndarray
    spacing: tuple[float, float]
    centre: tuple[float, float]
    name: str


@dataclass(frozen=True)
class Window:
    """How regions of interest are cut.

    Attributes:
        size: pixels along each side.
        spacing: mm between pixels.
        low: percentile of the region's values that becomes -1; what lies below is clipped.
        high: percentile that becomes 1.
    """

    size: int
    spacing: float
    low: float
    high: float

    def cut(self, piece: Slice) -> np.ndarray:
        """The region of interest of a slice: (1, size, size) float32 in [-1, 1].

        Physical scale is kept; where the window leaves the slice, it holds the slice's minimum.

        Raises:
            Unusable: values that are not finite, or do not differ.
        """
        if not np.isfinite(piece.pixels).all():
            raise Unusable(f"{piece.name}holds values that are not finite (NaN or infinity)")
        if piece.pixels.min() == piece.pixels.max():
            raise Unusable(f"{piece.name}is constant: every pixel is {piece.pixels.min():g}")
        values = self._resample(piece)
        darkest, brightest = np.percentile(values, (self.low, self.high))
        if darkest == brightest:
            raise Unusable(f"{piece.name}is constant within the region of interest")
        scaled = np.clip((values - darkest) / (brightest - darkest), 0, 1) * 2 - 1
        return scaled.astype(np.float32)[np.newaxis]

    def _resample(self, piece: Slice) -> np.ndarray:
        """Linear interpolation on a grid around the slice's centre."""
        plane = sitk.GetImageFromArray(piece.pixels)
        plane.SetSpacing(piece.spacing)
        reach = (self.size - 1) / 2 * self.spacing
        resampler = sitk.ResampleImageFilter()
        resampler.SetNumberOfThreads(1)  # a slice is too small to gain by more
        resampler.SetSize((self.size, self.size))
        resampler.SetOutputSpacing((self.spacing, self.spacing))
        resampler.SetOutputOrigin([at * step - reach for at, step in zip(piece.centre, piece.spacing, strict=True)])
        resampler.SetDefaultPixelValue(float(piece.pixels.min()))
        return sitk.GetArrayFromImage(resampler.Execute(plane))


def regions(raw: Path, entry: Entry, window: Window, problems: Problems) -> list[np.ndarray]:
    """The regions of interest of all slices of an entry's image; fewer, and a note in `problems`, where one fails."""
    volume = problems.attempt(entry.image, read_volume, raw / entry.image)
    mask = problems.attempt(entry.mask, read_mask, raw / entry.mask, volume) if entry.mask else None
    if volume is None:
        return []
    cut = (problems.attempt(entry.image, window.cut, piece) for piece in slices(volume, mask))
    return [region for region in cut if region is not None]


def slices(volume: sitk.Image, mask: sitk.Image | None) -> Iterator[Slice]:
    """The slices of a volume, turned upright and centred on the mask's bounding box.

    We read a volume of several slices as one image per slice that the mask marks; without a mask every slice
    counts and is centred on its middle.
    """
    volume = orient(volume)
    planes = sitk.GetArrayFromImage(volume)
    marks = np.ones(planes.shape, dtype=bool) if mask is None else sitk.GetArrayFromImage(orient(mask)) != 0
    for index, (pixels, marked) in enumerate(zip(planes, marks, strict=True)):
        if marked.any():
            name = f"slice {index} " if len(planes) > 1 else ""
            yield Slice(pixels, volume.GetSpacing()[:2], _centre(marked), name)


def _centre(marked: np.ndarray) -> tuple[float, float]:
    """Middle (column, row) of the bounding box of what is marked."""
    rows, columns = np.nonzero(marked)
    return (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
