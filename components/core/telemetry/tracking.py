"""MLflow: the only file that imports it, and only when it is called.

`Store` is what the courier delivers to, `open_pipeline_run` what a runner hangs its steps' runs under,
`register_model` the way into the model registry, `load_model` the way out of it.
"""

import contextlib
import copy
import functools
import hashlib
import json
import logging
import math
import os
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from components.core.errors import UserError
from components.core.telemetry.journal import (
    OUTAGE_SECONDS,
    PIPELINE,
    Journal,
    Status,
    environment_tags,
    flatten,
    journals_dir,
    shown,
    tracking_uri,
)

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from torch import Tensor, nn

Point = tuple[str, float, int, int]
"""A metric's name, value, time in milliseconds since 1970, and step."""

POINTS_PER_CALL = 1000
"""MLflow's limit of metrics a call."""

# MLflow's pages open on traces of language models unless told that models are trained here.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_WORKFLOW = "workflowType=machine_learning"

_MODEL_DESCRIPTION = """The alias `champion` is on the version with the highest {metric}, `challenger` on the latest.
`mlflow.pyfunc.load_model` loads it without ganflow; a version's tags and run say what it descends from."""

_PAIRS_PER_CALL = 100  # its limit of parameters, and of tags
_PARAM_CHARACTERS, _TAG_CHARACTERS = 6000, 8000
_LOCK_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_FINAL = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # all else may be a proxy's or an outage's

# MLflow's own are 7 retries of up to 120 s: a courier, which comes again anyway, must not hang in one call.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}


_log = logging.getLogger(__name__)


class Rejected(Exception):
    """MLflow understood, and will never take this."""


class Store:
    """A tracking store; on SQLite one process at a time, the making of the tables included.

    Every method raises `Rejected` for what MLflow refuses for good and MLflow's own error for all else, such as
    a server that is away.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._file = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
        self._lock = FileLock(f"{self._file}.lock", timeout=_LOCK_SECONDS) if self._file else None

    @contextlib.contextmanager
    def client(self) -> Iterator["MlflowClient"]:
        """MLflow's client, while no other process writes to the same SQLite file."""
        _set_defaults()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock or contextlib.nullcontext():
            try:
                if self._file and not self._file.exists():
                    _make_tables(self._file)
                yield MlflowClient(self.uri)
            except MlflowException as error:
                if error.error_code in _FINAL:
                    raise Rejected(error.message) from error
                raise

    def open_run(self, start: Mapping[str, Any]) -> str:
        """The id of the run that a journal's first event is about, created unless it exists.

        A `run_id` in it beats everything; else the run is looked for by the journal's name.
        """
        with self.client() as client:
            if run_id := start.get("run_id"):
                client.update_run(run_id, status="RUNNING")
                return run_id
            experiment = start.get("experiment_id") or _experiment_id(client, start["experiment"])
            tags = {"ganflow.journal": start["journal"]}
            if start.get("parent"):
                tags["mlflow.parentRunId"] = start["parent"]
            known = client.search_runs([experiment], f"tags.`ganflow.journal` = '{start['journal']}'", max_results=1)
            run = known[0] if known else client.create_run(experiment, start["time"], tags, start["name"])
            return run.info.run_id

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log parameters; what is longer than MLflow takes is cut."""
        from mlflow.entities import Param

        with self.client() as client:
            for some in _chunks(
                [Param(key, each[:_PARAM_CHARACTERS]) for key, each in params.items()], _PAIRS_PER_CALL
            ):
                client.log_batch(run_id, params=some)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags; what is longer than MLflow takes is cut."""
        from mlflow.entities import RunTag

        with self.client() as client:
            for some in _chunks([RunTag(key, each[:_TAG_CHARACTERS]) for key, each in tags.items()], _PAIRS_PER_CALL):
                client.log_batch(run_id, tags=some)

    def log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        """Log metric points; one logged before is not doubled."""
        from mlflow.entities import Metric

        for some in _chunks(points, POINTS_PER_CALL):
            with self.client() as client:
                client.log_batch(run_id, metrics=[Metric(*point) for point in some])

    def log_dataset(self, run_id: str, event: Mapping[str, Any]) -> None:
        """Log a data set as an input of the run: its name, digest, source and counts."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = event["source"]
        dataset = Dataset(
            name=event["name"],
            digest=event["digest"],
            source_type=urlsplit(source).scheme or "local",
            source=json.dumps({"uri": source}),
            profile=json.dumps(event["counts"]),
        )
        with self.client() as client:
            client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def log_artifact(self, run_id: str, root: Path, path: str) -> None:
        """Upload the file or folder `root/path` as the run's artifact `path`."""
        folder = Path(path).parent.as_posix()
        with self.client() as client:
            client.log_artifact(run_id, str(root / path), None if folder == "." else folder)

    def end_run(self, run_id: str, status: Status, time: int) -> None:
        """End a run at `time`, in milliseconds since 1970."""
        with self.client() as client:
            client.set_terminated(run_id, status, time)


