"""Runs of MLflow that a runner asks for: a pipeline run's own, and what finished ones wrote."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import UserError
from components.core.telemetry.environment import environment_tags, journals_dir, shown, tracking_uri
from components.core.telemetry.journal import PIPELINE, Journal, Status, flatten
from components.core.telemetry.tracking.store import Refused, Store, answering, impatient

if TYPE_CHECKING:
    from mlflow import MlflowClient

_OPEN = ("RUNNING", "SCHEDULED")

_WORKFLOW = "workflowType=machine_learning"  # or MLflow's pages open on traces of language models


@dataclass(frozen=True)
class PipelineRun:
    """The parent of one pipeline run's steps; the runner keeps a journal of it like a step.

    Attributes:
        run_id: of MLflow.
        experiment_id: of MLflow.
        tracking_uri: the store they lie in.
        url: its page, None where there is no server.
        journal: what is logged of it.
    """

    run_id: str
    experiment_id: str
    tracking_uri: str
    url: str | None
    journal: Journal

    def environment(self) -> dict[str, str]:
        """What a step's process finds in its environment to log below this run and leave delivery to us."""
        return {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_EXPERIMENT_ID": self.experiment_id,
            "GANFLOW_PARENT_RUN": self.run_id,
            "GANFLOW_JOURNALS": str(self.journal.folder.parent),
        }

    def finish(
        self,
        status: Status,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Sequence[Path],
    ) -> None:
        """End the run with its results; the courier delivers them."""
        self.journal.metrics(metrics, step=0)
        self.journal.tags(tags)
        for path in artifacts:
            self.journal.artifact(path)
        self.journal.close(status)


def open_pipeline_run(
    experiment: str, name: str, params: Mapping[str, str], tags: Mapping[str, str], run_id: str | None = None
) -> PipelineRun:
    """Create a pipeline run's parent run, so that a wrong address or password shows before any work starts.

    Its journal is first: a run whose process is killed in this moment is found again by it, and ended.

    Args:
        experiment: where it lies, unless the environment says so.
        name: the run's.
        params: to log.
        tags: to set.
        run_id: of the run that somebody else has created for it; then nothing is asked of the server at this time.

    Raises:
        UserError: the tracking server does not answer within about 10 s, or refuses.
    """
    uri = tracking_uri()
    start = {
        "step": PIPELINE,
        "name": name,
        "run_id": run_id,
        "experiment_id": os.environ.get("MLFLOW_EXPERIMENT_ID"),
        "experiment": experiment,
        "params": flatten(params),
        "tags": {"ganflow.started": str(time.time_ns() // 1_000_000), **environment_tags(), **tags},
    }
    journal, store, asked = Journal(journals_dir(), start), Store(uri), False
    if run_id:
        return _as_run(run_id, start["experiment_id"], uri, journal)
    try:
        with answering(uri), impatient(), journal.undelivered() as record:
            experiment_id = store.experiment_id(record.start)
            asked = True
            run_id = store.open_run({**record.start, "experiment_id": experiment_id})
            record.add("run", {"id": run_id})
    except UserError as error:
        if asked and not isinstance(error.__cause__, Refused):  # there may be a run: a courier will end it
            journal.close("FAILED", str(error))
        else:
            journal.discard()
        raise
    return _as_run(run_id, experiment_id, uri, journal)


def _as_run(run_id: str, experiment_id: str, uri: str, journal: Journal) -> PipelineRun:
    page = f"{shown(uri)}/#/experiments/{experiment_id}/runs/{run_id}?{_WORKFLOW}"
    return PipelineRun(run_id, experiment_id, uri, page if uri.startswith("http") else None, journal)


def find_output(experiment: str, fingerprint: str) -> str | None:
    """The digest of what a finished run with a fingerprint wrote, None where MLflow knows of none.

    Raises:
        UserError: the tracking server does not answer within about 10 s, or refuses.
    """
    uri = tracking_uri()
    path = uri.removeprefix("sqlite:///")
    if path != uri and not Path(path).exists():  # asking would make it
        return None
    with answering(uri), impatient(), Store(uri).client() as client:
        found = client.get_experiment_by_name(experiment)
        wanted = f"tags.`ganflow.fingerprint` = '{fingerprint}' and attributes.status = 'FINISHED'"
        runs = client.search_runs([found.experiment_id], wanted, max_results=1) if found else []
        return runs[0].data.tags.get("ganflow.output") if runs else None


def end_killed(uri: str, run_id: str, ended: int | None = None, seconds: float = 0.0) -> int:
    """End as KILLED what is still open of a pipeline run, with all that lies below it; returns how many runs.

    Kubeflow's plugin ends a run that was cancelled as failed, and nothing below a loop, whose own run is finished from
    its first moment (syncNestedRuns in backend/src/apiserver/plugins/mlflow/run_start.go, 2.17.0).

    Args:
        uri: of the tracking store.
        run_id: of the pipeline run, in MLflow.
        ended: where it was cancelled, when that was, in milliseconds since 1970: what the plugin ended as failed at
            this very time was killed, too.
        seconds: how long to wait for the plugin, which has the last word on the pipeline's own run.

    Raises:
        UserError: the tracking server does not answer within about 10 s, or refuses.
    """
    with answering(uri), impatient():
        deadline = time.monotonic() + seconds
        while True:
            with Store(uri).client() as client:
                runs = list(_tree(client, client.get_run(run_id)))
                if runs[0].info.status not in _OPEN or time.monotonic() > deadline:
                    killed = [run.info for run in runs if _is_killed(run, ended)]
                    for info in killed:
                        client.set_terminated(info.run_id, "KILLED", ended or int(time.time() * 1000))
                    return len(killed)
            time.sleep(1)


def _tree(client: "MlflowClient", top: Any) -> Iterator[Any]:
    """A run, and all that lie below it."""
    yield top
    wanted, token = f"tags.`mlflow.parentRunId` = '{top.info.run_id}'", None
    while True:
        page = client.search_runs([top.info.experiment_id], wanted, page_token=token)
        for run in page:
            yield from _tree(client, run)
        token = page.token
        if not token:
            return


def _is_killed(run: Any, ended: int | None) -> bool:
    by_plugin = run.info.status == "FAILED" and ended is not None and run.info.end_time == ended
    return run.info.status in _OPEN or (by_plugin and "ganflow.error" not in run.data.tags)
