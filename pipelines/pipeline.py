"""What a pipeline is to the runners and the command line."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from components.core.errors import UserError
from components.core.params import DEFAULT_PROFILE, Section, load_params
from components.core.step import Step

CHECKOUT = Path(__file__).resolve().parents[1]

NAMES = ("cardiac",)


@dataclass(frozen=True)
class Pipeline:
    """A published system as a graph of steps.

    Attributes:
        name: its section of `params.yaml`, its MLflow experiment, its folder of outputs.
        params: model of that section.
        steps: every step by name, with the section it receives.
        graph: parameters and the raw data's folder (None: simulate some) → the Kubeflow pipeline.
        models: names under which the last step registers models.
    """

    name: str
    params: type[Section]
    steps: Callable[[Any], dict[str, tuple[Step, Section]]]
    graph: Callable[[Any, Path | None], Any]
    models: tuple[str, ...]

    def load(self, profile: str = DEFAULT_PROFILE, overrides: list[str] | None = None) -> Any:
        """Its parameters out of `params.yaml`, changed by a profile and overrides, checked.

        The file is the current folder's, as for DVC; the checkout's where there is none.
        """
        path = Path("params.yaml")
        path = path if path.exists() else CHECKOUT / path
        return load_params(path, self.name, self.params, profile, overrides or ())


def find(name: str) -> Pipeline:
    """The pipeline called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in NAMES:
        raise UserError(f"There is no pipeline '{name}'; choose one of {', '.join(NAMES)}.")
    return import_module(f"pipelines.{name}").PIPELINE


def constants(step: Step, section: Section) -> dict[str, str]:
    """The arguments of a step's face that are fixed when the pipeline is built."""
    return {"params": section.model_dump_json(), "code": step.code_digest()}