@dataclass(frozen=True)
class PipelineRun:
    """The parent of one pipeline run's steps; the runner keeps a journal of it like a step.

    Attributes:
        run_id: of MLflow.
        experiment_id: of MLflow.
        tracking_uri: the store they lie in.
        url: its page, None where there is no server.
        journal: what is logged of it.
    """

    run_id: str
    experiment_id: str
    tracking_uri: str
    url: str | None
    journal: Journal

    def environment(self) -> dict[str, str]:
        """What a step's process finds in its environment to log below this run and leave delivery to us."""
        return {
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_EXPERIMENT_ID": self.experiment_id,
            "GANFLOW_PARENT_RUN": self.run_id,
            "GANFLOW_JOURNALS": str(self.journal.folder.parent),
        }

    def finish(
        self,
        status: Status,
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Sequence[Path],
    ) -> None:
        """End the run with its results; the courier delivers them."""
        self.journal.metrics(metrics, step=0)
        self.journal.tags(tags)
        for path in artifacts:
            self.journal.artifact(path)
        self.journal.close(status)


def open_pipeline_run(experiment: str, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> PipelineRun:
    """Create a pipeline run's parent run, so that a wrong address or password shows before any work starts.

    Raises:
        UserError: the tracking server does not answer within about 10 s, or refuses.
    """
    uri = tracking_uri()
    with _answering(uri), _environment(_IMPATIENT):
        store = Store(uri)
        with store.client() as client:
            experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or _experiment_id(client, experiment)
            run_id = client.create_run(experiment_id, run_name=name).info.run_id
    tags = {**environment_tags(), **tags}
    journal = Journal(
        journals_dir(),
        {"step": PIPELINE, "name": name, "run_id": run_id, "params": flatten(params), "tags": tags},
    )
    page = f"{shown(uri)}/#/experiments/{experiment_id}/runs/{run_id}?{_WORKFLOW}"
    url = page if uri.startswith("http") else None
    return PipelineRun(run_id, experiment_id, uri, url, journal)


def find_output(experiment: str, fingerprint: str) -> str | None:
    """The digest of what a finished run with a fingerprint wrote, None where MLflow knows of none.

    Raises:
        UserError: the tracking server does not answer within about 10 s, or refuses.
    """
    uri = tracking_uri()
    path = uri.removeprefix("sqlite:///")
    if path != uri and not Path(path).exists():  # asking would make it
        return None
    with _answering(uri), _environment(_IMPATIENT), Store(uri).client() as client:
        found = client.get_experiment_by_name(experiment)
        wanted = f"tags.`ganflow.fingerprint` = '{fingerprint}' and attributes.status = 'FINISHED'"
        runs = client.search_runs([found.experiment_id], wanted, max_results=1) if found else []
        return runs[0].data.tags.get("ganflow.output") if runs else None


def _make_tables(path: Path) -> None:
    """Make a SQLite store, whole or not at all: one that was killed half-made would be of no use to MLflow."""
    from mlflow import MlflowClient

    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(path)


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

    with _answering(uri):
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
    with _answering(store):
        try:
            with Store(store).client() if registered else contextlib.nullcontext():
                import mlflow.pyfunc

                mlflow.set_tracking_uri(store)
                model = mlflow.pyfunc.load_model(uri)
        except Rejected as error:
            raise LookupError(uri) from error
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
    """What `register_model` does; done twice, it finds what it did the first time."""
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)  # what follows logs through MLflow's global state
    known = _find_version(client, name, gate)
    champion = _champion(client, name)
    if known is None:
        previous = {"ganflow.previous_champion": champion.version} if champion else {}
        known = _create_version(
            client, run_id, name, network, example, {**tags, **gate, **previous}, _describe(gate, champion)
        )
    client.set_registered_model_alias(name, "challenger", known.version)
    if _beats(known, champion):
        client.set_registered_model_alias(name, "champion", known.version)
        champion = known
    before = known.tags.get("ganflow.previous_champion")
    wins = champion is not None and int(champion.version) == int(known.version)
    return ModelVersion(int(known.version), wins, int(before) if before else None)


