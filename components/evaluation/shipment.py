"""Models on their way to the registry."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from components.core.contract import Run
from components.core.telemetry.tracking import register_model


@dataclass(frozen=True)
class Shipment:
    """A model for the registry.

    Attributes:
        example: a batch of its inputs.
        value: of the gate's metric.
        tags: what it descends from.
    """

    name: str
    network: nn.Module
    example: Tensor
    value: float
    tags: dict[str, str]


def ship(shipments: Iterable[Shipment], metric: str, run: Run) -> None:
    """Register every model behind its champion's gate, and write registered.json.

    Args:
        metric: the gate's name for the shipments' value.
        run: the registering step's.
    """
    registered = {}
    for shipment in shipments:
        register_model(
            run.journal,
            shipment.name,
            shipment.network,
            shipment.example,
            metric=metric,
            value=shipment.value,
            tags=shipment.tags,
        )
        registered[shipment.name] = {metric: shipment.value, **shipment.tags}
    (run.out / "registered.json").write_text(json.dumps(registered, indent=1) + "\n")
