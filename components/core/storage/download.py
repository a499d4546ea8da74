"""Many objects from S3 at once, each held against its checksum; what is there already is not fetched again."""

import hashlib
import re
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import UserError
from components.core.storage.s3 import CONNECTIONS, S3Folder

_TRIES = 2
"""How often an object is fetched whose checksum is wrong: once it may be the line."""

_CHUNK = 1 << 18
"""Bytes handled at a time."""

_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTED = re.compile(r"[0-9a-f]{32}-(\d+)")


@dataclass(frozen=True)
class File:
    """A file to fetch.

    Attributes:
        name: its path below the target folder.
        key: the object's name.
        md5: of its content, where the dataset tells; else the object's ETag serves where it is a checksum.
        etag: of the version to fetch; any if empty.
    """

    name: str
    key: str
    md5: str = ""
    etag: str = ""


def download(files: Iterable[File], root: S3Folder, target: Path) -> None:
    """Fetch files into a folder; those that an earlier attempt left there whole are not fetched again.

    Raises:
        Absent: an object is missing.
        Changed: an object has another ETag.
        UserError: an object has not the content it should have, or S3 does not do as it is asked.
    """
    with ThreadPoolExecutor(CONNECTIONS) as pool, root:
        deque(pool.map(lambda file: _fetch(file, root, target / file.name), files), maxlen=0)


def _fetch(file: File, root: S3Folder, path: Path) -> None:
    if path.exists() and _is_right(file, root, path):
        return
    for _ in range(_TRIES):
        root.download(file.key, path, file.etag)
        if _is_right(file, root, path) is not False:
            return
    raise UserError(
        f"{file.name} is damaged: the object {root.uri}/{file.key} has not the content of its checksum, "
        f"{_TRIES} times; upload it anew."
    )


def _is_right(file: File, root: S3Folder, path: Path) -> bool | None:
    """Whether a file has the MD5, or the ETag, that it should have; None where nobody knows a checksum of it."""
    plain, parted = _MD5.fullmatch(file.md5 or file.etag), _PARTED.fullmatch(file.etag)
    if plain and checksum(path) == plain[0]:
        return True
    if file.md5:
        return False
    part_size = root.part_size(file.key) if plain or parted else 0
    if not part_size or (parted and -(-path.stat().st_size // part_size) != int(parted[1])):
        return None
    return checksum(path, part_size) == file.etag


def checksum(path: Path, part_size: int = 0) -> str:
    """S3's ETag of a file's content: its MD5, or the MD5 of its parts' MD5s and their number."""
    with path.open("rb") as stream:
        if not part_size:
            return hashlib.file_digest(stream, "md5").hexdigest()
        parts = []
        while stream.peek(1):
            part, left = hashlib.md5(usedforsecurity=False), part_size
            while chunk := stream.read(min(left, _CHUNK)):
                part.update(chunk)
                left -= len(chunk)
            parts.append(part.digest())
    return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"
