"""A run on a cluster as it truly is: what its version plans, joined with what Kubeflow, `kubectl` and MLflow know."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import kfp_server_api as api

from components.core.telemetry import WARNING
from pipelines.cluster import FINAL, Cluster, state_of
from pipelines.kubectl import Kubectl
from pipelines.nodes import Account, Workflow, accounts_of, is_whole
from pipelines.placement import ONE_POD, memory_line
from pipelines.plan import Planned, plan
from pipelines.records import Record, Records, record_of
from pipelines.runners import Task, task_for

_STARTING = re.compile("PodInitializing|ContainerCreating")
_EXIT = re.compile(r"Error \(exit code (\d+)\)")


@dataclass(frozen=True)
class Seen:
    """A task, and where its log is to be found.

    Attributes:
        task: as people see it.
        told: whether the task itself said why it failed.
        attempt: the number of its last, from 1; 0 where there is none.
        pod: its last attempt's, "" where it cannot be told.
        logs: where its logs are kept, without the attempt's number; "" where it cannot be told.
        within: whether it shares them with another task, in whose pod it runs.
    """

    task: Task
    told: bool = False
    attempt: int = 0
    pod: str = ""
    logs: str = ""
    within: bool = False


@dataclass(frozen=True)
class Status:
    """A run at a moment.

    Attributes:
        run: as Kubeflow has it.
        state: Kubeflow's word for it, but CANCELED where it was ended by somebody.
        tasks: all that it reaches.
        notes: what is not known, and why; what is wrong with the run as a whole.
    """

    run: api.V2beta1Run
    state: str
    tasks: list[Seen]
    notes: list[str] = field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether nothing changes any more."""
        return self.state in FINAL

    def failed(self) -> list[Seen]:
        """The tasks that failed."""
        return [each for each in self.tasks if each.task.state == "failed"]


class Observer:
    """Who looks at one run, as often as they like.

    Args:
        cluster: whose.
        run_id: its id there.
        namespace: the user's, where the cluster has several.
    """

    def __init__(self, cluster: Cluster, run_id: str, namespace: str | None = None) -> None:
        self.kubectl = Kubectl(namespace)
        self._cluster, self._run_id = cluster, run_id
        self._records: Records | None = None
        self._plan: list[Planned] | None = None
        self._placement = ""

    def look(self) -> Status:
        """The run as it is now.

        Raises:
            UserError: the server refuses to tell; `Away` where it does not answer.
        """
        run = self._cluster.run(self._run_id)
        if self._plan is None:
            self._plan, self._placement = self._planned(run)
        self._records = self._records or Records(run)
        details = (run.run_details and run.run_details.task_details) or []
        workflow = self.kubectl.workflow(self._run_id)
        gone = workflow is None and not self.kubectl.problem
        unscheduled = self._is_unscheduled(run)
        state = "CANCELED" if gone and unscheduled else state_of(run)
        accounts = Workflow(workflow).accounts(self._plan) if workflow else accounts_of(details, self._plan)
        records = self._records.read()
        reported = not self._records.problem
        sources = _Sources(state, reported, reported or workflow is not None or is_whole(details))
        tasks = [self._joined(each, accounts.get(each.node), record_of(each, records), sources) for each in self._plan]
        if [each.task.step for each in tasks] == [ONE_POD]:
            tasks += self._within(tasks[0], records, sources)
        return Status(run, state, tasks, self._notes(run, state, tasks, unscheduled))

    def _is_unscheduled(self, run: api.V2beta1Run) -> bool:
        """Whether a run goes on, or seems to, whose schedule was deleted."""
        scheduled = run.state not in FINAL and run.recurring_run_id
        return bool(scheduled and not self._cluster.has_schedule(run.recurring_run_id))

    def _planned(self, run: api.V2beta1Run) -> tuple[list[Planned], str]:
        version = self._cluster.version_of(run)
        specification = run.pipeline_spec or (version.pipeline_spec if version else None)
        if not specification:
            return [], ""
        placement = ((version and version.tags) or {}).get("placement", "")
        return plan(specification.get("pipeline_spec", specification)), placement

    def _joined(self, planned: Planned, account: Account | None, record: Record | None, sources: "_Sources") -> Seen:
        state = _state(account, record, sources)
        task = planned.task(state)
        attempt = max(account.attempt if account else 0, record.attempt if record else 0)
        message = account.message if account else ""
        if state in ("done", "failed", "ended"):
            task.seconds = (record and record.seconds) or (account.seconds if account else 0.0)
        if state in ("failed", "waiting", "running"):
            why = (record and record.error) or self._explained(message, planned)
            again = attempt > 1 and not (state == "failed" and record and record.error)
            task.reason = ": ".join(filter(None, [f"attempt {attempt}" if again else "", why]))
        if record and record.warning:
            task.printed.append(f"{WARNING}{record.warning}")
        logs = account.logs if account else ""
        told = bool(record and record.error)
        return Seen(task, told, attempt, account.pod if account else "", logs or _logs(record))

    def _within(self, pod: Seen, records: Sequence[Record], sources: "_Sources") -> list[Seen]:
        """The steps that a pod which runs all of them began, each as its newest attempt left it."""
        newest = {each.name: each for each in reversed(records) if each.step}
        steps = [self._joined(_unplanned(each), None, each, sources) for each in newest.values()]
        return [replace(each, pod=pod.pod, logs=pod.logs, within=True) for each in steps]

    def _explained(self, message: str, planned: Planned) -> str:
        """Argo's message about a pod, in words that say what to do where that is known."""
        if "OOMKilled" in message:
            line = memory_line(planned.step, self._placement)
            return f"OOMKilled at {planned.memory or 'its limit'}: raise memory{line and f', {line}'}"
        if _STARTING.match(message):
            return ""
        return _EXIT.sub(r"exit code \1", message)

    def _notes(self, run: api.V2beta1Run, state: str, tasks: Sequence[Seen], unscheduled: bool) -> list[str]:
        notes = []
        if not self._plan:
            notes.append("Its version was deleted; what its tasks are cannot be told.")
        if run.error and run.error.message:
            notes.append(" ".join(run.error.message.split()))
        if unscheduled and state == "CANCELED":
            notes.append(f"Its workflow was deleted with its schedule; Kubeflow goes on calling it {run.state}.")
        elif unscheduled and self.kubectl.problem:
            notes.append(
                "Its schedule was deleted. `ganflow schedule --stop` lets it go on; on Kubeflow's page that ended it, "
                f"and it will be {run.state} for ever: `ganflow cancel {run.run_id}` tells."
            )
        if self._records and self._records.problem:
            notes.append(f"What its steps told is left out: {self._records.problem}")
        if any(each.task.state == "unknown" for each in tasks):
            notes.append("Kubeflow tells only some tasks of a run of this size; MLflow or kubectl tell the rest.")
        return notes


