"""The tasks of an uploaded version: its specification unrolled, loop by loop, as a local run unrolls it.

Kubeflow itself lists the tasks of a run only as far as it has come, and above 1 MiB not even these (`nodes.py`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from pipelines.runners import Task, task_for

ROOT = "root"
"""Kubeflow's name of a pipeline's outermost graph, and of the node that stands for it."""

_SELECTED = re.compile(r'parseJson\(string_value\)\["(.+)"\]')


@dataclass(frozen=True)
class Planned:
    """A task that a run reaches.

    Attributes:
        name: Kubeflow's of the task: the step's, numbered where its graph has several of the step.
        node: Argo's of it in a workflow, without the workflow's name and the numbers of attempts.
        memory: it must not exceed, as Kubernetes writes it; "" where nothing is said.
    """

    step: str
    arguments: Mapping[str, Any]
    name: str
    node: str
    memory: str

    def task(self, state: str) -> Task:
        """It, for people."""
        return Task(self.step, dict(self.arguments), state)


def plan(specification: Mapping[str, Any]) -> list[Planned]:
    """The tasks of a pipeline, step by step in the order of its graph.

    Args:
        specification: of the pipeline, in the words of `kfp.pipeline_spec`.
    """
    found = list(_Unrolling(specification).tasks(specification[ROOT]["dag"], ROOT, {}))
    steps = list(dict.fromkeys(each.step for each in found))
    return sorted(found, key=lambda each: steps.index(each.step))


class _Unrolling:
    def __init__(self, specification: Mapping[str, Any]) -> None:
        self._components = specification["components"]
        self._executors = specification.get("deploymentSpec", {}).get("executors", {})

    def tasks(self, graph: Mapping[str, Any], node: str, known: Mapping[str, Any]) -> Iterator[Planned]:
        """The tasks of a graph and those within it; `known` are the values of its inputs that do not hang on tasks."""
        for name in _in_order(graph["tasks"]):
            spec = graph["tasks"][name]
            component = self._components[spec["componentRef"]["name"]]
            arguments = _arguments(spec, known)
            if "dag" not in component:
                task = task_for(spec["componentRef"]["name"], arguments)
                yield Planned(task.step, task.arguments, name, f"{node}.{name}", self._memory(component))
            elif loop := spec.get("parameterIterator"):
                for turn, item in enumerate(_items(loop["items"], arguments)):
                    within = f"{node}.{name}.iteration-iterations({turn}:{turn}).iteration-item"
                    yield from self.tasks(component["dag"], within, arguments | {loop["itemInput"]: item})
            else:
                yield from self.tasks(component["dag"], f"{node}.{name}", arguments)

    def _memory(self, component: Mapping[str, Any]) -> str:
        executor = self._executors.get(component["executorLabel"], {})
        return executor.get("container", {}).get("resources", {}).get("resourceMemoryLimit", "")


def _in_order(tasks: Mapping[str, Any]) -> Iterable[str]:
    """The names of a graph's tasks, each after those that it depends on."""
    return TopologicalSorter({name: tasks[name].get("dependentTasks", ()) for name in sorted(tasks)}).static_order()


def _arguments(spec: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What a task is given, as far as it does not hang on other tasks' outputs."""
    found = {}
    for name, source in spec.get("inputs", {}).get("parameters", {}).items():
        if "runtimeValue" in source:
            found[name] = source["runtimeValue"].get("constant")
        elif source.get("componentInputParameter") in known:
            value = known[source["componentInputParameter"]]
            if selected := _SELECTED.fullmatch(source.get("parameterExpressionSelector", "")):
                value = (json.loads(value) if isinstance(value, str) else value)[selected[1]]
            found[name] = value
    return found


def _items(items: Mapping[str, str], arguments: Mapping[str, Any]) -> list[Any]:
    """What a loop goes over; nothing where only the run of another task will tell."""
    found = items["raw"] if "raw" in items else arguments.get(items["inputParameter"], [])
    return json.loads(found) if isinstance(found, str) else found
