"""A run on a cluster that is started only where MLflow records it."""

import re
import sys
import time
from collections.abc import Mapping

import kfp_server_api as api

from components.core.errors import UserError
from components.core.telemetry.journal import OUTAGE_SECONDS
from pipelines.cluster import Cluster, Version

PAUSE_SECONDS = 10.0

_AWAY = re.compile(r"MLflow request .* failed: |MLflow API error \(HTTP 5\d\d")
"""What the plugin says where MLflow may be back soon (backend/src/common/plugins/mlflow/client.go, 2.17.0)."""


def start(cluster: Cluster, version: Version, parameters: Mapping[str, str], service_account: str) -> api.V2beta1Run:
    """Start a run of a version.

    Where MLflow's plugin fails, Kubeflow goes on without (OnBeforeRunCreation in
    backend/src/apiserver/plugins/mlflow/dispatcher.go, 2.17.0): nothing of such a run would be recorded, and after all
    training no model registered. So it is taken back, and started again as soon as MLflow answers.

    Raises:
        UserError: MLflow refuses Kubeflow, or is away for longer than an update of it takes.
    """
    deadline, told = time.monotonic() + OUTAGE_SECONDS, False
    while problem := _problem(run := cluster.submit(version, parameters, service_account)):
        cluster.delete(run.run_id)
        if not _AWAY.search(problem) or time.monotonic() > deadline:
            raise UserError(
                f"Nothing was started, for MLflow would record nothing of it: Kubeflow's plugin says '{problem}'. "
                "Mend that (`kubectl -n ganflow get pods` shows MLflow's), then submit again."
            )
        if not told:
            print(f"ganflow: Kubeflow cannot reach MLflow; trying for {OUTAGE_SECONDS} s …", file=sys.stderr)
            told = True
        time.sleep(PAUSE_SECONDS)
    return run


def _problem(run: api.V2beta1Run) -> str:
    """What kept the plugin from making its run, "" where nothing did."""
    plugin = (run.plugins_output or {}).get("mlflow")
    failed = plugin and plugin.state == "PLUGIN_FAILED"
    return (plugin.state_message or "it failed").rstrip(".") if failed else ""
