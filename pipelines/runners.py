"""Runs a pipeline on this machine through `kfp.local`: cached, parallel up to the cores, watched while it runs."""

import contextlib
import io
import logging
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

from kfp import local
from kfp.local import task_dispatcher
from kfp.local.orchestrator import dag_orchestrator, enhanced_dag_orchestrator, task_executor
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.local.status import Status
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig

from components.core.signals import last_act
from components.core.storage import state_dir
from components.core.storage.state import make_folder
from components.core.telemetry import WARNING
from pipelines.cleaning import CACHE, RESULTS, results_in_use, touch_results
from pipelines.machine import Machine, Need
from pipelines.walking import run_dag

ExecutorSpec = PipelineDeploymentConfig.ExecutorSpec

SHARED_ARGUMENTS = ("params", "code", "source", "digest", "pipeline", "profile", "needs")
"""Arguments that all tasks of a step share, the last three those of `pipelines.one_pod`; the others tell them apart."""

POLL_SECONDS = 0.1
"""Between two looks at whether the run shall end."""

KFP_LOG = re.compile(r"\s*(\d\d:\d\d:\d\d\.\d{3} - |-{20})")
"""Lines of `kfp.local` itself among the output of tasks."""


@dataclass
class Task:
    """One task of a running pipeline.

    Attributes:
        step: the step's name.
        arguments: what tells it from the step's other tasks, such as fold and class.
        state: "waiting", "running", "cached", "done", "failed", "ended" by a signal, or "skipped" after either; on a
            cluster that does not tell it, "unknown".
        seconds: how long it ran.
        reason: why it is in this state, where that can be told.
        outputs: folders by output name, once there.
        facts: the outputs' metadata: fingerprint and digest.
        printed: the lines it printed.
    """

    step: str
    arguments: dict[str, Any]
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    reason: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The step and what tells this task apart, such as `train-egan fold=0 label=patient`."""
        return " ".join([self.step, *(f"{name}={value}" for name, value in self.arguments.items())])

    @property
    def warnings(self) -> list[str]:
        """What the task warned of while it ran."""
        return [line.removeprefix(WARNING) for line in list(self.printed) if line.startswith(WARNING)]


class Watch:
    """The tasks of a run, in the order in which they were reached."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def count(self, *states: str) -> int:
        """How many tasks are in one of `states`."""
        return sum(task.state in states for task in self.tasks)

    def failed(self) -> list[Task]:
        """The tasks that failed."""
        return [task for task in self.tasks if task.state == "failed"]


KfpRunner = local.SubprocessRunner | local.DockerRunner


class Runner(Protocol):
    """Where a run's tasks are executed, out of reach of the terminal's Ctrl-C."""

    def ready(self, data: Path | None) -> AbstractContextManager[KfpRunner]:
        """Ready for tasks, which are given the environment of this moment, and `data`, a folder, to read."""

    def runner_of(self, step: str) -> KfpRunner:
        """What executes a step's tasks."""

    def terminate(self) -> None:
        """Hand SIGTERM on to the running tasks, without waiting for them."""

    def kill(self) -> None:
        """End the running tasks at once, without waiting for them; this process is about to end."""


def run_locally(
    graph: Callable[[], Any],
    watch: Watch,
    runner: Runner,
    data: Path | None = None,
    *,
    needs: Callable[[str], Need] = lambda _: Need(),
    signals: Sequence[int] = (),
) -> None:
    """Run a Kubeflow pipeline on this machine; `watch` knows how it went, `data` is the raw data's folder, if any.

    Results are cached under the state folder: a task whose parameters, code and inputs are unchanged is not run,
    whichever runner ran it before. After a failure no further task starts.

    Args:
        needs: of a step: what its tasks take of the machine; as many run at once as it holds.
        signals: filled while this runs, as by `components.core.signals.deferred`: from then on no further task starts,
            and the running ones are sent SIGTERM, on which trainings write their checkpoints.
    """
    results, cache = make_folder(state_dir() / RESULTS), make_folder(state_dir() / CACHE)
    current = threading.local()
    with (
        results_in_use(),
        runner.ready(data) as kfp_runner,
        contextlib.redirect_stdout(_TaskOutput(current)),
        warnings.catch_warnings(),
        _silent_root_logger(),
        _watched(watch, current, runner, needs, signals),
        _handing_on(signals, runner),
    ):
        local.init(
            kfp_runner,
            pipeline_root=str(results),
            raise_on_error=False,
            enable_caching=True,
            cache_root=str(cache),
        )
        warnings.simplefilter("ignore")  # kfp.local warns of every placement that means nothing here
        graph()