def _find_version(client: "MlflowClient", name: str, gate: Mapping[str, str]) -> Any | None:
    """The version of these very weights, metric and value, if there is one."""
    versions = client.search_model_versions(f"name = '{name}'")
    return next((each for each in versions if gate.items() <= each.tags.items()), None)


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


@functools.cache
def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with contextlib.suppress(ImportError, RuntimeError):  # no GPU
        monitors.append(GPUMonitor())
    return monitors


def system_metrics() -> dict[str, float]:
    """The machine's load at this moment, under the names of MLflow's own system metrics."""
    values = {}
    for monitor in _monitors():
        monitor.collect_metrics()
        values |= {f"system/{name}": float(value) for name, value in monitor.aggregate_metrics().items()}
        monitor.clear_metrics()
    return values


def _experiment_id(client: "MlflowClient", name: str) -> str:
    """The id of the experiment called `name`, which is created where there is none."""
    from mlflow.exceptions import MlflowException

    if experiment := client.get_experiment_by_name(name):
        return experiment.experiment_id
    try:
        return client.create_experiment(name, tags=_EXPERIMENT_TAGS)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by somebody else, in this moment
            raise
    return client.get_experiment_by_name(name).experiment_id


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[first : first + size] for first in range(0, len(items), size))


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


def _set_defaults() -> None:
    """Say what MLflow reads from the environment, some of it when it is imported, unless the user does."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """The process's environment with `values` for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
        os.environ.update({name: before[name] for name in values if name in before})


@contextlib.contextmanager
def _answering(uri: str) -> Iterator[None]:
    """Turn what keeps a tracking store from answering into a sentence."""
    _set_defaults()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except Rejected as error:
        raise UserError(f"MLflow at {shown(uri)} refuses: {textwrap.shorten(shown(str(error)), 300)}") from error
    except MlflowException as error:
        reason = textwrap.shorten(shown(error.message), 300)
        if "Invalid Host header" in error.message:
            raise UserError(
                f"MLflow at {shown(uri)} does not answer to this name; "
                f"start it with {urlsplit(uri).netloc.rpartition('@')[2]} among its --allowed-hosts."
            ) from error
        match error.get_http_status_code():
            case 401:
                raise UserError(
                    f"MLflow at {shown(uri)} refuses the user or the password; "
                    "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
                ) from error
            case 403:
                raise UserError(
                    f"MLflow at {shown(uri)} does not permit the user this; ask its administrator ({reason})."
                ) from error
        raise UserError(
            f"MLflow at {shown(uri)} cannot be used; start it or set MLFLOW_TRACKING_URI ({reason})."
        ) from error
    except OSError as error:
        raise UserError(f"MLflow's store {shown(uri)} cannot be opened; set MLFLOW_TRACKING_URI ({error}).") from error
