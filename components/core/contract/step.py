"""The contract that wraps every step under every runner.

A step is a plain function `(params, run, *, inputs…) → None` that writes into `run.out`. Calling it through the
contract checks parameters and inputs, computes the fingerprint, seeds every generator, files checkpoints under the
fingerprint, writes outputs to a temporary folder and renames that into place, and keeps a journal for MLflow.
"""

import contextlib
import errno
import inspect
import os
import random
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from components.core.contract.outputs import check_replaceable, replacing
from components.core.contract.params import ComputeSection, Section, check
from components.core.contract.seeds import derive_seed
from components.core.contract.turns import turn
from components.core.errors import UserError
from components.core.storage import Checkpoints, digest_code, digest_json, digest_path, state_dir
from components.core.telemetry import Journal

CORE = Path(__file__).parents[1]

_LITTLE = 1 << 16  # bytes that a full disk may still have

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"

KEEP_CHECKPOINTS = "GANFLOW_KEEP_CHECKPOINTS"
"""The environment variable of who removes them: where outputs go with the disk, a step may have to be done again."""

INPUT_TYPES = (Path, list[Path], Path | None)
"""Annotations that make a parameter of a step an input file or folder; all others are plain arguments."""


Inputs = dict[str, Path | list[Path] | None]
InputDigests = dict[str, str | list[str] | None]


@dataclass(frozen=True)
class Run:
    """What one execution of a step is given beside its parameters and inputs.

    Attributes:
        out: the folder to write outputs into; it appears under its final name only when the step succeeds.
        fingerprint: digest of name, parameters, arguments, inputs and code (64 hex digits).
        inputs: content digests of the inputs by name.
        seed: 63 bits that hang on the section's seed and the arguments that are no treatments (`seeds.py`).
        checkpoints: where trainings keep their state, filed under the fingerprint.
        journal: metrics, images and artifacts on their way to MLflow.
        attempt: how often the step has begun anew, by its own decision.
    """

    out: Path
    fingerprint: str
    inputs: InputDigests
    seed: int
    checkpoints: Checkpoints
    journal: Journal
    attempt: int = 0


class Step:
    """A step function under the contract; made by `@step`.

    The function's first parameter is annotated with its `Section`, the second is the `Run`, the others are inputs
    (annotated with one of `INPUT_TYPES`) and plain arguments.

    Args:
        registers: whether another execution's output does not stand for its own.
        treatments: arguments whose values are compared with each other, and so share their draws.
    """

    def __init__(
        self, function: Callable[..., None], *, registers: bool = False, treatments: Collection[str] = ()
    ) -> None:
        self.function = function
        self.registers = registers
        self.treatments = treatments
        self.name = function.__name__.replace("_", "-")
        self.__doc__ = function.__doc__
        self.package = Path(inspect.getfile(function)).parent
        hints = get_type_hints(function)
        names = list(inspect.signature(function).parameters)
        self.section: type[Section] = hints[names[0]]
        self.arguments: dict[str, Any] = {name: hints[name] for name in names[2:]}

    def __call__(
        self, params: Section | str, *, out: Path | str, code: str | None = None, **given: Any
    ) -> dict[str, str]:
        """Run the step under the contract; returns its fingerprint and its output's digest.

        Args:
            params: its section, or that section as JSON.
            code: digest of the sources that the runner filed this execution under, if it did.
            out: the output folder; what a step wrote there before is replaced when this one succeeds, and only then.
            given: the step's own keyword arguments.

        Raises:
            UserError: bad parameters or inputs, other code than the runner's, an `out` that may not be replaced, inputs
                that changed meanwhile, or no room; nothing half-written stays.
        """
        if code not in (None, self.code_digest()):
            raise UserError(
                f"The code of {self.name} is not what the pipeline was built with: run the pipeline again, "
                "in containers with an image built anew (`ganflow image build`)."
            )
        section = check(params if isinstance(params, str) else params.model_dump_json(), self.section, self.name)
        inputs, arguments = self._sort(given)
        out = Path(out)
        check_replaceable(out, [path for value in inputs.values() for path in _flat(value)])
        read = _digest_inputs(inputs)
        fingerprint = self.fingerprint(section, arguments, read)
        seed = _seed_everything(section, {name: arguments[name] for name in arguments if name not in self.treatments})
        with (
            _told(self.name, out),
            Journal.open(self.name, section.model_dump(mode="json"), arguments, fingerprint, read) as journal,
            turn(fingerprint, out, reuse=not self.registers) as mine,
        ):
            journal.tags({"ganflow.out": str(out)})
            digest = mine.digest
            if digest:
                journal.tags({"ganflow.reused": "true"})
            else:
                checkpoints = Checkpoints(fingerprint)
                with replacing(out) as partial, _told(self.name, out):
                    self.function(
                        section, Run(partial, fingerprint, read, seed, checkpoints, journal), **inputs, **arguments
                    )
                    _check_unchanged(inputs, read)
                    digest = digest_path(partial)
                mine.note(digest)
            journal.output(digest)
            if not mine.digest:
                _tidy(checkpoints, journal)
        return {"fingerprint": fingerprint, "digest": digest}

    def fingerprint(self, section: Section, arguments: dict[str, Any], inputs: InputDigests) -> str:
        """What an execution is filed under (64 hex digits): equal ones write equal bytes."""
        return digest_json(
            {
                "step": self.name,
                "params": section.model_dump(mode="json"),
                "arguments": arguments,
                "inputs": inputs,
                "code": self.code_digest(),
            }
        )

    def code_digest(self) -> str:
        """Digest of what the step's behaviour hangs on: its own package's sources and `core`'s."""
        return digest_code(self.package, CORE)

    def _sort(self, given: dict[str, Any]) -> tuple[Inputs, dict[str, Any]]:
        """What was given as typed inputs and plain arguments; an optional input may be left out."""
        hints = {name: hint for name, hint in self.arguments.items() if name in given or hint != Path | None}
        unknown = sorted(set(given) - set(hints))
        missing = sorted(set(hints) - set(given))
        if unknown or missing:
            problems = [f"takes no {name}" for name in unknown] + [f"needs {name}" for name in missing]
            raise UserError(f"The step {self.name} {', '.join(problems)}.")
        typed: dict[str, Any] = dict.fromkeys(self.arguments)
        for name, hint in hints.items():
            try:
                typed[name] = TypeAdapter(hint).validate_python(given[name])
            except ValidationError as error:
                raise UserError(f"{self.name}: {name}: {error.errors()[0]['msg']}, got {given[name]!r}.") from None
        inputs = {name: value for name, value in typed.items() if self.arguments[name] in INPUT_TYPES}
        return inputs, {name: value for name, value in typed.items() if name not in inputs}


