"""`--placement one-pod`, inside the pod: a whole pipeline as `ganflow run` runs it on one machine."""

import os
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from components.core.contract import KEEP_CHECKPOINTS
from components.core.errors import UserError
from components.core.signals import PREEMPTED
from components.core.storage import Checkpoints, digest_json
from pipelines.data import Source
from pipelines.machine import Need
from pipelines.pipeline import Pipeline, find
from pipelines.runners import Watch
from pipelines.session import Job, run_job
from pipelines.subprocesses import Subprocesses


def describe(pipeline: Pipeline, params: Any, profile: str, needs: dict[str, Need]) -> dict[str, str]:
    """What `run_in_pod` is told of a run when it is submitted."""
    return {
        "pipeline": pipeline.name,
        "params": params.model_dump_json(),
        "code": _code(pipeline, params),
        "profile": profile,
        "needs": TypeAdapter(dict[str, Need]).dump_json(needs).decode(),
    }


def run_in_pod(
    pipeline: str, params: str, code: str, profile: str, needs: str, source: str, digest: str, out: str
) -> None:
    """Run a whole pipeline below the MLflow run of this pod's task.

    A pod that is ended leaves the checkpoints of all its trainings, those of finished ones, too: its disk goes with it,
    and the next pod is to do none of them twice.

    Args:
        pipeline: its name.
        params: its section of `params.yaml` as JSON.
        code: digest of the sources of all its steps where the run was submitted.
        profile: that the parameters came from.
        needs: what the tasks of each step take of the machine, as JSON.
        source: where the raw data lie, "" where the pipeline brings its own.
        digest: of the raw data.
        out: the folder of the report.

    Raises:
        UserError: this is another checkout's image.
        TaskFailure: a task's own message.
        SystemExit: SIGTERM ended the run.
    """
    found = find(pipeline)
    section = found.params.model_validate_json(params)
    if code != _code(found, section):
        raise UserError(
            f"The code of {pipeline} in this image is not what the run was submitted with: build the image anew "
            "(`ganflow image build`), push it and submit again."
        )
    job = Job(
        found,
        section,
        profile,
        Source(source, digest) if source else None,
        Path(source).name,
        f"{pipeline} {profile}",
        TypeAdapter(dict[str, Need]).validate_json(needs),
        os.environ.get("MLFLOW_RUN_ID"),
    )
    os.environ[KEEP_CHECKPOINTS] = "true"
    try:
        watch = run_job(job, Path(out), Subprocesses())
    except KeyboardInterrupt:
        print("ganflow: ended by SIGTERM; the next attempt goes on from the checkpoints.", file=sys.stderr)
        raise SystemExit(PREEMPTED) from None
    _forget_checkpoints(watch)


def _code(pipeline: Pipeline, params: Any) -> str:
    return digest_json({name: step.code_digest() for name, (step, _) in pipeline.steps(params).items()})


def _forget_checkpoints(watch: Watch) -> None:
    """Nobody needs them any more; what cannot be removed is left to the bucket's own rules."""
    for task in watch.tasks:
        try:
            Checkpoints(task.facts["fingerprint"]).remove()
        except UserError as error:
            print(f"The checkpoints of {task.title} stay behind: {error}")
