"""Parameters: `params.yaml` ↔ frozen pydantic sections, with profiles and overrides."""

import io
import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.core.errors import UserError

DEFAULT_PROFILE = "default"


class Section(BaseModel):
    """One step's parameters: frozen, strictly typed, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ComputeSection(Section):
    """Parameters of a step that computes with torch."""

    threads: int = Field(ge=1, description="compute threads; they change float sums, hence bytes")
    seed: int = Field(ge=0, description="every random draw hangs on it")


class TrainingSection(ComputeSection):
    """Parameters that every training shares."""

    batch_size: int = Field(ge=1)
    precision: Literal["fp32", "bf16"] = Field(
        description="of matrix products and convolutions; weights, losses and metrics are fp32 always"
    )
    checkpoint_seconds: float = Field(gt=0, description="time between two checkpoints, with which metrics are sent")


class GanSection(TrainingSection):
    """Parameters that every adversarial training shares."""

    on_collapse: Literal["warn", "stop", "restart"] = Field(
        description="what to do when what is made, or who judges it, shows that the training fails"
    )


Model = TypeVar("Model", bound=Section)


def load_params(
    path: Path,
    pipeline: str,
    model: type[Model],
    profile: str = DEFAULT_PROFILE,
    overrides: Iterable[str] = (),
) -> Model:
    """Read a pipeline's parameters, change them by a profile, then by `key=value` overrides, and check them.

    Args:
        path: the YAML file; its top-level keys are pipelines, and `profiles`.
        pipeline: which of them.
        model: what they must fit.
        profile: "default", or a key of `profiles`, whose values replace the defaults.
        overrides: such as `cardiac.egan.gamma=0.1`; the value is read as YAML.

    Raises:
        UserError: names every key that is unknown, of a wrong type or out of range.
    """
    tree = read_yaml(path)
    profiles = _mapping(path, tree, "profiles")
    if profile != DEFAULT_PROFILE and profile not in profiles:
        raise UserError(f"There is no profile '{profile}'; choose one of {', '.join([DEFAULT_PROFILE, *profiles])}.")
    values = _merge({pipeline: tree.get(pipeline) or {}}, _mapping(path, profiles, profile), only=pipeline)
    for override in overrides:
        _apply(values, override, pipeline)
    return check(values[pipeline], model, pipeline)


def dump_params(pipeline: str, values: Section) -> str:
    """A pipeline's parameters as YAML text."""
    text = io.StringIO()
    YAML().dump({pipeline: values.model_dump(mode="json")}, text)
    return text.getvalue()


def write_params(path: Path, pipeline: str, values: Section) -> None:
    """Replace a pipeline's values in a YAML file; its comments, order and profiles stay.

    Raises:
        UserError: the file is missing or is not YAML.
    """
    read_yaml(path)
    yaml = YAML()
    yaml.width = 200
    tree = yaml.load(path)
    _update(tree[pipeline], values.model_dump(mode="json"))
    yaml.dump(tree, path)


def check(values: Mapping[str, Any] | str, model: type[Model], name: str) -> Model:
    """Values (a mapping, or JSON text) as a section called `name` in messages.

    Raises:
        UserError: one line for every offending key.
    """
    text = values if isinstance(values, str) else json.dumps(values)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        lines = [sentence(name, model, each) for each in error.errors()]
        raise UserError("\n".join(lines)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: the file is missing or is not YAML.
    """
    try:
        tree = YAML(typ="safe").load(path) or {}
    except FileNotFoundError:
        raise UserError(f"There is no {path}; run from the checkout or restore the file from Git.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold names and their values, as the checkout's does.")
    return tree


def _mapping(path: Path, tree: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What stands under a name, which may be nothing."""
    value = tree.get(name) or {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: {name}: must hold names and their values, got {json.dumps(value, default=str)}")
    return value


def _merge(base: dict[str, Any], change: Mapping[str, Any], only: str | None = None) -> dict[str, Any]:
    """`base` with the leaves of `change` put in; `only` keeps other top-level keys of `change` out."""
    merged = dict(base)
    for key, value in change.items():
        if only is not None and key != only:
            continue
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _update(tree: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _update(tree[key], value)
        elif tree.get(key) != value:
            tree[key] = value


def _apply(values: dict[str, Any], override: str, pipeline: str) -> None:
    key, separator, text = override.partition("=")
    *parents, last = key.strip().split(".")
    if not separator or not parents or parents[0] != pipeline:
        raise UserError(f"Cannot read the override '{override}'; write {pipeline}.SECTION.NAME=VALUE.")
    for position, parent in enumerate(parents):
        if not isinstance(values.get(parent), dict):
            raise UserError(f"{'.'.join(parents[: position + 1])}: unknown parameter.")
        values = values[parent]
    try:
        values[last] = YAML(typ="safe").load(text)
    except YAMLError:
        raise UserError(f"{key.strip()}: the value {text} is not valid YAML; quote or close what is open.") from None


def sentence(name: str, model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """One pydantic error as `key: what must be, got what`."""
    location = [str(part) for part in error["loc"]]
    key, context, got = ".".join([name, *location]), error.get("ctx", {}), error["input"]
    match error["type"]:
        case "extra_forbidden":
            near = get_close_matches(location[-1], _fields_at(model, location[:-1]), n=1)
            return f"{key}: unknown parameter" + (f"; did you mean '{near[0]}'?" if near else ".")
        case "missing":
            return f"{key}: is missing."
        case "greater_than_equal":
            problem = f"must be ≥ {context['ge']:g}"
        case "greater_than":
            problem = f"must be > {context['gt']:g}"
        case "less_than_equal":
            problem = f"must be ≤ {context['le']:g}"
        case "less_than":
            problem = f"must be < {context['lt']:g}"
        case "too_short":
            problem = f"must have at least {context['min_length']} items"
        case "literal_error":
            problem = f"must be {context['expected']}"
        case "int_type" | "int_from_float":
            problem = "must be a whole number"
        case "float_type":
            problem = "must be a number"
        case _ if isinstance(got, Mapping):  # a rule between several keys
            return f"{key}: {error['msg']}."
        case _:
            problem = error["msg"][0].lower() + error["msg"][1:]
    return f"{key}: {problem}, got {json.dumps(got, default=str)}"


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Names of the fields of the section that `location` leads to."""
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        sections = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
        model = next((each for each in sections if issubclass(each, BaseModel)), BaseModel)
    return list(model.model_fields)
