"""What Kubeflow itself knows of a run's tasks: the nodes of its Argo workflow, as `kubectl` or as the API tells them.

The workflow has them all by name, with messages. The API's task details are the same nodes without name, message and
end of what runs; they end in the middle, and change no more, as soon as the workflow is above 1 MiB: then Argo
compresses its nodes, which Kubeflow 2.17 does not unpack (backend/src/common/util/workflow.go reads `Status.Nodes`).
"""

import base64
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import kfp_server_api as api

from pipelines.plan import Planned

EXECUTOR = "executor"
"""The node within a task's that stands for its container; its children are the attempts."""

_ATTEMPT = re.compile(r"\(\d+\)(?=\.|$)")
_MAIN = re.compile(r"^main: ")

_ENDED = {"Succeeded": "done", "Failed": "failed", "Error": "failed", "Omitted": "skipped", "Skipped": "skipped"}
"""Argo's phases of a task that will not change, as `Task.state` has them."""


@dataclass(frozen=True)
class Account:
    """What Kubeflow knows of a task.

    Attributes:
        state: as of `Task`.
        seconds: its last attempt took; all of them together where only details tell.
        attempt: the number of the last one, from 1; 0 where there is none.
        message: Argo's, of the last attempt that has one.
        pod: the name of the last attempt's, "" where it cannot be told.
        logs: where its log is kept, without the attempt's number at the end; "" where it cannot be told.
    """

    state: str
    seconds: float = 0.0
    attempt: int = 0
    message: str = ""
    pod: str = ""
    logs: str = ""


@dataclass(frozen=True)
class _Node:
    phase: str
    began: datetime | None = None
    ended: datetime | None = None
    message: str = ""
    pod: str = ""
    logs: str = ""

    @property
    def seconds(self) -> float:
        return (self.ended - self.began).total_seconds() if self.began and self.ended else 0.0


