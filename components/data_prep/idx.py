"""idx files, the format of MNIST: a magic number, the dimensions, then one unsigned byte a value."""

import gzip
import math
import struct
import zlib
from enum import IntEnum
from pathlib import Path

import numpy as np

from components.data_prep.problems import Unusable

_GZIP = b"\x1f\x8b"


class Kind(IntEnum):
    """What a file holds, by its magic number: two zeros, 8 for unsigned bytes, the number of dimensions."""

    IMAGES = 0x00000803
    LABELS = 0x00000801

    @property
    def dimensions(self) -> int:
        """How many sizes follow the magic number."""
        return self & 0xFF

    @property
    def words(self) -> str:
        """Its name in messages and file names."""
        return self.name.lower()


def read_idx(path: Path, kind: Kind) -> np.ndarray:
    """Read images (N, H, W) or labels (N,), uint8, from a file compressed with gzip or not, whatever its name says.

    No more memory is taken than the file's content needs, whatever its header says.

    Raises:
        Unusable: damaged, of another kind, empty, or of another length than its header says.
    """
    content = _content(path)
    start = 4 * (1 + kind.dimensions)
    magic = int.from_bytes(content[:4], "big")
    if len(content) >= 4 and magic != kind:
        raise Unusable(_mistaken(magic, kind))
    if len(content) < start:
        raise Unusable(f"is cut short: it holds {len(content)} bytes, and the header of {kind.words} takes {start}")
    shape = struct.unpack_from(f">{kind.dimensions}I", content, 4)
    announced, held = math.prod(shape), len(content) - start
    if held != announced:
        fault = "is cut short" if held < announced else "goes on after its end"
        raise Unusable(f"{fault}: its header announces {_product(shape)} bytes, and {held} follow")
    if not announced:
        raise Unusable(f"is empty: its header announces {_product(shape)} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write images (N, H, W) or labels (N,), uint8, compressed, the same bytes for the same values."""
    kind = next(each for each in Kind if each.dimensions == values.ndim)
    header = struct.pack(f">{1 + kind.dimensions}I", kind, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes(), mtime=0))


def _content(path: Path) -> bytes:
    stored = path.read_bytes()
    if not stored.startswith(_GZIP):
        return stored
    try:
        return gzip.decompress(stored)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise Unusable("cannot be decompressed: the gzip file is damaged or cut short") from None


def _mistaken(magic: int, kind: Kind) -> str:
    for other in Kind:
        if magic == other:
            return f"is a file of {other.words}, where {kind.words} belong"
    return f"begins with 0x{magic:08x}, an idx file of {kind.words} with 0x{kind:08x}"


def _product(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
