"""What the steps of a run on a cluster told MLflow, each in the run that Kubeflow's plugin made for its task.

The plugin names such a run after the task, hangs it below the run of the pipeline or of the loop around it, and ends it
with the task's inputs as JSON (backend/src/v2/common/plugins/mlflow/handler.go). A step that begins adds its own tags;
so a run without them, but finished, is of a task that Kubeflow's cache answered.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kfp_server_api as api

from components.core.errors import UserError
from components.core.telemetry import shown
from components.core.telemetry.tracking import Refused, Store
from components.core.telemetry.tracking.store import answering, impatient
from pipelines.plan import Planned

if TYPE_CHECKING:
    from mlflow.entities import Run

_ARGUMENT = "ganflow.argument."

_EARLIER = 60_000
"""By how many milliseconds a task's run may seem to begin before its pipeline's: their clocks are two machines'."""


@dataclass(frozen=True)
class Record:
    """A task's run in MLflow.

    Attributes:
        name: Kubeflow's of the task.
        begun: whether the step did begin.
        step: its name, where it has begun; "" of the pod that runs all steps.
        arguments: what the task was given, as texts.
        status: "RUNNING", "FINISHED", "FAILED" or "KILLED".
        error: the sentence that the step failed with.
        warning: what it warned of.
        reused: whether the step found another execution's result.
        attempt: the number of the one that told this, from 1; 0 where it is not known.
        seconds: how long that took; 0 where it is not known.
        out: the folder that the step was told to write.
    """

    name: str
    begun: bool
    step: str
    arguments: Mapping[str, str]
    status: str
    error: str = ""
    warning: str = ""
    reused: bool = False
    attempt: int = 0
    seconds: float = 0.0
    out: str = ""

    def is_of(self, task: Planned) -> bool:
        """Whether it is the run of a task, as far as it can be told: before its step begins, it has no arguments."""
        shared = self.arguments.keys() & task.arguments.keys()
        alike = all(self.arguments[key] == _text(task.arguments[key]) for key in shared)
        return self.name == task.name and alike and bool(shared or not task.arguments)


class Records:
    """Where a run's steps report to.

    Args:
        run: whose; what Kubeflow's plugin says of it tells the server.

    Attributes:
        problem: why MLflow cannot be asked, "" as long as it can.
    """

    def __init__(self, run: api.V2beta1Run) -> None:
        plugin = (run.plugins_output or {}).get("mlflow")
        entries = {name: each.value for name, each in ((plugin and plugin.entries) or {}).items()}
        self._root, self._experiment = entries.get("root_run_id"), entries.get("experiment_id")
        self._page = (entries.get("run_url") or "").partition("/#/")[0]
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or self._page
        reason = plugin.state_message if plugin and plugin.state_message else "Kubeflow has no plugin for it"
        self.problem = "" if self._root and self._uri else f"MLflow has no run of it: {reason}"

    def read(self) -> list[Record]:
        """What the steps told so far; where MLflow cannot be asked, nothing, and `problem` says why."""
        if self._root is None:
            return []
        try:
            with answering(self._uri), impatient(), Store(self._uri).client() as client:
                root = client.get_run(self._root)
                since = f"attributes.start_time >= {root.info.start_time - _EARLIER}"
                runs, token = [], None
                while token is None or token:
                    page = client.search_runs([self._experiment], since, max_results=1000, page_token=token or None)
                    runs, token = runs + page, page.token or ""
        except UserError as error:
            if isinstance(error.__cause__, Refused) and error.__cause__.of_request:
                self.problem = f"{shown(self._uri)} knows no run of it; set MLFLOW_TRACKING_URI to {self._page}."
            else:
                self.problem = f"{str(error).partition(' (')[0].rstrip('.')}."
            return []
        self.problem = ""
        return [_record(each) for each in _below(self._root, runs)]


def record_of(task: Planned, records: Iterable[Record]) -> Record | None:
    """The run of a task; of several, since a driver that is repeated makes another, the one that its step began."""
    own = [each for each in records if each.is_of(task)]
    return max(own, key=lambda each: (each.begun, each.status == "FINISHED"), default=None)


def _below(root: str, runs: "Iterable[Run]") -> "list[Run]":
    """The runs that hang below one, through however many others."""
    parents = {each.info.run_id: each.data.tags.get("mlflow.parentRunId") for each in runs}

    def hangs(run_id: str | None) -> bool:
        return run_id is not None and (run_id == root or hangs(parents.get(run_id)))

    return [each for each in runs if hangs(parents[each.info.run_id])]


def _record(run: "Run") -> Record:
    tags = run.data.tags
    begun = "ganflow.started" in tags
    told = {name.removeprefix(_ARGUMENT): value for name, value in tags.items() if name.startswith(_ARGUMENT)}
    given = {name: _text(_parsed(value)) for name, value in run.data.params.items()}
    failed = run.info.status in ("FAILED", "KILLED")
    started, ended = int(tags.get("ganflow.started", 0)), run.info.end_time
    return Record(
        name=run.info.run_name,
        begun=begun,
        step=tags.get("ganflow.step", ""),
        arguments=told if begun else given,
        status=run.info.status,
        error=shown(tags.get("ganflow.error", "")) if failed else "",  # else an earlier attempt's
        warning=tags.get("ganflow.warning", ""),
        reused=tags.get("ganflow.reused") == "true",
        attempt=int(tags.get("ganflow.attempt", 0)),
        seconds=max(0.0, (ended - started) / 1000) if started and ended else 0.0,
        out=tags.get("ganflow.out", ""),
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # an old text that was cut
        return text


def _text(value: Any) -> str:
    """A value as a step's tag has it."""
    if isinstance(value, float) and value.is_integer():  # protobuf knows no integers
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
