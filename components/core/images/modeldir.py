"""A network on disk: its weights and the configuration that rebuilds it.

torch is imported where it is needed: reading a model's facts does without.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")


def save_model(directory: Path, network: "nn.Module", config: dict[str, Any], **facts: str | int) -> None:
    """Write `weights.safetensors` and `config.json` into `directory`.

    Args:
        directory: made where it is missing.
        network: its state is written contiguously, from the CPU.
        config: the keyword arguments that rebuild `network`.
        facts: what else to know of it, `origin` first of all: the digest of the training part it descends from.
    """
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, directory / "weights.safetensors")
    text = json.dumps({"network": config, "facts": facts}, indent=1, sort_keys=True)
    (directory / "config.json").write_text(text + "\n")


def load_model(directory: Path, build: Callable[..., Network]) -> Network:
    """Rebuild a saved network with `build(**config)` and fill in its weights; it is in evaluation mode."""
    from safetensors.torch import load_file

    network = build(**_read(directory)["network"])
    network.load_state_dict(load_file(directory / "weights.safetensors"))
    return network.eval()


def model_facts(directory: Path) -> dict[str, Any]:
    """What `save_model` was told about the network in `directory`."""
    return _read(directory)["facts"]


def _read(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "config.json").read_text())
