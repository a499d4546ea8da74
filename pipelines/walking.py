"""Walks a pipeline as `kfp.local` does, but starts every task as soon as what it hangs on is there.

`kfp.local` (2.17) runs a graph's tasks one after the other and only the turns of a loop at once
(`kfp/local/orchestrator/enhanced_dag_orchestrator.py`, `run_enhanced_dag`).
"""

import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kfp.local import graph_utils
from kfp.local.io import IOStore
from kfp.local.orchestrator import enhanced_dag_orchestrator
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.local.status import Status
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentSpec, PipelineTaskSpec


def run_dag(
    *,
    dag_component_spec: ComponentSpec,
    dag_arguments: dict[str, Any],
    parent_io_store: IOStore | None = None,
    **context: Any,
) -> tuple[dict[str, Any], Status]:
    """Run a graph; stands in for a function of `kfp.local`, whose arguments it takes.

    Every task has a thread that waits for the tasks it hangs on, and does not begin where one of them failed.
    """
    dag, store = dag_component_spec.dag, IOStore(parent_io_store)
    given = OrchestratorUtils.join_user_inputs_and_defaults(dag_arguments, dag_component_spec.input_definitions)
    for name, value in given.items():
        store.put_parent_input(name, value)
    runs: dict[str, Future[bool]] = {}
    with ThreadPoolExecutor(len(dag.tasks)) as threads:
        for name in reversed(graph_utils.topological_sort_tasks(dag.tasks)):  # a stack
            upstream = [runs[each] for each in dag.tasks[name].dependent_tasks]
            runs[name] = threads.submit(_run_task, name, dag.tasks[name], upstream, store, context)
    if not all(run.result() for run in runs.values()):
        return {}, Status.FAILURE
    return OrchestratorUtils.get_dag_outputs(dag.outputs, store), Status.SUCCESS


def _run_task(
    name: str, spec: PipelineTaskSpec, upstream: Sequence["Future[bool]"], store: IOStore, context: dict[str, Any]
) -> bool:
    """Whether a task of a graph, or all turns of a loop, succeeded; what it made is in the store."""
    if not all(run.result() for run in upstream):
        return False
    if spec.WhichOneof("iterator"):
        turns = enhanced_dag_orchestrator.ParallelExecutor()
        turns.max_workers = turns.conservative_max = sys.maxsize  # two by default, whatever the machine
        return not enhanced_dag_orchestrator._run_parallel_for_task(
            name, spec, io_store=store, parallel_executor=turns, **context
        )
    outputs, status = enhanced_dag_orchestrator.execute_task(name, spec, io_store=store, **context)
    for key, value in outputs.items():
        store.put_task_output(name, key, value)
    return status == Status.SUCCESS
