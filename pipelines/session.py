"""One `ganflow run`: the pipeline on this machine, its tree of MLflow runs, its report."""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.text import Text

from components.core.contract.outputs import check_replaceable, replacing
from components.core.errors import TaskFailure, UserError
from components.core.signals import deferred
from components.core.storage import state_dir
from components.core.storage.state import make_folder
from components.core.telemetry import journals_dir, leaves, shown, tracking_uri
from components.core.telemetry.courier import Courier
from components.core.telemetry.tracking import PipelineRun, open_pipeline_run
from pipelines.data import Source, resolve
from pipelines.machine import Need
from pipelines.pipeline import REGISTERS, Pipeline
from pipelines.placement import needs_here
from pipelines.runners import Runner, Task, Watch, run_locally
from pipelines.view import RunView, plain_console, warnings

USER_ERROR = re.compile(r"components\.core\.[\w.]+\.(UserError|TaskFailure|Collapse|Changed): ")
"""Begins the last line of a task that ended by a sentence."""


@dataclass(frozen=True)
class Job:
    """What a session runs.

    Attributes:
        pipeline: the system.
        params: its section of `params.yaml`.
        profile: that the parameters came from.
        source: the raw data, None where the pipeline brings its own.
        data: what people call them.
        title: of the run in MLflow.
        needs: what the tasks of each step take of the machine.
        run_id: the run in MLflow that stands for it, where it is there already.
    """

    pipeline: Pipeline
    params: Any
    profile: str
    source: Source | None
    data: str
    title: str
    needs: Mapping[str, Need]
    run_id: str | None = None


def run_session(
    pipeline: Pipeline,
    data: str | None,
    profile: str,
    overrides: list[str],
    out: Path,
    runner: Runner,
    *,
    as_json: bool = False,
) -> None:
    """Run a pipeline on this machine as `ganflow run` asks for it; see `run_job`.

    Args:
        data: what `pipelines.data.resolve` takes; without it the pipeline brings its own.

    Raises:
        UserError: also for bad parameters.
    """
    params = pipeline.load(profile, overrides)
    source = resolve(data, here=True) if data else None
    names = [Path(data).absolute().name] if data else []
    changes = [each.removeprefix(f"{pipeline.name}.") for each in overrides]
    title = " ".join([pipeline.name, profile, *names, *changes])
    os.environ.pop("GANFLOW_IMAGE", None)  # it is not this process's; the runner tells it those tasks whose it is
    job = Job(pipeline, params, profile, source, "".join(names), title, needs_here(pipeline.steps(params)))
    run_job(job, out, runner, as_json=as_json)


def run_job(job: Job, out: Path, runner: Runner, *, as_json: bool = False) -> Watch:
    """Run a pipeline on this machine, write its report into `out`, and say where to look next; returns its tasks.

    Args:
        job: what to run.
        out: a folder that is new, empty or a report of before.
        runner: where tasks are executed.
        as_json: what is said is said in JSON, of a run that failed or was ended, too.

    Raises:
        UserError: what the graph refuses, no tracking server, or an `out` that may not be replaced.
        TaskFailure: a task's own message.
        KeyboardInterrupt: a signal ended the run.
    """
    pipeline, source = job.pipeline, job.source
    params = job.params if source else pipeline.settle(job.params)
    _check_out(out, source)
    graph = pipeline.graph(params, source)
    watch = Watch()
    # Signals wait from the run's first moment in MLflow until its last; while the rest is delivered they end this.
    with contextlib.ExitStack() as until_delivered, deferred() as signals:
        tags = {"ganflow.profile": job.profile, "ganflow.out": str(out)}
        parent = open_pipeline_run(pipeline.name, job.title, params.model_dump(mode="json"), tags, job.run_id)
        if source:
            parent.journal.dataset(job.data, source.digest, source.uri, {})
        environment = os.environ | parent.environment() | {"GANFLOW_HOME": str(state_dir())}
        environment.pop("MLFLOW_RUN_ID", None)  # else every task would log into that one run
        until_delivered.enter_context(patch.dict(os.environ, environment, clear=True))
        until_delivered.enter_context(Courier(journals_dir()))
        try:
            with RunView(watch, journals_dir()):
                local = Path(source.uri) if source and source.is_local else None
                run_locally(graph, watch, runner, local, needs=job.needs.__getitem__, signals=signals)
            if signals:
                raise KeyboardInterrupt
            if watch.failed():
                raise TaskFailure(_failures(watch))
            metrics = _write_report(watch, out)
        except BaseException as error:
            state = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            parent.finish(state, {}, _counts(watch), [])
            if as_json:
                _say_in_json(state, watch, None, parent)
            raise
        parent.finish("FINISHED", metrics, _counts(watch), [out / "report.html"])
        signals.clear()  # what came after the last task came too late
    if as_json:
        _say_in_json("FINISHED", watch, out, parent)
    else:
        _say(pipeline, watch, out, parent.url)
    return watch


