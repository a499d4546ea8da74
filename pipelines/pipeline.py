"""What a pipeline is to the runners and the command line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.contract import DEFAULT_PROFILE, Section, Step, load_params
from components.core.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

CHECKOUT = Path(__file__).resolve().parents[1]

NAMES = ("cardiac", "digits", "colour")

REGISTERS = "register"
"""Begins the names of the steps that register models; no cache knows what a registry holds, so they always run."""

Place = Callable[[], None]
"""Says where the tasks of the pipeline that is being drawn run; called when all are drawn."""


def nowhere() -> None:
    """Leave the tasks to the runner."""


@dataclass(frozen=True)
class Pipeline:
    """A published system as a graph of steps.

    Attributes:
        name: its section of `params.yaml`, its MLflow experiment, its folder of outputs.
        params: model of that section.
        steps: every step by name, with the section it receives.
        graph: parameters, the raw data (None: simulate or fetch some) and, if it matters, where tasks run →
            the Kubeflow pipeline.
        summary: the content of metrics.json → the table that ends a run in the terminal.
        models: names under which the last step registers models.
        settle: decides, before a run without raw data, what hangs on this machine; the parameters then say
            so, and with them the keys of all caches.
    """

    name: str
    params: type[Section]
    steps: Callable[[Any], dict[str, tuple[Step, Section]]]
    graph: Callable[..., Any]
    summary: Callable[[Mapping[str, Any]], "Table"]
    models: tuple[str, ...]
    settle: Callable[[Any], Any] = lambda params: params

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


def by_name(sections: Mapping[Step, Section]) -> dict[str, tuple[Step, Section]]:
    """Steps with the sections they receive, by the steps' names."""
    return {step.name: (step, section) for step, section in sections.items()}


def constants(step: Step, section: Section) -> dict[str, str]:
    """The arguments of a step's face that are fixed when the pipeline is built."""
    return {"params": section.model_dump_json(), "code": step.code_digest()}
