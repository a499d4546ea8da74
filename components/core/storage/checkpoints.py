"""Checkpoints: what a training needs to go on, kept where a retried job finds it.

    <root>/<fingerprint>/<name>.<writer>.part-<number>-<sha256>           the record so far, piece by piece
    <root>/<fingerprint>/<name>.<writer>.state-<done>-<parts>-<sha256>    the state after `done` steps

Every execution is a writer of its own, with a random id. It adds files and never changes one; it reads anybody's, and
removes its own and those of writers who are gone. So several machines may compute one fingerprint at a time.
"""

import contextlib
import hashlib
import logging
import os
import re
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from components.core.errors import UserError
from components.core.storage.state import state_dir

GENERATIONS = 2
"""States that a writer keeps: where the last cannot be read, the one before it is there."""

SILENCE = 600.0
"""Seconds without a new file, by the clock of where the files lie, after which another writer counts as gone."""

_PAUSES = 10
"""But at least so many times the pause between two states counts as silence."""

_ATTEMPTS = 20
"""How often a checkpoint may vanish while it is read, as a living writer replaces it."""

_NAME = re.compile(
    r"(?P<name>.+)\.(?P<writer>[0-9a-f]{16})\."
    r"(partial|(part|state)-(?P<number>\d{12})(-(?P<parts>\d{6}))?-(?P<sha256>[0-9a-f]{64}))"
)

