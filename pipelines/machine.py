"""What runs on this machine at once: no more than its processors, its memory and its GPUs hold."""

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_SECONDS = 1.0
"""Between two looks at the memory, which others take and free."""

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Need:
    """What one task takes of the machine.

    Attributes:
        threads: it computes with.
        memory: it is reckoned to take, in bytes.
        gpu: whether it takes a GPU, where there are any.
    """

    threads: int = 1
    memory: int = 0
    gpu: bool = False


class Machine:
    """Processors, memory and GPUs that tasks share; a task that needs more than there is runs alone.

    Args:
        cpus: how many this process may use.
        memory: bytes that tasks may take together, beside what `available_memory` says at each start.
        gpus: as CUDA_VISIBLE_DEVICES names them.
    """

    def __init__(self, cpus: int, memory: int, gpus: Sequence[str] = ()) -> None:
        self.cpus = cpus
        self._memory = memory
        self._gpus = gpus
        self._running: dict[object, tuple[Need, str | None]] = {}
        self._changed = threading.Condition()

    @classmethod
    def this(cls) -> "Machine":
        """What this process may use of the machine that it runs on: within its cgroup, its affinity, its devices."""
        from joblib import cpu_count  # a quarter of a second, which only a run need take

        return cls(cpu_count(), available_memory(), _gpus())

    @contextlib.contextmanager
    def room_for(self, need: Need) -> Iterator[dict[str, str]]:
        """Wait until there is room for a task and keep it; the environment that tells the task its GPU."""
        with self._changed:
            while not self._fits(need):
                self._changed.wait(POLL_SECONDS)
            gpu = self._free_gpus()[0] if need.gpu and self._gpus else None
            key = object()
            self._running[key] = (need, gpu)
        try:
            yield {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}
        finally:
            with self._changed:
                del self._running[key]
                self._changed.notify_all()

    def _fits(self, need: Need) -> bool:
        if not self._running:
            return True
        threads = sum(each.threads for each, _ in self._running.values())
        memory = sum(each.memory for each, _ in self._running.values())
        return (
            threads + need.threads <= self.cpus
            and memory + need.memory <= self._memory
            and need.memory <= available_memory()
            and not (need.gpu and self._gpus and not self._free_gpus())
        )

    def _free_gpus(self) -> list[str]:
        taken = {gpu for _, gpu in self._running.values()}
        return [gpu for gpu in self._gpus if gpu not in taken]


def available_memory() -> int:
    """Bytes that a new process may take now: what the machine has left, and what this process's cgroups do."""
    return max(0, min([psutil.virtual_memory().available, *_left_in_cgroups()]))


def _left_in_cgroups() -> Iterator[int]:
    """What each cgroup around this process has left, be they of version 2 or 1; the page cache counts as free."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        root, limit, usage, cached = (
            (CGROUP, "memory.max", "memory.current", "inactive_file")
            if not controllers
            else (CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        if controllers not in ("", "memory"):
            continue
        folder = root / place.lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError):  # no limit here, or not within our sight
                    stat = dict(row.split() for row in (each / "memory.stat").read_text().splitlines())
                    left = int((each / limit).read_text()) - int((each / usage).read_text())
                    yield left + int(stat.get(cached, 0))


def _gpus() -> list[str]:
    """The GPUs that CUDA would show this process, each as CUDA_VISIBLE_DEVICES names it."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [each.strip() for each in given.split(",") if each.strip() not in ("", "-1")]
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else []
