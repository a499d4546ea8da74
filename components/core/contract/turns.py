"""One execution of a fingerprint at a time on a machine; who waited for another's finds what that one wrote."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from components.core.contract.outputs import replacing
from components.core.storage import digest_path, make_folder, open_shared, state_dir
from components.core.storage.state import refusal, release

_PATIENCE_SECONDS = 1
_LONGEST_NOTE = 1 << 16


class Turn:
    """The right to execute a fingerprint.

    Attributes:
        digest: of the output, where another process wrote it while this one waited; else None.
    """

    def __init__(self, descriptor: int, out: Path, *, reuse: bool) -> None:
        self._descriptor = descriptor
        self._out = out.absolute()
        self.digest = self._reuse() if reuse else None

    def note(self, digest: str) -> None:
        """Let those who wait know that the output is there."""
        text = json.dumps({"out": str(self._out), "digest": digest}).encode()
        with contextlib.suppress(OSError):  # they compute it then
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)

    def _reuse(self) -> str | None:
        """Bring what another process noted to this one's output folder; its digest, None where it is not to be had."""
        try:
            note = json.loads(os.pread(self._descriptor, _LONGEST_NOTE, 0))
            source, digest = Path(note["out"]), note["digest"]
            if digest_path(source) != digest:
                return None
            if source != self._out:
                with replacing(self._out) as folder:
                    shutil.copytree(source, folder, dirs_exist_ok=True)
                    if digest_path(folder) != digest:
                        raise ValueError("it changed meanwhile")
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return digest


@contextlib.contextmanager
def turn(fingerprint: str, out: Path, *, reuse: bool = True) -> Iterator[Turn]:
    """Wait until no other process on this machine executes a fingerprint, and keep others waiting meanwhile.

    The kernel ends the turn of a process that dies. The file that is locked goes with the turn: those who wait have it
    open and find the note in it, those who come later begin anew.

    Args:
        fingerprint: of the execution.
        out: where its output goes.
        reuse: whether another process's output will do.

    Raises:
        UserError: the state folder cannot be written to.
    """
    path = make_folder(state_dir() / "locks") / fingerprint
    while True:
        descriptor = open_shared(path)
        try:
            try:
                _lock(descriptor)
            except OSError as error:
                raise refusal(path, error) from error
            mine = Turn(descriptor, out, reuse=reuse)
            current = _is_at(path, descriptor)
            if mine.digest or current:
                try:
                    yield mine
                finally:
                    if current:
                        path.unlink(missing_ok=True)
                return
        finally:
            release(descriptor)


def _lock(descriptor: int) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < _PATIENCE_SECONDS:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
    sys.stderr.write("Another process executes the same step on the same inputs; waiting for its result.\n")
    return fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