Loaded = TypeVar("Loaded")

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one fingerprint, by name, as one execution of it sees them.

    They lie under `$CHECKPOINT_URI` (a folder or `s3://bucket/prefix`), which machines may share, else under the state
    folder, so that a retried job finds its own.

    Raises:
        UserError: the address is neither; by every method, the disk or S3 does not do as it is asked.
    """

    def __init__(self, fingerprint: str) -> None:
        own = state_dir() / "checkpoints" / fingerprint
        shared = os.environ.get("CHECKPOINT_URI")
        self._alone = not shared  # the contract lets one execution of a fingerprint at a time work there
        self._folder = _shared_folder(f"{shared}/{fingerprint}", own) if shared else _LocalFolder(own)
        self._writer = secrets.token_hex(8)
        self._written: defaultdict[str, _Written] = defaultdict(_Written)

    def read(self, name: str, load: Callable[[BinaryIO], Loaded]) -> tuple[Loaded, list[Loaded]] | None:
        """State and parts of the furthest checkpoint that is whole, whoever wrote it; None where there is none.

        Args:
            load: makes something of a file.
        """
        unreadable, vanished = set(), 0
        while vanished < _ATTEMPTS:
            files = self._files(name)
            states = [file for file in files if file.is_state and file.path not in unreadable]
            if not states:
                if unreadable:
                    _log.warning("No checkpoint in %s is whole any more; what it was for begins anew.", self._folder)
                return None
            state = max(states, key=lambda file: file.number)
            parts = {file.number: file for file in files if file.writer == state.writer and file.is_part}
            needed = [parts.get(number) for number in range(state.parts)]
            try:
                return self._load(state, load), [self._load(part, load) for part in needed]
            except _Torn:
                pass
            except FileNotFoundError:
                vanished += 1
            unreadable.add(state.path)
        raise UserError(
            f"The checkpoints in {self._folder} are replaced faster than they are read: another machine computes the "
            "same; wait until it is done, or run this again."
        )

    def append(self, name: str, save: Callable[[BinaryIO], None]) -> None:
        """Add a part, which belongs to every state that is written after it.

        Args:
            save: writes its bytes.
        """
        written = self._written[name]
        self._add(name, f"part-{written.parts:012d}", save)
        written.parts += 1

    def write(self, name: str, done: int, save: Callable[[BinaryIO], None]) -> None:
        """Keep the state after `done` steps; it is safe from a crash when this returns.

        Args:
            save: writes its bytes.
        """
        written = self._written[name]
        path = self._add(name, f"state-{done:012d}-{written.parts:06d}", save)
        written.states.append((done, path))
        if len(written.states) > GENERATIONS:
            self._delete([written.states.pop(0)[1]])
        now = time.monotonic()
        written.longest_pause = max(written.longest_pause, now - written.at)
        written.at = now
        if len(written.states) == GENERATIONS and now >= written.next_sweep:
            written.next_sweep = now + SILENCE
            self._sweep(name, oldest=written.states[0][0])

    def remove(self) -> None:
        """Forget the checkpoints of the fingerprint, but for those of other machines that may still compute it."""
        files = self._files()
        if files and not self._alone:
            self.append("end", lambda _: None)  # its time is the present, by the clock of where the files lie
            files = self._files()
        gone = self._gone(files) | {self._writer}
        self._delete([file.path for file in files if file.writer in gone])
        self._folder.leave()

    def _sweep(self, name: str, oldest: int) -> None:
        """Delete what writers left who are gone and were not further than this one's oldest state."""
        files = self._files(name)
        further = {file.writer for file in files if file.is_state and file.number > oldest}
        gone = self._gone(files) - further
        self._delete([file.path for file in files if file.writer in gone])

    def _delete(self, paths: list[str]) -> None:
        with self._telling("removed"):
            self._folder.delete(paths)

    def _gone(self, files: "list[_File]") -> set[str]:
        """Writers who are gone, of some files among which is the newest of this one's."""
        last = {file.writer: file.modified for file in sorted(files, key=lambda file: file.modified)}
        others = last.keys() - {self._writer}
        if self._alone or not others:
            return others
        silence = max(SILENCE, *(_PAUSES * written.longest_pause for written in self._written.values()))
        return {writer for writer in others if (last[self._writer] - last[writer]).total_seconds() > silence}

    def _files(self, name: str | None = None) -> "list[_File]":
        with self._telling("read"):
            listed = [(_NAME.fullmatch(path), modified) for path, modified in self._folder.list()]
        return [_File(match, modified) for match, modified in listed if match and name in (None, match["name"])]

    def _load(self, file: "_File | None", load: Callable[[BinaryIO], Loaded]) -> Loaded:
        if file is None:
            raise _Torn
        with self._telling("read"), self._folder.open(file.path) as stream:
            # Held against its checksum here, as torch checks none.
            if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                raise _Torn
            stream.seek(0)
            return load(stream)

    def _add(self, name: str, kind: str, save: Callable[[BinaryIO], None]) -> str:
        """Write a file, and name it only when it is on disk; its name."""
        with self._telling("written"), self._folder.create(f"{name}.{self._writer}.partial") as file:
            temporary, stream = Path(file.name), _Hashing(file)
            try:
                try:
                    save(stream)
                except Exception as error:
                    raise (stream.failure or error) from None  # torch ends its archive all the same, and fails again
                file.flush()
                os.fsync(file.fileno())
                path = f"{name}.{self._writer}.{kind}-{stream.sha256.hexdigest()}"
                self._folder.take(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        return path

    @contextlib.contextmanager
    def _telling(self, participle: str) -> Iterator[None]:
        """Tell in a sentence what the disk does not do; one that is not there to be read is left to the caller."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and participle == "read":
                raise
            raise UserError(
                f"Checkpoints cannot be {participle} in {self._folder} ({error.strerror}): mend that, or set "
                "CHECKPOINT_URI to another place, and run this again; it goes on from the last good one."
            ) from error


class _Torn(Exception):
    """A file is not what was written, or one that belongs to it is missing."""


@dataclass
class _Written:
    """What this execution has written under one name."""

    parts: int = 0
    states: list[tuple[int, str]] = field(default_factory=list)
    at: float = field(default_factory=time.monotonic)
    longest_pause: float = 0.0
    next_sweep: float = 0.0


class _File:
    """A file as its name tells."""

    def __init__(self, name: re.Match[str], modified: datetime) -> None:
        self.path, self.writer, self.sha256 = name[0], name["writer"], name["sha256"]
        self.number, self.parts = int(name["number"] or 0), int(name["parts"] or 0)
        self.is_state = name["parts"] is not None
        self.is_part = self.sha256 is not None and not self.is_state
        self.modified = modified


class _Hashing:
    """Hands bytes on to a file and digests them; remembers what went wrong."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.failure: OSError | None = None

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Left to the end."""


class _Folder(Protocol):
    """Files by name, and where they are made."""

    def list(self) -> Iterable[tuple[str, datetime]]:
        """Names and times of the last change."""

    def create(self, name: str) -> BinaryIO:
        """A new file on this machine, open for writing."""

    def take(self, path: Path, name: str) -> None:
        """Take over what was created, under its final name; safe from a crash when this returns."""

    def open(self, name: str) -> BinaryIO:
        """Raises FileNotFoundError where there is none."""

    def delete(self, names: Iterable[str]) -> None:
        """Those that are there."""

    def leave(self) -> None:
        """Remove what is of no use to anybody else."""


def _shared_folder(uri: str, own: Path) -> _Folder:
    if uri.startswith("s3://"):
        return _Bucket(uri, own)
    if "://" in uri:
        raise UserError(f"Checkpoints cannot be kept at {uri}; set CHECKPOINT_URI to a folder or s3://bucket/prefix.")
    return _LocalFolder(Path(uri))


class _LocalFolder:
    """A folder of this machine, or one that machines mount; it is made when the first file is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def list(self) -> Iterator[tuple[str, datetime]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    yield entry.name, datetime.fromtimestamp(entry.stat().st_mtime, UTC)

    def create(self, name: str) -> BinaryIO:
        while True:
            _make_folder(self.path)
            with contextlib.suppress(FileNotFoundError):  # a training that ended has just removed the folder
                return (self.path / name).open("wb")

    def take(self, path: Path, name: str) -> None:
        path.replace(self.path / name)
        _sync_folder(self.path)

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def leave(self) -> None:
        with contextlib.suppress(OSError):  # others' files are in it
            self.path.rmdir()


class _Bucket:
    """A folder on S3; its files pass through one on this machine's disk, since memory may not hold them twice."""

    def __init__(self, uri: str, own: Path) -> None:
        from components.core.storage.s3 import S3Folder

        self._remote = S3Folder(uri)
        self._own = _LocalFolder(own)
        self._is_clear = False

    def __str__(self) -> str:
        return f"{self._remote.uri} by way of {self._own}"

    def list(self) -> Iterator[tuple[str, datetime]]:
        return ((entry.name, entry.modified) for entry in self._remote.list())

    def create(self, name: str) -> BinaryIO:
        if not self._is_clear:
            self.leave()  # of what a killed execution left
            self._is_clear = True
        return self._own.create(name)

    def take(self, path: Path, name: str) -> None:
        self._remote.upload(path, name)

    def open(self, name: str) -> BinaryIO:
        from components.core.storage.s3 import Absent

        with self.create(f"{name}.download") as file:
            path = Path(file.name)
        try:
            self._remote.download(name, path)
            return path.open("rb")
        except Absent:
            raise FileNotFoundError(name) from None
        finally:
            path.unlink()  # what is open can still be read

    def delete(self, names: Iterable[str]) -> None:
        self._remote.delete(names)

    def leave(self) -> None:
        shutil.rmtree(self._own.path, ignore_errors=True)


def _make_folder(path: Path) -> None:
    """Make a folder and those above it, on disk when this returns."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
