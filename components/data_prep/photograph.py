"""A file with a photograph → a square of RGB levels."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from components.data_prep.problems import Unusable

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
"""What is read, whatever the suffix says; of Pillow's many readers no other is asked."""

MAX_PIXELS = 2**27
"""Of a picture to be decoded: half a gibibyte; a camera of 100 megapixels needs less, a bomb more."""

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr")

GREY_TOLERANCE = 4
"""Levels by which red, green and blue of a grey picture may differ: JPEG's rounding."""

_REDUCING_GAP = 3.0
"""A large picture is averaged in blocks to no less than this many times the result before it is filtered."""


class LeftOut(Exception):
    """A photograph that is in order, but shows no colours to learn; the message says why."""


def read_photograph(path: Path, size: int) -> np.ndarray:
    """Read the square in the middle of a photograph, upright, its short side scaled to `size`.

    EXIF's orientation is obeyed. Of 16 bits a colour the upper 8 are kept; what is transparent is laid on white;
    colours are taken for sRGB, whatever profile they come with; of several pictures in a file the first is read.

    Args:
        path: a file of one of `FORMATS`.
        size: pixels along each side of the result.

    Returns:
        (3, size, size) uint8 RGB; filtered by Lanczos' kernel.

    Raises:
        LeftOut: grey, or of other colours than RGB.
        Unusable: cannot be opened or decoded, too large to be decoded, or smaller than `size`.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise Unusable(f"cannot be opened: {error.strerror}") from None
    with stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of doubtful metadata and of sizes that are checked here
        try:
            levels = np.asarray(_square(stream, size))
        except (LeftOut, Unusable):
            raise
        except Image.DecompressionBombError:
            raise Unusable(_too_large()) from None
        except Exception:  # a damaged file makes Pillow raise nearly anything
            raise Unusable(
                "cannot be read: damaged, cut short, or no JPEG, PNG, WebP or TIFF of 8 or 16 bits"
            ) from None
    planes = np.ascontiguousarray(levels.transpose(2, 0, 1))
    if (planes.max(axis=0) - planes.min(axis=0)).max() <= GREY_TOLERANCE:
        raise LeftOut("is grey: its red, green and blue are the same everywhere")
    return planes


def _square(stream: BinaryIO, size: int) -> Image.Image:
    """The square as an RGB image; only the header is read of what is not to be decoded."""
    image = Image.open(stream, formats=FORMATS)
    _check_size(image, size)
    _check_mode(image)
    # libjpeg decodes at the smallest of its sizes that is not below ours, where pixels may end within its last ones.
    drafted = image.draft(None, (size, size))
    width, height = drafted[1][2:] if drafted else image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    box = (left, top, left + side, top + side)
    square = image.resize((size, size), Image.Resampling.LANCZOS, box, _REDUCING_GAP)
    ImageOps.exif_transpose(square, in_place=True)
    if mode == "RGB":
        return square
    return Image.alpha_composite(Image.new(mode, square.size, "white"), square).convert("RGB")


def _check_size(image: Image.Image, size: int) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Unusable(_too_large())
    if min(image.size) < size:
        raise Unusable(f"is of {image.width}×{image.height} pixels; each side must have at least {size}")


def _check_mode(image: Image.Image) -> None:
    if image.mode in GREY_MODES:
        raise LeftOut("is grey")
    if image.mode not in COLOUR_MODES:
        raise LeftOut(f"its colours are {image.mode}, not RGB")


def _too_large() -> str:
    return f"has more than {MAX_PIXELS // 10**6} million pixels, too many to be decoded; scale it down"