def unroll(graph: Callable[[], Any], execute: Callable[..., tuple[dict[str, Any], Status]]) -> None:
    """Walk a pipeline as `run_locally` does, every turn of every loop; `execute` stands in for running a task.

    It is given what `kfp.local` knows of the task, and returns its outputs, which later tasks are given.
    """
    with (
        tempfile.TemporaryDirectory() as nothing,
        contextlib.redirect_stdout(io.StringIO()),
        _silent_root_logger(),
        patch.object(task_executor, "execute_single_task", execute),
    ):
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=nothing)
        graph()


class _TaskOutput(io.TextIOBase):
    """Standard output that files what `kfp.local` echoes of a task under that task, by the thread that runs it."""

    def __init__(self, current: threading.local) -> None:
        self._current = current

    def write(self, text: str) -> int:
        task = getattr(self._current, "task", None)
        if task and text.strip() and not KFP_LOG.match(text):
            task.printed.append(text.strip())
        return len(text)


@contextlib.contextmanager
def _silent_root_logger() -> Iterator[None]:
    """Keep off the terminal what `kfp.local` logs; its tasks' threads swap the root logger's handlers as they like."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [logging.NullHandler()]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextlib.contextmanager
def _handing_on(signals: Sequence[int], runner: Runner) -> Iterator[None]:
    """Hand the first of `signals` on to the tasks; if another one ends this process, they end with it at once."""
    over = threading.Event()

    def hand_on() -> None:
        while not over.wait(POLL_SECONDS):
            if signals:
                runner.terminate()
                return

    thread = threading.Thread(target=hand_on, name="signals")
    with last_act(lambda _: runner.kill()):
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextlib.contextmanager
def _watched(
    watch: Watch,
    current: threading.local,
    runner: Runner,
    needs: Callable[[str], Need],
    signals: Sequence[int],
) -> Iterator[None]:
    """Watch and bound the tasks of `kfp.local`, which has no hooks for either (2.17).

    The two functions below stand in for its entry points: every task passes through `execute_single_task`, a task that
    no cache answers also through `run_single_task_implementation`. Graphs are walked by `walking.run_dag`.
    """
    machine = Machine.this()
    execute, dispatch = task_executor.execute_single_task, task_dispatcher.run_single_task_implementation

    def watched_execute(**given: Any) -> tuple[dict[str, Any], Status]:
        task = current.task = task_of(given)
        watch.tasks.append(task)
        try:
            outputs, status = execute(**given)
        except Exception as error:  # kfp.local loses it in a loop
            task.state = "running"
            task.printed.append(f"{type(error).__module__}.{type(error).__qualname__}: {error}")
            outputs, status = {}, Status.FAILURE
        if task.state == "waiting":
            task.state = "cached"
        elif task.state == "running":
            task.state = "done" if status == Status.SUCCESS else "ended" if signals else "failed"
        task.outputs = {name: artifact.path for name, artifact in outputs.items()}
        touch_results(task.outputs.values())
        task.facts = next((dict(artifact.metadata) for artifact in outputs.values()), {})
        current.task = None
        return outputs, status

    def watched_dispatch(**given: Any) -> tuple[dict[str, Any], Status]:
        task: Task = current.task
        with machine.room_for(needs(task.step)) as environment:
            if watch.failed() or signals:
                task.state = "skipped"
                return {}, Status.FAILURE
            task.state, task.started = "running", time.monotonic()
            changed = {
                "runner": runner.runner_of(task.step),
                "executor_spec": _with(given["executor_spec"], environment),
            }
            try:
                return dispatch(**given | changed)
            finally:
                task.seconds = time.monotonic() - task.started

    with (
        patch.object(task_executor, "execute_single_task", watched_execute),
        patch.object(task_dispatcher, "run_single_task_implementation", watched_dispatch),
        patch.object(dag_orchestrator, "run_dag", run_dag),  # where there is no loop
        patch.object(enhanced_dag_orchestrator, "run_enhanced_dag", run_dag),
    ):
        yield


def _with(spec: ExecutorSpec, environment: Mapping[str, str]) -> ExecutorSpec:
    """A task's container with more in its environment."""
    changed = ExecutorSpec()
    changed.CopyFrom(spec)
    for name, value in environment.items():
        changed.container.env.add(name=name, value=value)
    return changed


def task_of(given: dict[str, Any]) -> Task:
    """The task that `execute_single_task` was called for."""
    arguments = OrchestratorUtils.make_task_arguments(given["task_spec"].inputs, given["io_store"])
    return task_for(given["task_spec"].component_ref.name, arguments)


def task_for(component: str, arguments: Mapping[str, Any]) -> Task:
    """The task of a component of a compiled pipeline that is given these arguments."""
    telling = {
        name: int(value) if isinstance(value, float) else value  # protobuf knows no integers
        for name, value in sorted(arguments.items())
        if isinstance(value, str | int | float) and name not in SHARED_ARGUMENTS
    }
    return Task(re.sub(r"^comp-|-\d+$", "", component), telling)
