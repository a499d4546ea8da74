"""What a run would do: its tasks, their fingerprints, and whose results are known already."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
from kfp.local.status import Status
from pydantic import TypeAdapter

from components.core.contract import INPUT_TYPES, Step
from components.core.errors import UserError
from components.core.storage import state_dir
from components.core.telemetry.tracking import find_output
from pipelines.cleaning import CACHE
from pipelines.data import Source
from pipelines.pipeline import Pipeline
from pipelines.runners import task_of, unroll

OWN_DATA = "the data"


@dataclass(frozen=True)
class Planned:
    """A task that a run would reach.

    Attributes:
        title: the step and what tells this task from the step's others.
        fingerprint: what its execution would be filed under, where the content of all inputs is known.
        known_to: who has a result of that fingerprint: "the local cache", "MLflow" or nobody.
        hangs_on: the tasks (or the data) that must be there before its fingerprint can be told.
        always: whether it runs whatever is known.
    """

    title: str
    fingerprint: str | None
    known_to: str | None
    hangs_on: tuple[str, ...]
    always: bool = False

    @property
    def line(self) -> str:
        """It, for people."""
        more = " …" if len(self.hangs_on) > 2 else ""
        known = f"known to {self.known_to}" if self.known_to else "runs always" if self.always else "to be computed"
        result = f"hangs on {', '.join(self.hangs_on[:2])}{more}" if self.hangs_on else known
        return f"{(self.fingerprint or '')[:12]:12}  {self.title}: {result}"


class Preview:
    """The tasks of a run, each after those it hangs on.

    Attributes:
        tasks: they.
        problem: why MLflow could not be asked, if it could not.
    """

    def __init__(self, pipeline: Pipeline, params: Any, source: Source | None) -> None:
        self.tasks: list[Planned] = []
        self.problem: str | None = None
        self._experiment = pipeline.name
        self._steps = pipeline.steps(params)
        self._local = _local_results()
        self._lock = threading.Lock()  # kfp.local walks a loop's turns in threads
        unroll(pipeline.graph(params, source), self._plan)

    def _plan(self, **given: Any) -> tuple[dict[str, dsl.Artifact], Status]:
        """Stands in for the execution of a task; its outputs say whose they are, and their digest if it is known."""
        task = task_of(given)
        step, section = self._steps[task.step]
        face = OrchestratorUtils.make_task_arguments(given["task_spec"].inputs, given["io_store"])
        inputs = _inputs(step, face)
        hangs_on = tuple(
            dict.fromkeys(of for read in inputs.values() for each in read for of in each.metadata["hangs_on"])
        )
        fingerprint, digest, known_to = None, None, None
        always = not given["task_spec"].caching_options.enable_cache
        if not hangs_on:
            fingerprint = step.fingerprint(section, _arguments(step, face), _digests(step, inputs))
            digest, known_to = (None, None) if always else self._known(fingerprint)
        with self._lock:
            self.tasks.append(Planned(task.title, fingerprint, known_to, hangs_on, always))
        facts = {"digest": digest, "hangs_on": () if digest else hangs_on or (task.title,)}
        names = given["components"][given["task_spec"].component_ref.name].output_definitions.artifacts
        outputs = {name: dsl.Artifact(name=name, uri=f"{task.title}/{name}", metadata=facts) for name in names}
        return outputs, Status.SUCCESS

    def _known(self, fingerprint: str) -> tuple[str | None, str | None]:
        """The digest of an execution's output, and who knows it."""
        if digest := self._local.get(fingerprint):
            return digest, "the local cache"
        with self._lock:
            if self.problem is None:
                try:
                    if digest := find_output(self._experiment, fingerprint):
                        return digest, "MLflow"
                except UserError as error:
                    self.problem = str(error)
        return None, None


def _local_results() -> dict[str, str]:
    """Fingerprints and digests of what `ganflow run` keeps on this machine."""
    root = state_dir() / CACHE
    if not root.is_dir():
        return {}
    cache = LocalCache(str(root))
    entries = (cache.get(path.stem) or {} for path in root.glob("*.json"))
    facts = (artifact.metadata for outputs in entries for artifact in outputs.values())
    return {each["fingerprint"]: each["digest"] for each in facts if "fingerprint" in each}


def _inputs(step: Step, face: Mapping[str, Any]) -> dict[str, list[dsl.Artifact]]:
    """What a task reads, by the step's own names of inputs.

    A face may give a list in parts: some named after it, as `refined_sweeps` is after `sweeps`, and at most one list's
    under names of their own. Or it says where raw data lie.
    """
    names = [name for name, hint in step.arguments.items() if hint in INPUT_TYPES]
    given = {name: value if isinstance(value, list) else [value] for name, value in face.items()}
    given = {name: value for name, value in given.items() if all(isinstance(each, dsl.Artifact) for each in value)}
    own = {name: given.pop(name) for name in names if name in given}
    missing = [name for name in names if name not in own and step.arguments[name] != Path | None]
    for name in missing:
        if parts := [part for part in given if part.endswith(f"_{name}")]:
            own[name] = [artifact for part in parts for artifact in given.pop(part)]
    rest = [artifact for value in given.values() for artifact in value]
    return own | {name: rest or [_raw(face)] for name in missing if name not in own}


def _raw(face: Mapping[str, Any]) -> dsl.Artifact:
    """The user's raw data; what does not lie on this machine has a digest of its own kind."""
    here = Path(face["source"]).exists()
    return dsl.Artifact(metadata={"digest": face["digest"], "hangs_on": () if here else (OWN_DATA,)})


def _arguments(step: Step, face: Mapping[str, Any]) -> dict[str, Any]:
    """A task's plain arguments, of the step's own types."""
    hints = {name: hint for name, hint in step.arguments.items() if hint not in INPUT_TYPES}
    return {name: TypeAdapter(hint).validate_python(face[name]) for name, hint in hints.items()}


def _digests(step: Step, inputs: Mapping[str, list[dsl.Artifact]]) -> dict[str, Any]:
    """The inputs as the fingerprint takes them."""
    found = {name: sorted(each.metadata["digest"] for each in read) for name, read in inputs.items()}
    hints = {name: hint for name, hint in step.arguments.items() if hint in INPUT_TYPES}
    return {name: found.get(name) if hint == list[Path] else found.get(name, [None])[0] for name, hint in hints.items()}