class Workflow:
    """The nodes of a workflow.

    Args:
        content: of the object, as Kubernetes has it.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        status = content["status"]
        packed = status.get("compressedNodes")
        nodes = json.loads(gzip.decompress(base64.b64decode(packed))) if packed else status.get("nodes", {})
        self._name = content["metadata"]["name"]
        self._nodes: dict[str, dict[int, _Node]] = defaultdict(dict)
        for each in nodes.values():
            path, attempt = _place(each["name"])
            self._nodes[path][attempt] = self._node(each)

    def accounts(self, tasks: Iterable[Planned]) -> dict[str, Account]:
        """What is known of tasks, by their nodes."""
        found = {each.node: self._account(each.node) for each in tasks}
        return {node: account for node, account in found.items() if account}

    def _account(self, node: str) -> Account | None:
        task, attempts = self._last(node), dict(self._nodes.get(f"{node}.{EXECUTOR}", {}))
        outer = attempts.pop(-1, None)  # stands for all attempts where there may be several
        pods = [attempts[number] for number in sorted(attempts)] or ([outer] if outer and outer.pod else [])
        if task is None:
            driver = self._last(f"{node}-driver")
            if driver and _ENDED.get(driver.phase) == "failed":
                return Account("failed", message=f"its driver failed: {driver.message}", pod=driver.pod)
            return Account("waiting") if driver else None
        if not pods:
            state = _ENDED.get(task.phase, "waiting")
            return Account("cached" if state == "done" else state)
        last = pods[-1]
        state = _ENDED.get(task.phase) or {"Pending": "waiting", "Running": "running"}.get(last.phase, "waiting")
        message = next((pod.message for pod in reversed(pods) if pod.message), "")
        return Account(state, last.seconds, len(pods), message, last.pod, last.logs)

    def _last(self, path: str) -> _Node | None:
        """The node of a name, which stands for its attempts where there are some."""
        attempts = self._nodes.get(path)
        return attempts.get(-1) or attempts[max(attempts)] if attempts else None

    def _node(self, node: Mapping[str, Any]) -> _Node:
        pod = logs = ""
        if node["type"] == "Pod":
            # util.GeneratePodName in Argo's workflow/util/pod_name.go
            pod = f"{self._name}-{node['templateName']}-{node['id'].rpartition('-')[2]}"
            logs = _logs(node)
        message = _MAIN.sub("", node.get("message") or "")
        return _Node(node["phase"], _moment(node["startedAt"]), _moment(node["finishedAt"]), message, pod, logs)


def accounts_of(details: Sequence[api.V2beta1PipelineTaskDetail], tasks: Sequence[Planned]) -> dict[str, Account]:
    """What the API's task details tell of tasks, by their nodes; nothing of those of which they tell none.

    Details have no names but the last part. But they name their children by id, and an id is a hash of the full name.
    """
    named = _Details(details)
    found = {each.node: named.account(each) for each in tasks} if named.workflow else {}
    return {node: account for node, account in found.items() if account}


def is_whole(details: Sequence[api.V2beta1PipelineTaskDetail]) -> bool:
    """Whether the details of a run that has ended are of its end: nothing in them goes on."""
    return bool(details) and not any(each.state in ("PENDING", "RUNNING") for each in details)


class _Details:
    def __init__(self, details: Sequence[api.V2beta1PipelineTaskDetail]) -> None:
        own = [each for each in details if each.display_name]  # the others are launchers' entries for the cache
        self._parents: dict[str, list[api.V2beta1PipelineTaskDetail]] = defaultdict(list)
        for each in own:
            for child in each.child_tasks or ():
                self._parents[child.pod_name].append(each)
        self._pods = [each for each in own if each.display_name.startswith(f"{EXECUTOR}(")]
        self.workflow = next(iter(self._parents), "").rpartition("-")[0]

    def account(self, task: Planned) -> Account | None:
        name = self._newest(self.workflow)
        for part in task.node.split("."):
            name = self._newest(f"{name}.{part}")
        executor = f"{name}.{EXECUTOR}"
        of_task = self._parent(name, task.name) or self._parent(executor, task.name)
        if of_task is None:
            driver = self._parent(self._newest(f"{name.removesuffix('(0)')}-driver"), f"{task.name}-driver")
            return Account("waiting") if driver else None
        attempt = self._attempts(executor)
        of_pods = self._parent(f"{executor}({attempt - 1})", EXECUTOR) if attempt else None
        state = {"SUCCEEDED": "done", "FAILED": "failed", "SKIPPED": "skipped"}.get(of_task.state)
        if of_pods is None:
            untouched = state == "done" and of_task.start_time == of_task.end_time
            return Account("cached" if untouched else state or "waiting")
        ended = state and _Node("", of_pods.start_time, of_pods.end_time).seconds
        return Account(state or self._state_of_pod(of_pods, attempt), ended or 0.0, attempt)

    def _newest(self, name: str) -> str:
        """A node's own name, or the name of the last of its attempts where there are some."""
        count = self._attempts(name)
        return f"{name}({count - 1})" if count else name

    def _attempts(self, name: str) -> int:
        count = 0
        while self._id(f"{name}({count})") in self._parents:
            count += 1
        return count

    def _parent(self, child: str, display_name: str) -> api.V2beta1PipelineTaskDetail | None:
        return next((each for each in self._parents[self._id(child)] if each.display_name == display_name), None)

    def _state_of_pod(self, of_pods: api.V2beta1PipelineTaskDetail, attempt: int) -> str:
        """Of an attempt that has not ended. Its own detail has no child that names it; but all that began with it may
        be in the same state."""
        began = of_pods.start_time
        alike = {
            each.state
            for each in self._pods
            if each.display_name == f"{EXECUTOR}({attempt - 1})" and (attempt > 1 or each.start_time == began)
        }
        return "waiting" if alike == {"PENDING"} else "running"

    def _id(self, name: str) -> str:
        return self.workflow if name == self.workflow else f"{self.workflow}-{_fnv32a(name)}"


def _place(name: str) -> tuple[str, int]:
    """A node's path below its workflow without the numbers of attempts, and its own number, -1 where it has none."""
    own = _ATTEMPT.search(name.rpartition(".")[2])
    return _ATTEMPT.sub("", name).partition(".")[2], int(own[0][1:-1]) if own else -1


def _logs(node: Mapping[str, Any]) -> str:
    """Where Kubeflow's launcher puts the log of a pod, which it is told with the places of the step's outputs."""
    parameters = {each["name"]: each.get("value") for each in node.get("inputs", {}).get("parameters", ())}
    patch = json.loads(parameters.get("pod-spec-patch") or "{}")
    command = next((each.get("command", []) for each in patch.get("containers", ()) if each["name"] == "main"), [])
    if "--executor_input" not in command:
        return ""
    given = json.loads(command[command.index("--executor_input") + 1])
    kept = given["outputs"].get("artifacts", {}).get("executor-logs", {}).get("artifacts")
    return kept[0]["uri"] if kept else ""


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _fnv32a(text: str) -> int:
    """The hash in Argo's ids: `Workflow.NodeID` in pkg/apis/workflow/v1alpha1/workflow_types.go."""
    value = 2166136261
    for byte in text.encode():
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value
