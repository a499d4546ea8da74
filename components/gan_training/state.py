"""The state of everything that a GAN's training consists of: networks, optimisers, schedules."""

from collections.abc import Mapping
from typing import Any, Protocol


class Part(Protocol):
    """Whatever has a state of its own."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


def state_of(parts: Mapping[str, Part]) -> dict[str, Any]:
    """The parts' states by name."""
    return {name: part.state_dict() for name, part in parts.items()}


def restore(parts: Mapping[str, Part], state: Mapping[str, Any]) -> None:
    """Give the parts back what `state_of` took of them; what else is in `state` is left alone."""
    for name, part in parts.items():
        part.load_state_dict(state[name])
