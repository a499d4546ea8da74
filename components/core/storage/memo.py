"""Digests of files, remembered, so that sixty tasks do not read the same inputs sixty times."""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from components.core.errors import UserError
from components.core.storage.state import make_folder, open_shared, state_dir

MUCH = 32 << 20
"""Bytes that cost more to read (25 ms) than to look up what other processes have read, or to tell them (16 ms)."""

_CHUNK = 1 << 20
_FRESH_NS = 2_000_000_000  # a file changed this shortly ago can change again without a trace in its times
_KEPT = 100_000
_BUSY_SECONDS = 0.2

Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, times of the last change of content and of anything: what tells one state of a file."""

File = Path | os.DirEntry

_known: dict[Stamp, str] = {}


def digest_files(files: Sequence[File]) -> list[str]:
    """SHA-256 (64 hex digits) of the bytes of each file; "" of one that may not be read."""
    stamps = [_stamp(file) for file in files]
    new = {stamp for stamp in stamps if stamp not in _known}
    if _size(new) > MUCH:
        _recall(new)
        new -= _known.keys()
    digests = [_known.get(stamp) or _read(file, stamp) for file, stamp in zip(files, stamps, strict=True)]
    if _size(learned := new & _known.keys()) > MUCH:
        _note(learned)
    return digests


def _stamp(file: File) -> Stamp:
    try:
        return _stamp_of(file.stat())
    except PermissionError:
        return (0,) * 5


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _size(stamps: Iterable[Stamp]) -> int:
    return sum(size for _, _, size, _, _ in stamps)


def _read(file: File, stamp: Stamp) -> str:
    begun = time.time_ns()
    content = hashlib.sha256()
    try:
        with Path(file).open("rb", buffering=0) as stream:
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
            unchanged = _stamp_of(os.fstat(stream.fileno())) == stamp
    except PermissionError:
        return ""
    digest = content.hexdigest()
    if unchanged and max(stamp[3:]) < begun - _FRESH_NS:
        _known[stamp] = digest
    return digest


def _recall(stamps: set[Stamp]) -> None:
    """Learn what other processes noted."""

    def look_up(database: sqlite3.Connection) -> None:
        for stamp in stamps:
            for (digest,) in database.execute("SELECT digest FROM files WHERE stamp = ?", [repr(stamp)]):
                _known[stamp] = digest

    _with_database(look_up)


def _note(stamps: set[Stamp]) -> None:
    """Tell other processes."""

    def write(database: sqlite3.Connection) -> None:
        rows = [(repr(stamp), _known[stamp]) for stamp in stamps]
        database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)
        database.execute("DELETE FROM files WHERE rowid <= (SELECT max(rowid) FROM files) - ?", [_KEPT])

    _with_database(write)


def _with_database(use: Callable[[sqlite3.Connection], None]) -> None:
    """Use the table of digests in the state folder; what goes wrong with it costs time and nothing else."""
    path = state_dir() / "digests.sqlite"
    try:
        if not path.exists():  # closing it would free the locks that another thread's connection holds
            os.close(open_shared(make_folder(path.parent) / path.name))
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS files (stamp TEXT PRIMARY KEY, digest TEXT NOT NULL)")
            use(database)
    except (UserError, sqlite3.OperationalError):
        pass  # no place for it, no room, or busy
    except sqlite3.DatabaseError:
        with contextlib.suppress(OSError):
            path.unlink()  # no database, or a damaged one
