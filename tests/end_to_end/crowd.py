"""Tasks that log to a tracking server all at once, each a process; and that server's outage while they do."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import crowd_task
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow_server import MlflowServer

EXPERIMENT = "crowd"


@dataclass
class Crowd:
    """So many tasks in so many pods: those of a pod share its disk, and so one courier delivers for them.

    Attributes:
        folder: holds the pods' disks.
    """

    folder: Path
    tasks: int
    pods: int

    def run_through_outage(
        self, server: MlflowServer, seconds: float, meanwhile: Callable[[], object] = lambda: None
    ) -> list[int]:
        """Run all tasks; their exit codes.

        The server is gone for `seconds` from when half of them are known to it; then half of them end, and
        `meanwhile` is called.
        """
        tasks = [self._start(number) for number in range(self.tasks)]
        while len(self.runs(server)) < self.tasks // 2:
            assert None in [task.poll() for task in tasks], "the tasks ended before the outage"
            time.sleep(0.1)
        server.stop()
        self._release(0)
        meanwhile()
        time.sleep(seconds)
        server.start()
        self._release(1)
        return [task.wait() for task in tasks]

    def runs(self, server: MlflowServer) -> list[Run]:
        """What the server knows of the tasks."""
        client = MlflowClient(server.url)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        return client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []

    def losses(self, server: MlflowServer, run: Run) -> list[tuple[int, float]]:
        """The points of a task's metric on the server, sorted."""
        history = MlflowClient(server.url).get_metric_history(run.info.run_id, "loss")
        return sorted((point.step, point.value) for point in history)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name != "GANFLOW_JOURNALS"}
        environment |= {
            "GANFLOW_HOME": str(self.folder / f"pod-{number % self.pods}"),
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
            "MLFLOW_EXPERIMENT_NAME": EXPERIMENT,
        }
        return subprocess.Popen(
            [sys.executable, crowd_task.__file__, str(number), self._gate(number % 2)], env=environment
        )

    def _release(self, half: int) -> None:
        Path(self._gate(half)).touch()

    def _gate(self, half: int) -> str:
        """The file for whose appearance the tasks of a half wait."""
        return str(self.folder / f"gate-{half}")