def step(function: Callable[..., None]) -> Step:
    """Put a step function under the contract."""
    return Step(function)


def registering_step(function: Callable[..., None]) -> Step:
    """Put a step under the contract that changes a registry: another execution's output does not stand for its own."""
    return Step(function, registers=True)


def comparing_step(*treatments: str) -> Callable[[Callable[..., None]], Step]:
    """Put a step under the contract of which one argument's values (or several's) are compared: they share draws."""
    return partial(Step, treatments=treatments)


def _digest_inputs(inputs: Inputs) -> InputDigests:
    missing = [str(path) for value in inputs.values() for path in _flat(value) if not path.exists()]
    if missing:
        raise UserError(f"Input not found: {', '.join(missing)}; check the path or run the step that makes it.")
    # The order in which a runner collects parallel tasks' outputs must not matter: lists are digested sorted.
    return {
        name: sorted(map(digest_path, value)) if isinstance(value, list) else value and digest_path(value)
        for name, value in inputs.items()
    }


def _check_unchanged(inputs: Inputs, read: InputDigests) -> None:
    now = _digest_inputs(inputs)
    if changed := [name for name in inputs if now[name] != read[name]]:
        raise UserError(f"What {', '.join(changed)} leads to changed while the step read it; run it again.")


def _flat(value: Path | list[Path] | None) -> list[Path]:
    return value if isinstance(value, list) else [value] if value else []


def _seed_everything(section: Section, place: Mapping[str, Any]) -> int:
    """Seed Python, NumPy and (where the step computes with it) torch; switch deterministic algorithms on.

    Args:
        place: the step's arguments that say where in the experiment it stands, such as its fold.
    """
    import numpy as np

    seed = derive_seed(getattr(section, "seed", 0), place)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    if isinstance(section, ComputeSection):
        if os.environ.get(_CUBLAS) not in (":4096:8", ":16:8"):  # else the first matrix product on CUDA is an error
            os.environ[_CUBLAS] = ":4096:8"
        import torch

        torch.manual_seed(seed)
        # The public twin of use_deterministic_algorithms(True), which imports the compiler: 1.5 s a step.
        torch.set_deterministic_debug_mode("error")
        # Nothing here reads memory before it is written; filling it first costs 3 % of a training step.
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.set_num_threads(section.threads)
    return seed


def _tidy(checkpoints: Checkpoints, journal: Journal) -> None:
    """Forget the checkpoints of a step that is done, which no failure to do so can undo."""
    if KEEP_CHECKPOINTS in os.environ:
        return
    try:
        checkpoints.remove()
    except UserError as error:
        journal.warn(f"The checkpoints stay behind: {error}")


@contextlib.contextmanager
def _told(name: str, out: Path) -> Iterator[None]:
    """Tell in one sentence what the machine refuses; everything else is the step's own mistake."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if place := _full_disk(error, out):
            raise UserError(f"{name} found no room on the disk of {place}; make room and run it again.") from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"{name} may not use {error.filename} ({error.strerror}); mend the permissions and run it again."
            ) from error
        raise


def _full_disk(error: Exception, out: Path) -> str:
    """A place on the disk whose lack of room a failure comes from, "" where it comes from something else.

    NumPy and SimpleITK do not say so, safetensors in its words only.
    """
    short = [str(path) for path in (out, state_dir()) if _room(path) < _LITTLE]
    said = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
    return (
        (getattr(error, "filename", None) or " or ".join(short or map(str, (out, state_dir()))))
        if said or short
        else ""
    )


def _room(path: Path) -> int:
    """Bytes left on the disk of what lies, or will lie, at `path`."""
    return shutil.disk_usage(next(each for each in path.absolute().parents if each.exists())).free
