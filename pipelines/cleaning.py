"""What ganflow keeps in its state folder and nobody needs any more: found, measured, removed.

Results of local runs and their cache, logs and fetched data are in use while any run is under way, checkpoints while
their step is. Journals are the courier's affair, but for those that it could not read and set aside.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.core.storage import state_dir
from components.core.storage.state import make_folder, open_shared, release

RESULTS, CACHE = Path("kfp", "runs"), Path("kfp", "cache")

KINDS = {
    "results of runs": f"{RESULTS}/*",
    "logs of failed tasks": "logs/*",
    "fetched data": "data/*",
    "downloads": "downloads/*",
    "checkpoints of unfinished trainings": "checkpoints/*",
    "journals that could not be read": "journals/set-aside/*",
    "half-written entries of the cache": f"{CACHE}/.kfp_cache_*.tmp",
}
"""Where what can be removed lies in the state folder."""

_CHECKPOINTS = "checkpoints of unfinished trainings"
_LOCK = Path("kfp", "lock")


@dataclass(frozen=True)
class Item:
    """Something that can be removed.

    Attributes:
        kind: one of `KINDS`.
        size: in bytes.
        used: when it was written or used last, in seconds since 1970.
    """

    kind: str
    path: Path
    size: int
    used: float


@contextlib.contextmanager
def results_in_use() -> Iterator[None]:
    """Keep results, logs and data from being removed within this context."""
    with _lock(state_dir() / _LOCK, fcntl.LOCK_SH):
        yield


def touch_results(outputs: Iterable[str]) -> None:
    """Note that outputs of former runs were used."""
    root = state_dir() / RESULTS
    for output in map(Path, outputs):
        if output.is_relative_to(root):
            with contextlib.suppress(OSError):  # another user's
                os.utime(root / output.relative_to(root).parts[0])


def find(older_than: float = 0.0) -> list[Item]:
    """What nobody uses and nobody used for so many seconds; less what is in use now."""
    now, home = time.time(), state_dir()
    found = []
    for kind, pattern in KINDS.items():
        for path in sorted(home.glob(pattern)):
            if home.resolve() in path.parent.resolve().parents:  # a link may lead to what is not ganflow's
                item = Item(kind, path, *_measure(path))
                if now - item.used >= older_than:
                    found.append(item)
    with contextlib.ExitStack() as stack:
        free = bool(found) and stack.enter_context(_unused(home / _LOCK))
        return [each for each in found if (_is_over(each) if each.kind == _CHECKPOINTS else free)]


def remove(items: Iterable[Item]) -> int:
    """Remove what is still not in use; the bytes that were freed."""
    freed, home = 0, state_dir()
    with _unused(home / _LOCK) as free:
        for item in items:
            with _turn_of(item) if item.kind == _CHECKPOINTS else contextlib.nullcontext(free) as mine:
                if mine:
                    if item.path.is_relative_to(home / RESULTS):
                        _forget(item.path)
                    _remove(item.path)
                    freed += item.size
    return freed


def _measure(path: Path) -> tuple[int, float]:
    """Bytes of a file or folder, and when it was last written."""
    facts = [path.lstat()]
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                facts.append(Path(folder, name).lstat())
    return sum(each.st_size for each in facts), max(each.st_mtime for each in facts)


def _forget(results: Path) -> None:
    """Remove the cache's entries that lead to a run's results, before those go: half of a result is none."""
    for entry in (state_dir() / CACHE).glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            if str(results) in entry.read_text():
                entry.unlink()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_over(checkpoints: Item) -> bool:
    with _turn_of(checkpoints) as over:
        return over


@contextlib.contextmanager
def _turn_of(checkpoints: Item) -> Iterator[bool]:
    """Whether no step is at a training, by the lock of `components.core.contract.turns`; none begins meanwhile."""
    path = state_dir() / "locks" / checkpoints.path.name
    with _unused(path) as free:
        yield free
        if free:
            path.unlink(missing_ok=True)  # as the turn itself does: who waits for it looks for a new one


@contextlib.contextmanager
def _unused(path: Path) -> Iterator[bool]:
    """Whether nobody holds a lock; nobody gets it within this context then."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
            free = True
        except BlockingIOError:
            free = False
        yield free


@contextlib.contextmanager
def _lock(path: Path, kind: int) -> Iterator[None]:
    make_folder(path.parent)
    descriptor = open_shared(path)
    try:
        fcntl.flock(descriptor, kind)
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))):
            raise BlockingIOError(f"{path} is another's by now")
        yield
    finally:
        release(descriptor)
