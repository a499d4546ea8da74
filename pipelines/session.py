"""One `ganflow run`: the pipeline on this machine, its tree of MLflow runs, its report."""

import json
import os
import shutil
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from components.core.errors import UserError
from components.core.storage import state_dir
from components.core.telemetry import journals_dir, leaves, tracking_uri
from components.core.telemetry.courier import Courier
from components.core.telemetry.tracking import open_pipeline_run
from pipelines.data import resolve
from pipelines.pipeline import Pipeline
from pipelines.runners import Runner, Task, Watch, run_locally
from pipelines.view import RunView, warnings

USER_ERROR = f"{UserError.__module__}.{UserError.__qualname__}: "


def run_session(
    pipeline: Pipeline, data: str | None, profile: str, overrides: list[str], out: Path, runner: Runner
) -> None:
    """Run a pipeline on this machine, write its report into `out`, and say where to look next.

    Args:
        data: what `pipelines.data.resolve` takes; without it the pipeline brings its own.

    Raises:
        UserError: bad parameters, no tracking server, or a task's own message.
    """
    params = pipeline.load(profile, overrides)
    source = resolve(data, here=True) if data else None
    if source is None:
        params = pipeline.settle(params)
    os.environ.pop("GANFLOW_IMAGE", None)  # it is not this process's; the runner tells it those tasks whose it is
    names = [Path(data).absolute().name] if data else []
    changes = [each.removeprefix(f"{pipeline.name}.") for each in overrides]
    title = " ".join([pipeline.name, profile, *names, *changes])
    parent = open_pipeline_run(pipeline.name, title, params.model_dump(mode="json"), {"ganflow.profile": profile})
    if source:
        parent.journal.dataset(names[0], source.digest, source.uri, {})
    watch = Watch()
    environment = os.environ | parent.environment() | {"GANFLOW_HOME": str(state_dir())}
    environment.pop("MLFLOW_RUN_ID", None)  # else every task would log into that one run
    with patch.dict(os.environ, environment, clear=True), Courier(journals_dir()):
        try:
            with RunView(watch, journals_dir()):
                local = Path(source.uri) if source and source.is_local else None
                run_locally(pipeline.graph(params, source), watch, runner, local)
            if watch.failed():
                raise UserError(_failures(watch))
            metrics = _write_report(watch, out)
        except BaseException:
            parent.finish("FAILED", {}, _counts(watch), [])
            raise
        parent.finish("FINISHED", metrics, _counts(watch), [out / "report.html"])
    _say(pipeline, watch, out, parent.url)


def _write_report(watch: Watch, out: Path) -> dict[str, float]:
    """Copy what the evaluation wrote to where people look, with a list of all steps; the metrics by name."""
    report = next(task.outputs["report"] for task in watch.tasks if "report" in task.outputs)
    shutil.rmtree(out / "plots", ignore_errors=True)
    shutil.copytree(report, out, dirs_exist_ok=True)
    steps = [
        {
            "step": task.step,
            "arguments": task.arguments,
            "state": task.state,
            **task.facts,
            "outputs": task.outputs,
        }
        for task in watch.tasks
    ]
    (out / "steps.json").write_text(json.dumps(steps, indent=1) + "\n")
    metrics = json.loads((out / "metrics.json").read_text())
    del metrics["published"]  # the paper's numbers are not this run's
    return {key: float(value) for key, value in leaves(metrics, "/") if isinstance(value, int | float)}


def _counts(watch: Watch) -> dict[str, str]:
    return {f"ganflow.tasks.{state}": str(watch.count(state)) for state in ("done", "cached", "failed", "skipped")}


def _failures(watch: Watch) -> str:
    """What the failed tasks said: the sentence of a `UserError`, else the traceback's last line and where to look."""
    return "\n".join(f"{task.title} failed: {_message(task)}" for task in watch.failed())


def _message(task: Task) -> str:
    lines = task.printed
    for number, line in enumerate(lines):
        if line.startswith(USER_ERROR):
            return "\n".join([line.removeprefix(USER_ERROR), *lines[number + 1 :]])
    log = state_dir() / "logs" / f"{task.title.replace(' ', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("\n".join(lines) + "\n")
    return f"{lines[-1] if lines else 'it ended without a word'} (its output: {log}); run again to resume."


def _say(pipeline: Pipeline, watch: Watch, out: Path, page: str | None) -> None:
    """The end of a run in the terminal: its scores, what was computed, where to look next."""
    console = Console(highlight=False)
    console.print(pipeline.summary(json.loads((out / "metrics.json").read_text())))
    for line in warnings(watch):
        console.print(f"[yellow]{line}[/]", soft_wrap=True)
    computed, cached = watch.count("done"), watch.count("cached")
    if computed:
        console.print(f"{computed} steps computed, {cached} taken from the cache.")
    else:
        console.print(f"Nothing was recomputed: all {cached} steps were taken from the cache.")
    console.print(f"Report: {out / 'report.html'}", soft_wrap=True)
    way = page or f"mlflow ui --backend-store-uri {tracking_uri()}"
    console.print(f"Runs and models: {way}  (models: {', '.join(pipeline.models)})", soft_wrap=True)
