"""Whether Kubeflow's cache names results that are there.

A key of it holds the image's reference and names of MLMD for the inputs; a hit looks at no object, and no entry expires
(backend/src/v2/cacheutils/cache.go and driver/container.go, 2.17.0).
"""

import os
import re
from datetime import UTC, datetime

import kfp_server_api as api
from ruamel.yaml import YAML

from components.core.errors import UserError
from pipelines.cluster import Cluster, Version
from pipelines.pipeline import CHECKOUT
from pipelines.placement import ONE_POD

LAUNCHER = CHECKOUT / "infra/kubernetes/base/kubeflow/launcher.yaml"
"""What says where tasks keep what they pass on: `<root>/<pipeline>/<run>/<task>/…`."""

_KEY = re.compile(r"image [^;\s]+(; fresh [^;\s]+)?")
"""What of a version's description is in the cache's keys."""

_RUNS = 10


def now() -> str:
    """A value that no version's cache counts from yet; later ones are greater."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def emptied(cluster: Cluster, version: Version, started: str) -> list[str]:
    """Runs whose results are gone from S3, while a run of the version may be handed them from the cache.

    Looked at are the newest finished runs of the pipeline, in this image, that computed something, and whether anything
    at all is left of each: a single lost object is not seen, nor is a pipeline root that `infra` does not give, nor
    anything from a shell that has no access to S3. What runs in one pod neither asks the cache nor fills it.

    Args:
        started: the run that is not asked about.
    """
    key = _KEY.search(version.description or "")
    tasks = version.specification["pipeline_spec"]["root"]["dag"]["tasks"]
    if not key or ONE_POD in tasks or not any(name.startswith("AWS_") for name in os.environ):
        return []
    from components.core.storage.s3 import S3Folder  # imports boto3

    root = YAML(typ="safe").load(LAUNCHER)["data"]["defaultPipelineRoot"]
    lost = []
    for run in cluster.newest_runs_of(version.pipeline, _RUNS):
        own = _KEY.search(run.description or "")
        if run.run_id != started and own and own[0] == key[0] and run.state == "SUCCEEDED" and _computed(run):
            try:
                with S3Folder(f"{root}/{version.pipeline}/{run.run_id}") as folder:
                    there = folder.list()
            except UserError:  # what this shell may not see
                return []
            if not there:
                lost.append(run.run_id)
    return lost


def _computed(run: api.V2beta1Run) -> bool:
    """Whether any task's container ran that the cache keeps: of what comes from there, it is skipped."""
    details = (run.run_details and run.run_details.task_details) or []
    return all(each.display_name != ONE_POD for each in details) and any(
        re.fullmatch(r"executor(\(\d+\))?", each.display_name or "") and each.state == "SUCCEEDED" for each in details
    )
