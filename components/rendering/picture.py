"""Picture files of many kinds → pictures to render: photographs, and grey slices of medical volumes."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from components.data_prep.problems import Unusable
from components.data_prep.volumes import SUFFIXES as VOLUMES
from components.data_prep.volumes import orient, read_volume

WINDOW = (0.5, 99.5)
"""Percentiles of values without a range of their own, such as a scanner's, that become black and white."""

LARGEST = 65535
"""White in a picture of 16 bits."""


def read_picture(path: Path) -> np.ndarray:
    """A picture, upright, as (H, W, 3) float32 in [0, 1]; of a volume the middle slice; a grey one thrice the same.

    What is transparent is shown on white.

    Raises:
        Unusable: missing, damaged, cut short, too large, or of no known format.
    """
    if path.name.endswith(VOLUMES):
        return _middle_slice(path)
    if not path.is_file():
        raise Unusable("there is no such file")
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of doubtful metadata and of large pictures
        try:
            with Image.open(path) as image:
                return _values(ImageOps.exif_transpose(image))
        except Unusable:
            raise
        except Image.DecompressionBombError:
            limit = 2 * Image.MAX_IMAGE_PIXELS // 10**6
            raise Unusable(f"has more than {limit} million pixels, too many to be decoded; scale it down") from None
        except Exception:  # a damaged file makes Pillow raise nearly anything
            raise Unusable("cannot be read: damaged, cut short, or no picture") from None


def _middle_slice(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    slices = sitk.GetArrayFromImage(orient(read_volume(path)))
    return _grey(_windowed(slices[len(slices) // 2]))


def _values(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "F"):
        return _grey(_windowed(np.asarray(image)))
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image) / LARGEST)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def _windowed(values: np.ndarray) -> np.ndarray:
    """Values of any range in [0, 1]; what is not finite is black."""
    finite = np.isfinite(values)
    if not finite.any():
        raise Unusable("has no finite value")
    low, high = np.percentile(values[finite], WINDOW)
    return np.clip((np.where(finite, values, low) - low) / (high - low or 1), 0, 1)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None].astype(np.float32), 3, axis=2)
