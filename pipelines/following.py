"""A run on a cluster, watched from here to its end."""

import re
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import kfp_server_api as api

from pipelines.cluster import FINAL, Away, Cluster
from pipelines.runners import Task, Watch
from pipelines.view import RunView

POLL_SECONDS = 5.0
"""Between two questions to the server."""

PATIENCE_SECONDS = 600.0
"""How long the server may be away: the run does not need it to go on."""

_STATES = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "SKIPPED": "cached",
    "FAILED": "failed",
    "CANCELED": "skipped",
}

_SCAFFOLDING = re.compile(r"root|executor|.*-driver|(for-loop|condition|iteration)-.*")
"""What Kubeflow itself runs among the tasks."""


def follow(cluster: Cluster, run_id: str) -> api.V2beta1Run:
    """Show a run's tasks until it has ended; returns it as it ended.

    Raises:
        UserError: the server refuses to tell, or has been away for too long.
    """
    watch = Watch()
    with tempfile.TemporaryDirectory() as nothing, RunView(watch, Path(nothing)):
        while True:
            run = _patiently(cluster, run_id)
            watch.tasks[:] = tasks(run)
            if run.state in FINAL:
                return run
            time.sleep(POLL_SECONDS)


def tasks(run: api.V2beta1Run) -> list[Task]:
    """The tasks of a run that are steps; where several are of one step, they are numbered."""
    details = (run.run_details and run.run_details.task_details) or []
    own = [each for each in details if not _SCAFFOLDING.fullmatch(each.display_name or "root")]
    own.sort(key=lambda each: each.create_time or datetime.max.replace(tzinfo=UTC))
    steps = [re.sub(r"-\d+$", "", each.display_name) for each in own]
    total, count = Counter(steps), Counter()
    found = []
    for step, detail in zip(steps, own, strict=True):
        count[step] += 1
        numbered = {"task": count[step]} if total[step] > 1 else {}
        found.append(Task(step, numbered, _STATES.get(detail.state, "waiting"), seconds=_seconds(detail)))
    return found


def errors(run: api.V2beta1Run) -> list[str]:
    """What failed in a run, a sentence each: its steps, else the run itself."""
    details = (run.run_details and run.run_details.task_details) or []
    failed = [each for each in details if each.state == "FAILED" and not _SCAFFOLDING.fullmatch(each.display_name)]
    told = [f"{each.display_name} failed{_reason(each.error)}" for each in failed]
    return told or [f"the run failed{_reason(run.error)}"]


def _patiently(cluster: Cluster, run_id: str) -> api.V2beta1Run:
    """The run, when the server is back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return cluster.run(run_id)
        except Away:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)


def _seconds(detail: api.V2beta1PipelineTaskDetail) -> float:
    ended = detail.start_time and detail.end_time
    return (detail.end_time - detail.start_time).total_seconds() if ended else 0.0


def _reason(error: api.GoogleRpcStatus | None) -> str:
    return f": {' '.join(error.message.split())}" if error and error.message else ""
