"""Where files live that outlast a step. Users share it as they share any folder: it is writable for their group."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from components.core.errors import UserError


def state_dir() -> Path:
    """The folder of checkpoints, journals and caches: `$GANFLOW_HOME`, else `.ganflow` in the current folder."""
    return Path(os.environ.get("GANFLOW_HOME") or ".ganflow").absolute()


def make_folder(path: Path) -> Path:
    """A folder of the state folder, made where it is missing; those who share what it lies in share it, too.

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        for missing in reversed([each for each in (path, *path.parents) if not each.is_dir()]):
            missing.mkdir(exist_ok=True)
            _share(missing, 0o2777)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise refusal(Path(error.filename or path), error) from error
    return path


def open_shared(path: Path) -> int:
    """Descriptor of a file of the state folder, made where it is missing, for reading and writing (a lock, a database).

    Raises:
        UserError: it cannot be made or written to.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _share(path, 0o666)
    except OSError as error:
        raise refusal(path, error) from error
    return descriptor


def release(descriptor: int) -> None:
    """Give back the lock on a file or folder and close it; closing alone would leave the lock to a forked child."""
    with contextlib.suppress(OSError):  # NFS has no locks on folders
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def refusal(path: Path, error: OSError) -> UserError:
    """What to tell whoever cannot write to a file or folder of the state folder."""
    advice = "make room there, or set GANFLOW_HOME to another folder"
    if isinstance(error, PermissionError):
        there = next(each for each in (path, *path.parents) if each.exists())
        try:
            owner = there.owner()
        except KeyError:  # a user without a name
            owner = f"user {there.stat().st_uid}"
        advice = f"set GANFLOW_HOME to a folder of your own, or let {owner} share it: chmod -R g+rwXs {state_dir()}"
    return UserError(f"{path} cannot be written to ({error.strerror}); {advice}")


def _share(path: Path, bits: int) -> None:
    """Let everybody read and write what is new who may do that with the folder it lies in, but for one like /tmp."""
    above = stat.S_IMODE(path.parent.stat().st_mode)
    here = path.stat()
    if above & stat.S_IWGRP and not above & stat.S_ISVTX and here.st_uid == os.geteuid():
        path.chmod(stat.S_IMODE(here.st_mode) | (above & bits))
