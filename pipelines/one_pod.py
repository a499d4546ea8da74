"""`--placement one-pod`: a pipeline as a Kubeflow pipeline of one task, which runs all steps in its pod.

Every task and every turn of a loop costs Kubeflow a driver's pod, ten seconds after another; a run of minutes is over
sooner in one pod, at the price of Kubeflow's cache and of a scheduler for each task.
"""

from typing import Any

from kfp import dsl

from components.core.contract.component import component
from pipelines.data import Source
from pipelines.pipeline import Pipeline, Place
from pipelines.placement import needs_here
from pipelines.pod import describe


@component
def one_pod(
    pipeline: str,
    params: str,
    code: str,
    profile: str,
    needs: str,
    report: dsl.Output[dsl.Artifact],
    source: str = "",
    digest: str = "",
):
    """Run a whole pipeline in this pod."""
    import json
    import os
    import sys

    told = {
        "pipeline": pipeline,
        "params": params,
        "code": code,
        "profile": profile,
        "needs": needs,
        "source": source,
        "digest": digest,
        "out": report.path,
    }
    del os.environ["_KFP_RUNTIME"]  # with it kfp imports the part of it that a step needs, without its local runner
    os.execv(sys.executable, [sys.executable, "-m", "pipelines", "pod", json.dumps(told)])


def graph(pipeline: Pipeline, params: Any, profile: str, source: Source | None, place: Place) -> Any:
    """The Kubeflow pipeline of one task for these parameters.

    Raises:
        UserError: what the pipeline's own graph refuses.
    """
    pipeline.graph(params, source)  # refused here, not in the pod
    told = describe(pipeline, params, profile, needs_here(pipeline.steps(params)))
    given = source or Source("", "")

    @dsl.pipeline(name=pipeline.name, description=__doc__)
    def whole(data: str = given.uri, digest: str = given.digest) -> None:
        raw = {"source": data, "digest": digest} if source else {}
        one_pod(**told, **raw).set_caching_options(False)
        place()

    return whole
