"""Runs tasks in processes of this machine: forks of one process that has imported what every training needs."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from unittest.mock import patch

import psutil
from kfp import local
from kfp.local import subprocess_task_handler

from components.core.signals import PREEMPTED, last_act, obey

PRELOADED = ["torch._dynamo", "safetensors.torch", "kfp.dsl.executor_main"]
"""What costs most to import; none of ganflow's own modules, so that a task runs the code that is there when it starts.

Torch imports its compiler in the first step of any optimiser.
"""

ENVIRONMENT = {
    # Lets glibc keep the memory of freed tensors instead of handing it back: a tenth of a training step on a CPU.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    "MALLOC_TOP_PAD_": str(2**28),
    # Tells kfp that a task imports it, which needs a part of it.
    "_KFP_RUNTIME": "true",
}
"""What tasks are given beside the environment of the run."""

ENDING = {signal.SIGINT, signal.SIGTERM}
"""Signals that end a run."""

ENDING_SECONDS = 120.0
"""How long a task whose run is gone may take to write its checkpoint."""


class Subprocesses:
    """Tasks are child processes that do not hear Ctrl-C: the run hands it on to them as SIGTERM.

    A task whose run is gone, however it went, ends as if it had been told to.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._lock = threading.Lock()
        self._running: set[ForkServerProcess] = set()
        self._stopping = False

    @contextlib.contextmanager
    def ready(self, data: Path | None) -> Iterator[local.SubprocessRunner]:
        """Ready for tasks, which are given the environment of this moment; any folder is theirs to read."""
        with (
            patch.dict(os.environ, ENVIRONMENT),
            patch.object(subprocess_task_handler, "run_local_subprocess", self._run),
        ):
            yield self.runner_of("")

    def runner_of(self, step: str) -> local.SubprocessRunner:
        """What executes a step's tasks."""
        return local.SubprocessRunner(use_venv=False)

    def terminate(self) -> None:
        """Hand SIGTERM on to the running tasks, without waiting for them."""
        self._stopping = True
        for process in list(self._running):
            _send(process, signal.SIGTERM)

    def kill(self) -> None:
        """End the running tasks at once."""
        for process in list(self._running):
            _send(process, signal.SIGKILL)

    def _run(self, full_command: list[str], env_vars: dict[str, str]) -> int:
        """A task's process, from start to end; its exit code. Stands in for a function of `kfp.local` (2.17)."""
        reader, writer = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_become, args=(full_command, os.environ | env_vars, reader, writer))
        with reader, writer:
            self._start(process)
            writer.close()
            try:
                with open(reader.fileno(), errors="replace", closefd=False) as lines:
                    for line in lines:
                        print(line, end="")
            finally:
                with self._lock:
                    process.join()
                    self._running.remove(process)
        return process.exitcode

    def _start(self, process: ForkServerProcess) -> None:
        # One at a time, and none while another is joined: either would take that one's exit code from the same pipe.
        with self._lock:
            resource_tracker.ensure_running()  # at its first start it would unblock what is blocked here
            before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # which the fork server and its forks inherit
            try:
                process.start()
                self._running.add(process)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if self._stopping:
            _send(process, signal.SIGTERM)


def _send(process: ForkServerProcess, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        task = psutil.Process(process.pid)
        for each in (*task.children(recursive=True), task):
            each.send_signal(number)


def _become(command: list[str], environment: dict[str, str], printed: Connection, output: Connection) -> None:
    """Do in this process what a lightweight component's command does in a new one."""
    obey()  # whoever started the run may have had SIGTERM ignored
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output.fileno(), stream.fileno())
        stream.reconfigure(line_buffering=True)
    output.close()
    threading.Thread(target=_end_with_the_run, args=(printed,), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)

    from kfp.dsl.executor_main import executor_main

    _, _, _, source, *arguments = command
    with tempfile.TemporaryDirectory() as folder, last_act(lambda _: shutil.rmtree(folder)):
        program = Path(folder, "ephemeral_component.py")
        program.write_text(source)
        sys.argv = ["", "--component_module_path", str(program), *arguments]
        executor_main()


def _end_with_the_run(printed: Connection) -> None:
    """Wait until the run is gone, then end this task as SIGTERM does.

    It holds the other end of what the task prints into: a pipe that nobody reads would be an error there.
    """
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = threading.Timer(ENDING_SECONDS, os._exit, [PREEMPTED])
    deadline.daemon = True
    deadline.start()
    while os.read(printed.fileno(), 2**16):  # a full one would hold the task up
        pass
