"""A run on a cluster, ended from here, and what MLflow has of it."""

import os
import time
from dataclasses import dataclass

import kfp_server_api as api

from pipelines.cluster import FINAL, Cluster, Vanished, state_of

POLL_SECONDS = 2.0

PATIENCE_SECONDS = 600.0
"""How long a run may take to end: its pods have a grace period each."""

PLUGIN_SECONDS = 30.0
"""How long MLflow's plugin has to end its own run after Kubeflow's has ended (`DefaultTimeout` of its calls)."""


@dataclass(frozen=True)
class Ending:
    """How a run was found, and how it was left.

    Attributes:
        run: as it is now.
        before: whether it had ended already.
        vanished: whether its workflow is known to be gone: Kubeflow will never see it end.
    """

    run: api.V2beta1Run
    before: bool
    vanished: bool


def cancel(cluster: Cluster, run_id: str) -> Ending:
    """End a run unless it has ended, and wait until it has, or for `PATIENCE_SECONDS`.

    Raises:
        UserError: there is no such run, or the server is away or refuses.
    """
    run = cluster.run(run_id)
    if run.state in FINAL:
        return Ending(run, before=True, vanished=False)
    try:
        if run.state != "CANCELING":  # else somebody has asked for it, and to ask again is refused
            cluster.terminate(run_id)
    except Vanished:
        return Ending(cluster.run(run_id), before=False, vanished=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while run.state not in FINAL and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        run = cluster.run(run_id)
    return Ending(run, before=False, vanished=False)


def settle(ending: Ending) -> int:
    """Tell MLflow of a run that has ended what Kubeflow's plugin does not; returns how many runs of it were open.

    Raises:
        UserError: MLflow is away, or refuses.
    """
    from components.core.telemetry.tracking import end_killed

    plugin = (ending.run.plugins_output or {}).get("mlflow")
    entries = (plugin and plugin.entries) or {}
    if not {"root_run_id", "run_url"} <= entries.keys():
        return 0
    # Where people find it, people's MLflow client does, too.
    uri = os.environ.get("MLFLOW_TRACKING_URI") or entries["run_url"].value.partition("/#")[0]
    if ending.run.state not in FINAL:
        return end_killed(uri, entries["root_run_id"].value)
    ended = int(ending.run.finished_at.timestamp() * 1000) if state_of(ending.run) == "CANCELED" else None
    return end_killed(uri, entries["root_run_id"].value, ended, PLUGIN_SECONDS)
