"""MLflow's model registry: the gate that networks pass on their way in, and the way out."""

import contextlib
import copy
import hashlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.telemetry.environment import shown, tracking_uri
from components.core.telemetry.journal import OUTAGE_SECONDS, Journal
from components.core.telemetry.tracking.store import Refused, Store, answering

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from torch import Tensor, nn

_MODEL_DESCRIPTION = """The alias `champion` is on the version with the highest {metric}, `challenger` on the latest.
`mlflow.pyfunc.load_model` loads it without ganflow; a version's tags and run say what it descends from."""

_GATE = "ganflow.gate"
"""Tag of a version: "open" until it is settled whether it is the champion."""

_ABANDONED_SECONDS = 3600.0
"""How much later a version is than one that is still open and, so, the work of a process that died."""

_RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelVersion:
    """What became of a model that was registered.

    Attributes:
        version: its number in the registry.
        champion: whether it is the champion now.
        previous: the version that was the champion before, None for the first.
    """

    version: int
    champion: bool
    previous: int | None


def register_model(
    journal: Journal,
    name: str,
    network: "nn.Module",
    example: "Tensor",
    *,
    metric: str,
    value: float,
    tags: Mapping[str, str],
) -> ModelVersion:
    """Log a network into the journal's run and register it: as challenger, and as champion if it is the best yet.

    Equal weights with an equal value are registered once. The model is saved as an exported graph (pt2): it
    needs none of this project's code, takes any batch size, and is loaded without unpickling anything.

    Args:
        journal: the registering step's own; its courier tells the run.
        name: of the registered model.
        network: on any device; it is exported in evaluation mode on the CPU.
        example: (N, C, H, W) or any other shape with the batch first.
        metric: the gate's name for `value`.
        value: the higher the better; only a higher value of the same metric replaces the champion.
        tags: of the version, beside `ganflow.metric`, `.value`, `.weights` and `.previous_champion`.

    Raises:
        UserError: the tracking server does not answer, or refuses.
    """
    run_id, uri = journal.run_id(), tracking_uri()
    network = copy.deepcopy(network).cpu().eval()
    gate = {
        "ganflow.metric": metric,
        "ganflow.value": repr(value),
        "ganflow.weights": _digest_weights(network),
    }

    def register() -> ModelVersion:
        with Store(uri).client() as client:
            return _register(client, run_id, name, network, example, gate, tags)

    with answering(uri):
        return _patiently(register)


@dataclass(frozen=True)
class LoadedModel:
    """A network that was logged, without this project's code.

    Attributes:
        predict: arrays of `shape` → arrays.
        shape: of its inputs by its signature; -1 is any size.
    """

    predict: "Callable[[np.ndarray], np.ndarray]"
    shape: tuple[int, ...]


def load_model(uri: str) -> LoadedModel:
    """Load a network that `register_model` logged, on the CPU.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`; or a local folder that holds one.

    Raises:
        LookupError: there is no such model.
        UserError: the tracking server does not answer, or refuses.
    """
    store, registered = tracking_uri(), uri.startswith("models:")
    if not registered and not (Path(uri) / "MLmodel").is_file():
        raise LookupError(uri)
    with answering(store):
        try:
            with Store(store).client() if registered else contextlib.nullcontext():
                import mlflow.pyfunc

                mlflow.set_tracking_uri(store)
                model = mlflow.pyfunc.load_model(uri)
        except Refused as refusal:
            if refusal.of_request:
                raise LookupError(uri) from refusal
            raise
    return LoadedModel(model.predict, model.metadata.signature.inputs.inputs[0].shape)


def _register(
    client: "MlflowClient",
    run_id: str,
    name: str,
    network: "nn.Module",
    example: "Tensor",
    gate: Mapping[str, str],
    tags: Mapping[str, str],
) -> ModelVersion:
    """What `register_model` does; done twice, it goes on where it was the first time."""
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)  # what follows logs through MLflow's global state
    versions = _versions(client, name)
    known = next((each for each in versions if gate.items() <= each.tags.items()), None)
    if known is None:
        champion = _champion(client, name)
        begin = {_GATE: "open", "ganflow.rivals": str(_rivals_from(versions))}
        if champion:
            begin["ganflow.previous_champion"] = champion.version
        known = _create_version(
            client, run_id, name, network, example, {**tags, **gate, **begin}, _describe(gate, champion)
        )
    if known.tags.get(_GATE) == "open":
        client.set_registered_model_alias(name, "challenger", known.version)
        _settle(client, name, known)
    known, champion = client.get_model_version(name, known.version), _champion(client, name)
    before = known.tags.get("ganflow.previous_champion")
    wins = champion is not None and int(champion.version) == int(known.version)
    return ModelVersion(int(known.version), wins, int(before) if before else None)


