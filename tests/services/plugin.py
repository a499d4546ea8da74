"""The runs that Kubeflow's plugin makes in MLflow, as backend/src/v2/common/plugins/mlflow/handler.go makes them."""

import json
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Param


class Plugin:
    """The plugin's side of one pipeline run; its loops and tasks are runs below that.

    Attributes:
        experiment: MLflow's id.
        root: of the pipeline's run.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self._client = MlflowClient(uri)
        self.experiment = self._client.create_experiment(experiment)
        self.root = self._client.create_run(self.experiment, run_name=experiment).info.run_id

    def start(self, name: str, parent: str | None = None) -> str:
        """What a task's driver does; the id of the task's run, which the step is told."""
        tags = {"mlflow.parentRunId": parent or self.root}
        return self._client.create_run(self.experiment, run_name=name, tags=tags).info.run_id

    def loop(self, name: str, parent: str | None = None) -> str:
        """A loop's own run, which ends at once."""
        run_id = self.start(name, parent)
        self.end(run_id, {}, "FINISHED")
        return run_id

    def end(self, run_id: str, inputs: Mapping[str, Any], status: str) -> None:
        """What the driver does where the cache answers, and the launcher else: inputs as JSON, then the status."""
        params = [Param(name, json.dumps(value)) for name, value in inputs.items()]
        if params:
            self._client.log_batch(run_id, params=params)
        self._client.update_run(run_id, status)