def _check_out(out: Path, source: Source | None) -> None:
    """Refuse, before any work, an output folder that the report could not be written to."""
    check_replaceable(out, [Path(source.uri)] if source and source.is_local else [])
    above = next(each for each in out.absolute().parents if each.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise UserError(f"The report cannot be written to {out}, since nothing can to {above}; choose another --out.")


def _write_report(watch: Watch, out: Path) -> dict[str, float]:
    """Copy what the evaluation wrote to where people look, with a list of all steps; the metrics by name."""
    report = next(task.outputs["report"] for task in watch.tasks if "report" in task.outputs)
    with replacing(out) as folder:
        shutil.copytree(report, folder, dirs_exist_ok=True)
        (folder / "steps.json").write_text(json.dumps(_steps(watch), indent=1) + "\n")
    metrics = json.loads((out / "metrics.json").read_text())
    del metrics["published"]  # the paper's numbers are not this run's
    return {key: float(value) for key, value in leaves(metrics, "/") if isinstance(value, int | float)}


def _steps(watch: Watch) -> list[dict[str, Any]]:
    """Every task with its fingerprint, its output's digest and where that lies, as far as it came."""
    return [
        {"step": task.step, "arguments": task.arguments, "state": task.state, **task.facts, "outputs": task.outputs}
        for task in watch.tasks
    ]


def _counts(watch: Watch) -> dict[str, str]:
    return {f"ganflow.tasks.{state}": str(watch.count(state)) for state in ("done", "cached", "failed", "skipped")}


def _failures(watch: Watch) -> str:
    """What the failed tasks said: the sentence of a `UserError`, else the traceback's last line and where to look."""
    return "\n".join(f"{task.title} failed: {_message(task)}" for task in watch.failed())


def _message(task: Task) -> str:
    lines = [shown(line) for line in task.printed]
    for number, line in enumerate(lines):
        if sentence := USER_ERROR.match(line):
            return "\n".join([line[sentence.end() :], *lines[number + 1 :]])
    last = lines[-1] if lines else "it ended without a word"
    try:
        log = make_folder(state_dir() / "logs") / f"{task.title.replace(' ', '_').replace('/', '_')}.log"
        log.write_text("\n".join(lines) + "\n")
    except (OSError, UserError):  # as on a full disk, which may be why the task failed
        return f"{last}; run again to resume."
    return f"{last} (its output: {log}); run again to resume."


def _say_in_json(state: str, watch: Watch, out: Path | None, parent: PipelineRun) -> None:
    """A run in JSON, for scripts: its state in MLflow's words, its MLflow run, its report, its steps, its metrics."""
    told = {
        "state": state,
        "run_id": parent.run_id,
        "tracking_uri": shown(parent.tracking_uri),
        "url": parent.url,
        "report": str(out.absolute() / "report.html") if out else None,
        "metrics": json.loads((out / "metrics.json").read_text()) if out else None,
        "steps": _steps(watch),
    }
    print(json.dumps(told, indent=1))


def _say(pipeline: Pipeline, watch: Watch, out: Path, page: str | None) -> None:
    """The end of a run in the terminal: its scores, what was computed, where to look next."""
    console = plain_console(sys.stdout)
    console.print(pipeline.summary(json.loads((out / "metrics.json").read_text())))
    for line in warnings(watch):
        console.print(Text(line, "yellow"), soft_wrap=True)
    registered = sum(task.step.startswith(REGISTERS) for task in watch.tasks)
    computed, cached = watch.count("done") - registered, watch.count("cached")
    if computed:
        console.print(f"{computed} steps computed, {cached} taken from the cache, the models registered.")
    else:
        console.print(f"Nothing was recomputed: all {cached} steps were taken from the cache, the models registered.")
    console.print(f"Report: {out / 'report.html'}", soft_wrap=True)
    way = page or f"mlflow ui --backend-store-uri {shown(tracking_uri())}"
    console.print(f"Runs and models: {way}  (models: {', '.join(pipeline.models)})", soft_wrap=True)
