"""A pipeline as the file that Kubeflow Pipelines takes: its graph, placed, in an image pinned by digest."""

import hashlib
import re
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from google.protobuf import json_format
from kfp.compiler import Compiler
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentInputsSpec

from components.core.errors import UserError
from components.core.telemetry import environment_tags
from pipelines import one_pod
from pipelines.data import Source
from pipelines.pipeline import Pipeline
from pipelines.placement import Placement

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
) -> Package:
    """Draw a pipeline, place its tasks, compile it.

    Args:
        pipeline: to draw.
        source: the raw data, or None; which data is a run's parameter, not the version's.
        profile: of the parameters.
        overrides: `KEY=VALUE`, of the parameters.
        placement: where the tasks run.
        image: that they run in, pinned by digest.

    Raises:
        UserError: bad parameters, an image without digest, or what the graph refuses, such as no data.
    """
    params, place = pipeline.load(profile, overrides), partial(placement.apply, pinned(image))
    if placement.one_pod:
        graph = one_pod.graph(pipeline, params, profile, source, place)
    else:
        graph = pipeline.graph(params, source, place)
    _require(graph.pipeline_spec.root.input_definitions, source)
    placement.limit_loops(graph.pipeline_spec)
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
            [f"parameters {profile}", *overrides, f"placement {placement.profile}", f"image {image}"]
        ),
        tags={"commit": commit, "profile": profile, "placement": placement.profile},
        parameters=source.parameters() if source else {},
    )


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
