"""Steps that log, couriers that deliver, and what then is in MLflow."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from components.core.telemetry import Journal
from components.core.telemetry.courier import Courier


def open_journal(**given) -> contextlib.AbstractContextManager[Journal]:
    contents = {"params": {"gamma": 0.5}, "arguments": {"fold": 0}, "fingerprint": "f" * 64, "inputs": {}}
    return Journal.open("train-egan", **contents | given)


def deliver(journals: Path) -> None:
    with Courier(journals):
        pass


def left(journals: Path) -> list[Path]:
    return [path.parent for path in journals.glob("*/journal.db")]


def all_runs() -> list[mlflow.entities.Run]:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    return client.search_runs([each.experiment_id for each in client.search_experiments()])


def the_run() -> mlflow.entities.Run:
    (run,) = all_runs()
    return run


def points(run: mlflow.entities.Run, name: str) -> list[tuple[int, float]]:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "waited a minute in vain"
        time.sleep(0.1)
