"""A pipeline as the file that Kubeflow Pipelines takes: its graph, placed, in an image pinned by digest."""

import hashlib
import re
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from kfp.compiler import Compiler
from kfp.dsl import pipeline_context as kfp_pipeline
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentInputsSpec

from components.core.errors import UserError
from components.core.telemetry import environment_tags
from pipelines import one_pod
from pipelines.data import Source
from pipelines.pipeline import Pipeline
from pipelines.placement import Placement

FRESH = "fresh"
"""The tag of a version that says since when Kubeflow's cache counts for it; its description says so, too."""

_COMMIT_CHARACTERS = 12
_PINNED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def pinned(image: str | None) -> str:
    """An image's reference, if it names the content.

    Raises:
        UserError: it has no digest; a tag may mean something else tomorrow.
    """
    if image and _PINNED.fullmatch(image):
        return image
    got = f", got '{image}'" if image else ""
    raise UserError(f"Give --image or GANFLOW_IMAGE the image by its digest, as NAME@sha256:…{got}.")


@dataclass(frozen=True)
class Package:
    """A version of a pipeline, ready to be uploaded.

    Attributes:
        pipeline: the pipeline's name.
        name: the version's: the checkout's Git commit, and what tells this content from the commit's others.
        text: the YAML: the pipeline's specification, and the platform's, which says where and how tasks run.
        description: parameters, placement and image, for whoever reads the list of versions.
        tags: to find it by.
        parameters: what a run of it is given: the raw data, where it reads some.
    """

    pipeline: str
    name: str
    text: str
    description: str
    tags: dict[str, str]
    parameters: dict[str, str]


def pack(
    pipeline: Pipeline,
    source: Source | None,
    profile: str,
    overrides: list[str],
    placement: Placement,
    image: str | None,
    *,
    fresh: str = "",
    pause: str | None = None,
) -> Package:
    """Draw a pipeline, place its tasks, compile it.

    Args:
        pipeline: to draw.
        source: the raw data, or None; which data is a run's parameter, not the version's.
        profile: of the parameters.
        overrides: `KEY=VALUE`, of the parameters.
        placement: where the tasks run.
        image: that they run in, pinned by digest.
        fresh: since when Kubeflow's cache counts: what was computed with another value, it does not find; "" ever.
        pause: the step whose tasks Argo keeps when they have ended, for people to look at.

    Raises:
        UserError: bad parameters, an image without digest, an unknown step to pause, or what the graph refuses, such as
            no data.
    """
    params = pipeline.load(profile, overrides)
    if pause and placement.one_pod:
        raise UserError(f"--placement {placement.profile} has one task for all steps; give --pause with another.")
    if pause and pause not in (steps := pipeline.steps(params)):
        raise UserError(f"There is no step '{pause}'; choose one of {', '.join(steps)}.")
    place = partial(_place, placement, pinned(image), pause)
    if placement.one_pod:
        graph = one_pod.graph(pipeline, params, profile, source, place)
    else:
        graph = pipeline.graph(params, source, place)
    _require(graph.pipeline_spec.root.input_definitions, source)
    placement.limit_loops(graph.pipeline_spec)
    if fresh:
        _begin_cache(graph.pipeline_spec.deployment_spec, fresh)
    # kfp takes this with the decorator, which stands above the function that the placement is applied in.
    config = {"pipelineConfig": placement.pipeline_config()}
    json_format.ParseDict(config, graph.platform_spec.platforms["kubernetes"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        Compiler().compile(graph, str(path))
        text = path.read_text()
    commit = _commit()
    return Package(
        pipeline=pipeline.name,
        name=f"{commit}-{hashlib.sha256(text.encode()).hexdigest()[:8]}",
        text=text,
        description="; ".join(
            [
                f"parameters {profile}",
                *overrides,
                f"placement {placement.profile}",
                *([f"pause {pause}"] if pause else []),
                f"image {image}",
                *([f"{FRESH} {fresh}"] if fresh else []),
            ]
        ),
        tags={
            "commit": commit,
            "profile": profile,
            "placement": placement.profile,
            **({FRESH: fresh} if fresh else {}),
        },
        parameters=source.parameters() if source else {},
    )


def _place(placement: Placement, image: str, pause: str | None) -> None:
    """Place the tasks of the pipeline that is being drawn, and have Argo keep those of one step.

    Argo 4.0.5 knows a pause before and after (cmd/argoexec/commands/emissary.go), not the one on errors that kfp offers
    beside them. A result from the cache would have no pod to keep.
    """
    placement.apply(image)
    for task in kfp_pipeline.Pipeline.get_default_pipeline().tasks.values():
        if task.component_spec.name == pause:
            task.set_debug_pause().set_caching_options(False)


def _begin_cache(deployment: Struct, since: str) -> None:
    """Make all keys of Kubeflow's cache other ones: they hold the command.

    With caching off nothing would be filed, and the next run would find the old entries again (getFingerPrintsAndID in
    backend/src/v2/driver/cache.go, Execute in backend/src/v2/component/launcher_v2.go, 2.17.0).
    """
    for executor in deployment["executors"].values():
        command = executor["container"]["command"]
        command[len(command) - 1] += f"\n# {FRESH} {since}\n"


def _require(inputs: ComponentInputsSpec, source: Source | None) -> None:
    """Let runs say what data they read, if they read any; the graph's defaults are this machine's."""
    if source is None:
        inputs.Clear()
    for parameter in inputs.parameters.values():
        parameter.ClearField("default_value")
        parameter.is_optional = False


def _commit() -> str:
    """The checkout's commit, marked if files of it were changed since."""
    git = environment_tags()
    commit = git.get("mlflow.source.git.commit", "no-commit")[:_COMMIT_CHARACTERS]
    return f"{commit}-changed" if git.get("ganflow.git.dirty") == "true" else commit