@dataclass(frozen=True)
class _Sources:
    """What a run's tasks are judged by.

    Attributes:
        state: the run's.
        reported: whether MLflow answers.
        whole: whether a task of which nothing is known did not begin.
    """

    state: str
    reported: bool
    whole: bool


def _state(account: Account | None, record: Record | None, sources: _Sources) -> str:
    """A task's state, of what Kubeflow knows of it, of what its step told MLflow, and of the run's.

    On what has ended Kubeflow has the last word. Before that it knows of pods, at best, and the step of itself.
    """
    known = account.state if account else ""
    if known == "failed":
        return "ended" if sources.state == "CANCELED" and not (record and record.error) else "failed"
    if known in ("done", "cached", "skipped"):
        return "cached" if record and record.reused else known
    if record and record.status == "FINISHED":
        return "done" if record.begun and not record.reused else "cached"
    if sources.state in FINAL:
        return _state_at_end(known, record, sources)
    if account and account.pod:
        return known
    if record is None:  # to Kubeflow, a pod whose image cannot be pulled runs
        return "waiting" if sources.reported else known or "waiting"
    if record.begun and record.status == "RUNNING":
        return "running"
    return "failed" if record.begun and not known else "waiting"  # where it has a pod, it is tried again


def _state_at_end(known: str, record: Record | None, sources: _Sources) -> str:
    """The state of a task of which nothing says that it ended, though its run did."""
    if sources.state == "SUCCEEDED":
        return "done"
    cancelled = sources.state == "CANCELED"
    if known == "running" or (record and record.begun):
        return "ended" if cancelled and not (record and record.error) else "failed"
    return "skipped" if sources.whole or cancelled else "unknown"


def _unplanned(record: Record) -> Planned:
    """A task that only its step told of."""
    task = task_for(record.step, record.arguments)
    return Planned(task.step, task.arguments, record.name, node="", memory="")


def _logs(record: Record | None) -> str:
    """Where Kubeflow's launcher keeps a step's log: beside the output that the step was told to write."""
    kept = re.fullmatch(r"/(s3|minio|gcs)/(.+)/[^/]+", record.out) if record else None
    return f"{kept[1]}://{kept[2]}/executor-logs" if kept else ""


def facts(seen: Sequence[Seen]) -> list[Mapping[str, Any]]:
    """Tasks for scripts."""
    return [
        {
            "step": each.task.step,
            "arguments": each.task.arguments,
            "state": each.task.state,
            "seconds": each.task.seconds,
            "attempt": each.attempt,
            "reason": each.task.reason,
        }
        for each in seen
    ]