def _settle(client: "MlflowClient", name: str, known: Any) -> None:
    """Have the best of the versions that are registered at the same time be the champion.

    MLflow cannot set an alias only where nobody else has set it meanwhile. So whoever sets it looks again, until there
    is nothing to do. Versions from before, among which people may have chosen otherwise, are left alone.
    """
    first, metric = int(known.tags["ganflow.rivals"]), known.tags["ganflow.metric"]
    while True:
        versions, champion = _versions(client, name), _champion(client, name)
        rivals = [each for each in versions if int(each.version) >= first and each.tags.get("ganflow.metric") == metric]
        better = [each for each in rivals if _beats(each, champion)]
        best = max(better, key=lambda each: float(each.tags["ganflow.value"]), default=None)
        if best is None:
            break
        if champion:
            client.set_model_version_tag(name, best.version, "ganflow.previous_champion", champion.version)
        client.set_registered_model_alias(name, "champion", best.version)
    client.set_model_version_tag(name, known.version, _GATE, "settled")


def _rivals_from(versions: list[Any]) -> int:
    """The first version that is registered at the same time as one that is begun now."""
    newest = max((each.creation_timestamp for each in versions), default=0)
    open_ones = [
        int(each.version)
        for each in versions
        if each.tags.get(_GATE) == "open" and newest - each.creation_timestamp < 1000 * _ABANDONED_SECONDS
    ]
    return min([*open_ones, max((int(each.version) for each in versions), default=0) + 1])


def _versions(client: "MlflowClient", name: str) -> list[Any]:
    return list(client.search_model_versions(f"name = '{name}'"))


def _champion(client: "MlflowClient", name: str) -> Any | None:
    models = client.search_registered_models(f"name = '{name}'")
    version = models and models[0].aliases.get("champion")
    return client.get_model_version(name, str(version)) if version else None


def _beats(version: Any, champion: Any | None) -> bool:
    """Whether a version passes the gate; another metric's value is no match, then people must move the alias."""
    value = float(version.tags["ganflow.value"])
    if champion is None:
        return not math.isnan(value)
    same = champion.tags.get("ganflow.metric") == version.tags["ganflow.metric"]
    return same and value > float(champion.tags["ganflow.value"])


def _create_version(
    client: "MlflowClient",
    run_id: str,
    name: str,
    network: "nn.Module",
    example: "Tensor",
    tags: Mapping[str, str],
    description: str,
) -> Any:
    """Log the network as a model of the run, unless that was done, then register it, tags and all, in one call."""
    import mlflow.pytorch
    import torch
    from mlflow.models import Model, infer_signature

    inputs = torch.cat([example[:1], example[:1]]).cpu()  # a batch of 1 would be exported as the only size
    with torch.no_grad():
        signature = infer_signature(inputs.numpy(), network(inputs).numpy())
    experiment_id = client.get_run(run_id).info.experiment_id
    begun = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}' AND name = '{name}'")
    logged = begun[0] if begun else client.create_logged_model(experiment_id, name, run_id, dict(tags))
    Model.log(
        None,
        mlflow.pytorch,
        run_id=run_id,
        model_id=logged.model_id,
        pytorch_model=network,
        serialization_format="pt2",
        signature=signature,
        input_example=inputs.numpy(),
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}"],
    )
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=_MODEL_DESCRIPTION.format(metric=tags["ganflow.metric"]))
    source = f"models:/{logged.model_id}"
    return client.create_model_version(
        name, source, run_id, tags=dict(tags), description=description, model_id=logged.model_id
    )


def _describe(gate: Mapping[str, str], champion: Any | None) -> str:
    """A version in the words of the registry's table: its score, and whom it had to beat."""
    score = f"{float(gate['ganflow.value']):.4g} {gate['ganflow.metric']}"  # the table cuts it short
    return f"{score}; the champion was version {champion.version}" if champion else f"{score}; the first"


def _digest_weights(network: "nn.Module") -> str:
    """SHA-256 of a network's state: names, types, shapes and values."""
    content = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        content.update(tensor.contiguous().numpy().tobytes())
    return content.hexdigest()


def _patiently(call: Callable[[], "ModelVersion"]) -> "ModelVersion":
    """Make a call, and again where the server goes away meanwhile, until it has been away for `OUTAGE_SECONDS`."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            return call()
        except Exception as error:
            if not _is_passing(error) or time.monotonic() > deadline:
                raise
            _log.warning("MLflow does not answer, trying again: %s", shown(str(error)))
        time.sleep(_RETRY_SECONDS)


def _is_passing(error: Exception) -> bool:
    """Whether an error is one of a server that is away, starting, or does two things at once, not of the request."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500 or error.error_code == "RESOURCE_ALREADY_EXISTS"
    return False
