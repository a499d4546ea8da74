"""Many objects from S3 at once, each held against its checksum; what is there already is not fetched again."""

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import UserError
from components.core.storage.s3 import CHUNK, CONNECTIONS, PIECE, Piece, S3Folder

_TRIES = 2
"""How often an object is fetched whose checksum is wrong: once it may be the line."""

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


def download(files: Iterable[File], root: S3Folder, target: Path, progress: Path) -> None:
    """Fetch files into a folder, small ones whole, large ones in pieces; called again, it goes on.

    Args:
        files: what to fetch.
        root: what the objects' names are relative to.
        target: where the files go; a file there counts only when this returns.
        progress: an own folder for notes on what is there of large files.

    Raises:
        Absent: an object is missing, or has another ETag.
        UserError: an object has not the content it should have, or S3 does not do as it is asked.
    """
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        try:
            begun = pool.map(lambda file: _begin(file, root, target / file.name, progress), files)
            large = [each for each in begun if each]
            # All pieces are asked for before the first is waited for, and hashed in order while others come in.
            for each, pieces in [(each, each.request(pool)) for each in large]:
                each.finish(pieces, pool)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class Checksum:
    """S3's ETag of content that comes bit by bit: its MD5, or the MD5 of its parts' MD5s and their number.

    Args:
        part_size: bytes of a part; 0: there are no parts.
    """

    def __init__(self, part_size: int = 0) -> None:
        self._part_size = part_size
        self._part, self._left = hashlib.md5(usedforsecurity=False), part_size
        self._done: list[bytes] = []

    def update(self, content: bytes) -> None:
        view = memoryview(content)
        while self._part_size and len(view) > self._left:
            self._part.update(view[: self._left])
            view = view[self._left :]
            self._done.append(self._part.digest())
            self._part, self._left = hashlib.md5(usedforsecurity=False), self._part_size
        self._part.update(view)
        self._left -= len(view)

    def value(self) -> str:
        if not self._part_size:
            return self._part.hexdigest()
        parts = [*self._done, self._part.digest()]
        return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


@dataclass(frozen=True)
class _Seal:
    """What an object's checksum must be; no value where nobody knows."""

    value: str
    part_size: int = 0

    def fits(self, checksum: Checksum) -> bool:
        return self.value in ("", checksum.value())


class _Large:
    """A file that comes in pieces. An empty note in `notes` says of each that it is written.

    What cannot be checked at the end has no notes, so that nothing is built upon it after an interruption.
    """

    def __init__(self, file: File, root: S3Folder, path: Path, notes: Path, first: Piece) -> None:
        self._file, self._root, self._path, self._notes = file, root, path, notes
        self._size, self._etag = first.size, first.etag or file.etag
        self._seal = _seal(file, root, first)
        with path.open("ab") as stream:
            stream.truncate(first.size)
        if self._seal.value:
            notes.mkdir(parents=True, exist_ok=True)
        else:
            shutil.rmtree(notes, ignore_errors=True)
        self._done = {int(note.name) for note in notes.glob("*")}

    def request(self, pool: ThreadPoolExecutor) -> dict[int, Future[None]]:
        """Ask for the pieces that are missing; they come by number."""
        return {number: pool.submit(self._fetch, number) for number in self._numbers() if number not in self._done}

    def finish(self, pieces: dict[int, Future[None]], pool: ThreadPoolExecutor) -> None:
        """Wait for the pieces and hold the file against its checksum; if it is wrong, once more."""
        for _ in range(_TRIES - 1):
            if self._is_right(pieces):
                return
            shutil.rmtree(self._notes)
            self._notes.mkdir()
            self._done.clear()
            pieces = self.request(pool)
        if not self._is_right(pieces):
            raise _wrong(self._file, self._root)

    def _is_right(self, pieces: dict[int, Future[None]]) -> bool:
        checksum, buffer = Checksum(self._seal.part_size), bytearray(CHUNK)
        with self._path.open("rb", buffering=0) as stream:
            for number in self._numbers():
                if number in pieces:
                    pieces[number].result()
                for _ in range(PIECE // CHUNK):
                    checksum.update(memoryview(buffer)[: stream.readinto(buffer)])
        return self._seal.fits(checksum)

    def _fetch(self, number: int) -> None:
        self.write(number, self._root.piece(self._file.key, number * PIECE, self._etag).chunks)

    def write(self, number: int, chunks: Iterator[bytes]) -> None:
        """Put a piece where it belongs."""
        with self._path.open("r+b") as stream:
            stream.seek(number * PIECE)
            stream.writelines(chunks)
        self._done.add(number)
        if self._seal.value:
            (self._notes / str(number)).touch()

    def _numbers(self) -> range:
        return range(-(-self._size // PIECE))


def _begin(file: File, root: S3Folder, path: Path, progress: Path) -> _Large | None:
    """Fetch a small file; of a large one, the first piece, unless an earlier attempt did."""
    notes = progress / hashlib.sha256(file.name.encode()).hexdigest()
    if notes.exists():
        return _Large(file, root, path, notes, Piece(iter(()), path.stat().st_size, file.etag))
    if path.exists() and _is_whole(path, file.md5 or file.etag):
        return None
    for _ in range(_TRIES):
        first = root.piece(file.key, 0, file.etag)
        if first.size > PIECE:
            large = _Large(file, root, path, notes, first)
            large.write(0, first.chunks)
            return large
        seal = _seal(file, root, first)
        checksum = Checksum(seal.part_size)
        content = first.content
        checksum.update(content)
        if seal.fits(checksum):
            path.write_bytes(content)
            return None
    raise _wrong(file, root)


def _is_whole(path: Path, md5: str) -> bool:
    """Whether a file that an earlier attempt left has the MD5 that it should have."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest() == md5


def _seal(file: File, root: S3Folder, first: Piece) -> _Seal:
    if file.md5 or _MD5.fullmatch(first.etag):
        return _Seal(file.md5 or first.etag)
    parted = _PARTED.fullmatch(first.etag)
    part_size = root.part_size(file.key) if parted else 0
    if part_size and -(-first.size // part_size) == int(parted[1]):
        return _Seal(first.etag, part_size)
    return _Seal("")


def _wrong(file: File, root: S3Folder) -> UserError:
    return UserError(
        f"{file.name} is damaged: the object {root.uri}/{file.key} has not the content of its checksum, "
        f"{_TRIES} times; upload it anew."
    )
