"""What is wrong with a data set, collected so that the user mends everything in one go."""

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from components.core.errors import UserError

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


class Unusable(Exception):
    """Something in the data cannot be used; the message says why, in words that follow the file's name."""


class Problems:
    """Collects `file: why` lines; `stop` ends the step with all of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, name: str, why: str) -> None:
        """Note why the file `name` (relative to the data folder) cannot be used."""
        line = f"{name}: {why}"
        if line not in self.lines:
            self.lines.append(line)

    def attempt(
        self, name: str, function: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Value | None:
        """The function's value, or None with a note about `name` where it raises `Unusable`."""
        try:
            return function(*args, **kwargs)
        except Unusable as problem:
            self.add(name, str(problem))
            return None

    def stop(self, raw: Path) -> None:
        """Let only a data set without problems pass.

        Raises:
            UserError: the first line says what to do, every further one names an offender and why.
        """
        if self.lines:
            first = f"The data in {raw} cannot be used; mend or remove what is listed here, then run again:"
            raise UserError("\n".join([first, *self.lines]))
