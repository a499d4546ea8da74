"""Output folders: which may be replaced, and how a new one takes an old one's place.

    NAME                   the output; `MANIFEST` in it lists the files that ganflow wrote
    .NAME.<id>.partial     being written, by the process that holds a lock on it; without one, rubbish
    .NAME.<id>.whole       whole and on the disk, about to become NAME
    .NAME.<id>.old         what NAME was, about to go

All renaming happens under a lock on the folder that these lie in, which the kernel frees with its holder's last breath.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from components.core.errors import UserError
from components.core.signals import deferred, last_act
from components.core.storage.digest import MANIFEST
from components.core.storage.state import release

Result = TypeVar("Result")


def check_replaceable(out: Path, inputs: Iterable[Path] = ()) -> None:
    """Make sure that an output may be written to `out` without loss of anything that ganflow did not make.

    Args:
        out: a folder that is not there yet, or is empty, or holds nothing but what ganflow wrote.
        inputs: files and folders that must lie apart from it.

    Raises:
        UserError: it is anything else.
    """
    out = _absolute(out)
    with _told(out):
        _check_apart(out, inputs)
        if out.parent.exists():
            with _renaming(out):
                _check_kind(out)
                _check_strangers(out)


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place on success and vanishes on failure.

    It is on the disk before it gets its name. Killed at any line, this leaves the old output or the new one where the
    next call for the same `out` finds it and puts it into place.

    Raises:
        UserError: `out` may not be replaced, or cannot be written.
    """
    check_replaceable(out)
    out = _absolute(out)
    partial, rubbish = _beside(out, "partial"), []
    with contextlib.ExitStack() as stack:
        # Before there is anything: a signal may come right after the folder.
        stack.enter_context(last_act(lambda code: _remove([partial, *rubbish])))
        stack.callback(_remove, [partial])
        with _told(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            with _renaming(out):
                rubbish += _settle(out)
                partial.mkdir()
                living = os.open(partial, os.O_RDONLY)
                stack.callback(os.close, living)
                _lock(living)
        _remove(rubbish)
        yield partial
        with _told(out):
            _finish(partial)
            with deferred(), _renaming(out):
                partial.rename(partial.with_suffix(".whole"))
                _check_kind(out)
                _check_strangers(out)
                rubbish += _settle(out)
        _remove(rubbish)


def _absolute(out: Path) -> Path:
    return Path(os.path.abspath(out))  # noqa: PTH100 (resolve would follow a link that is to be refused)


def _check_kind(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()) or out.is_mount():
        kind = "link" if out.is_symlink() else "mounted disk" if out.is_dir() else "file"
        raise UserError(
            f"The output cannot be written to {out}, which is a {kind}; give a folder that is new or empty."
        )
    sticky = out.exists() and out.parent.stat().st_mode & stat.S_ISVTX  # as in /tmp: only its owner can move it
    if sticky and os.geteuid() not in (0, out.parent.stat().st_uid, out.stat().st_uid):
        raise UserError(f"{out} is another user's; write to another folder.")


def _check_apart(out: Path, inputs: Iterable[Path]) -> None:
    real = out.resolve()
    for given in inputs:
        one = given.resolve()
        if one == real or one in real.parents or real in one.parents:
            raise UserError(
                f"The output {out} would replace the input {given}, or a part of it; write it to another folder."
            )


def _check_strangers(out: Path) -> None:
    if strangers := sorted(set(_names(out)) - _written(out)):
        more = f" and {len(strangers) - 1} more" if strangers[1:] else ""
        raise UserError(
            f"{out} holds {strangers[0]}{more}, which this ganflow did not write, and would be replaced; "
            "move that away, or write to another folder."
        )


def _names(folder: Path) -> Iterator[str]:
    """Files and links below a folder, relative to it; its manifest aside."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*files, *links):
            path = Path(parent, name).relative_to(folder).as_posix()
            if path != MANIFEST:
                yield path


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _written(out: Path) -> set[str]:
    """What an output's manifest lists; nothing where it is missing or is not ours."""
    try:
        return set(json.loads((out / MANIFEST).read_text()))
    except (OSError, ValueError, TypeError):
        return set()


def _settle(out: Path) -> list[Path]:
    """Put what is finished into `out`'s place, and what was moved away back where nothing else is.

    Returns:
        Folders that nobody needs any more.
    """
    kinds: dict[str, list[Path]] = {"partial": [], "whole": [], "old": []}
    for path in out.parent.iterdir():
        if match := re.fullmatch(rf"\.{re.escape(out.name)}\.[0-9a-f]{{32}}\.({'|'.join(kinds)})", path.name):
            kinds[match[1]].append(path)
    *_, newest = [None, *sorted(kinds["whole"] or kinds["old"], key=lambda path: path.stat().st_ctime_ns)]
    if newest and (kinds["whole"] or not out.exists()):
        if out.exists():
            kinds["old"].append(out.rename(_beside(out, "old")))
        newest.rename(out)
        _with_descriptor(out.parent, os.fsync)
    rubbish = [path for path in kinds["whole"] + kinds["old"] if path.exists()]
    # Under this name nobody takes it for whole when it is half removed.
    return [path.rename(path.with_suffix(".partial")) for path in rubbish] + list(filter(_is_dead, kinds["partial"]))


def _beside(out: Path, kind: str) -> Path:
    return out.with_name(f".{out.name}.{uuid.uuid4().hex}.{kind}")


def _remove(rubbish: list[Path]) -> None:
    for path in rubbish:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _renaming(out: Path) -> Iterator[None]:
    """Keep other processes from renaming beside `out`."""
    descriptor = os.open(out.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # NFS has no locks on folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        release(descriptor)


def _is_dead(partial: Path) -> bool:
    """Whether the process that wrote it is gone."""
    try:
        return _with_descriptor(partial, _lock)
    except FileNotFoundError:  # it went meanwhile
        return False


@contextlib.contextmanager
def _told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"The output cannot be written to {out} ({error.strerror}); "
            "make room there or write to another folder, and run this again."
        ) from error


def _finish(partial: Path) -> None:
    """Add the manifest and bring everything to the disk."""
    (partial / MANIFEST).unlink(missing_ok=True)  # a copied input's; a link leads into DVC's cache
    (partial / MANIFEST).write_text(json.dumps(sorted(_names(partial)), indent=1) + "\n")
    folders = list(os.walk(partial, onerror=_refuse))
    paths = [Path(folder, name) for folder, _, names in folders for name in names]
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    for act in (_start_writing, os.fsync):  # all at once first: a third of the time
        for path in files:
            _with_descriptor(path, act)
    for folder, _, _ in reversed(folders):
        _with_descriptor(Path(folder), os.fsync)


def _start_writing(descriptor: int) -> None:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _lock(descriptor: int) -> bool:
    """Take a folder's lock; whether it was free, as far as can be known."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _with_descriptor(path: Path, act: Callable[[int], Result]) -> Result:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return act(descriptor)
    finally:
        os.close(descriptor)
