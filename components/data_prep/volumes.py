"""Image files → SimpleITK volumes of three dimensions."""

import contextlib
import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from components.data_prep.problems import Unusable

SUFFIXES = (".mha", ".mhd", ".nii", ".nii.gz", ".dcm")


def read_volume(path: Path) -> sitk.Image:
    """Read a scalar image of two or three dimensions as float32 (columns, rows, slices).

    Raises:
        Unusable: missing, not of a known format, damaged, cut short, coloured, or of other dimensions.
    """
    if not path.is_file():
        raise Unusable("there is no such file")
    if not path.name.endswith(SUFFIXES):
        raise Unusable(f"is none of {' '.join(SUFFIXES)}")
    with _silence():
        try:
            return _read(path)
        except (RuntimeError, EOFError, gzip.BadGzipFile, zlib.error):
            raise Unusable("cannot be read: damaged, cut short, or no image of its format") from None


def read_mask(path: Path, image: sitk.Image | None) -> sitk.Image:
    """Read a mask and hold it against the image it belongs to, where that could be read.

    A mask that says nothing of its place (spacing 1, origin 0, not turned) is laid on its image pixel by pixel.

    Raises:
        Unusable: as `read_volume`; nothing is marked; size or place differ from the image's.
    """
    mask = read_volume(path)
    if not sitk.GetArrayViewFromImage(mask).any():
        raise Unusable("is empty: no pixel is marked")
    if image is None:
        return mask
    if _same_place(mask, sitk.Image(mask.GetSize(), mask.GetPixelID())) and mask.GetSize() == image.GetSize():
        mask.CopyInformation(image)
    if orient(mask).GetSize() != orient(image).GetSize():
        raise Unusable(f"is of size {_size(mask)}, its image of {_size(image)}")
    if not _same_place(orient(mask), orient(image)):
        raise Unusable("has another spacing, origin or orientation than its image")
    return mask


def orient(volume: sitk.Image) -> sitk.Image:
    """Swap and flip the in-plane axes so that columns run to the patient's left and rows to the back or the feet.

    We read "physical orientation" thus: slices stay the planes they were acquired in, each axis goes to the nearest
    direction, and nothing is interpolated.
    """
    left = np.abs(np.reshape(volume.GetDirection(), (3, 3))[0])  # DICOM's axes: left, posterior, superior
    if left[1] > left[0]:
        volume = sitk.PermuteAxes(volume, (1, 0, 2))
    columns, rows, _ = np.reshape(volume.GetDirection(), (3, 3)).T
    flips = (bool(columns[0] < 0), bool(rows[1] < rows[2]), False)
    return sitk.Flip(volume, flips) if any(flips) else volume


def _read(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() > 1:
        raise Unusable("is in colour; grey values are needed")
    if reader.GetDimension() not in (2, 3):
        raise Unusable(f"has {reader.GetDimension()} dimensions; 2 or 3 are needed")
    if path.name.endswith((".nii", ".nii.gz")):
        _check_length(path, reader)
    reader.SetOutputPixelType(sitk.sitkFloat32)
    image = reader.Execute()
    return sitk.JoinSeries(image) if image.GetDimension() == 2 else image


def _check_length(path: Path, reader: sitk.ImageFileReader) -> None:
    """ITK fills what is missing at the end of a NIfTI file without a word; hence this check."""
    field = {name: float(reader.GetMetaData(name)) for name in ("vox_offset", "bitpix")}
    voxels = np.prod([int(reader.GetMetaData(f"dim[{axis}]")) for axis in (1, 2, 3)])
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
        length = sum(len(chunk) for chunk in iter(lambda: stream.read(1 << 20), b""))
    if length < field["vox_offset"] + voxels * field["bitpix"] / 8:
        raise EOFError(path)


def _same_place(one: sitk.Image, other: sitk.Image) -> bool:
    """Whether planes lie alike; the thickness of slices is not compared: many formats lose it."""
    pairs = [
        (one.GetSpacing()[:2], other.GetSpacing()[:2]),
        (one.GetOrigin(), other.GetOrigin()),
        (one.GetDirection(), other.GetDirection()),
    ]
    return all(np.allclose(*pair, rtol=1e-3, atol=1e-3) for pair in pairs)


def _size(image: sitk.Image) -> str:
    return " × ".join(map(str, image.GetSize()))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """ITK and its readers print to the process's own stderr; what they say is told by `Unusable` instead."""
    sys.stderr.flush()
    with Path(os.devnull).open("wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
