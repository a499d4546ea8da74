"""A tracking store of MLflow: what is delivered to it, and how it refuses."""

import contextlib
import functools
import json
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from components.core.errors import UserError
from components.core.telemetry.environment import shown, tracking_uri
from components.core.telemetry.journal import Status
from components.core.telemetry.record import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

POINTS_PER_CALL = 1000
"""MLflow's limit of metrics a call."""

# MLflow's pages open on traces of language models unless told that models are trained here.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

_PARENT, _KUBEFLOW = "mlflow.parentRunId", "kfp.pipeline_run_id"

_PAIRS_PER_CALL = 100  # its limit of parameters, and of tags
_PARAM_CHARACTERS, _TAG_CHARACTERS = 6000, 8000
_LOCK_SECONDS = 60.0

# MLflow's own are 7 retries of up to 120 s: a courier, which comes again anyway, must not hang in one call.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}


class Refused(Exception):
    """MLflow answered, and does not take this; told in a sentence that says what to do.

    Attributes:
        of_request: whether nobody could have it taken.
    """

    def __init__(self, sentence: str, *, of_request: bool) -> None:
        super().__init__(sentence)
        self.of_request = of_request


class Store:
    """A tracking store; on SQLite one process at a time, the making of the tables included.

    Every method raises `Refused` for what MLflow refuses and MLflow's own error for all else, such as a server that is
    away.

    Args:
        uri: where it is. User and password, which no journal keeps, are `$MLFLOW_TRACKING_URI`'s if it is the same.
    """

    def __init__(self, uri: str) -> None:
        own = tracking_uri()
        self._uri = own if shown(own) == shown(uri) else uri
        self._file = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
        self._lock = contextlib.nullcontext() if self._file is None else _lock_of(self._file)

    @contextlib.contextmanager
    def client(self) -> Iterator["MlflowClient"]:
        """MLflow's client, while no other process writes to the same SQLite file."""
        _set_defaults()
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            try:
                if self._file and not self._file.exists():
                    _make_tables(self._file)
                yield MlflowClient(self._uri)
            except MlflowException as error:
                if refusal := _refusal(error, self._uri):
                    raise refusal from error
                raise

    def answers(self) -> bool:
        """Whether it is there, be it to refuse."""
        try:
            with self.client() as client:
                client.search_experiments(max_results=1)
        except Refused:
            return True
        except Exception:  # whatever it is
            return False
        return True

    def experiment_id(self, start: Mapping[str, Any]) -> str:
        """The id of the experiment that a journal's start names; one that is only named is created if need be."""
        with self.client() as client:
            given = start.get("experiment_id")
            return client.get_experiment(given).experiment_id if given else _experiment_id(client, start["experiment"])

    def open_run(self, start: Mapping[str, Any]) -> str:
        """The id of the run that a journal's start is about, created unless it exists.

        A `run_id` in it beats everything; else the run is looked for by the journal's name.
        """
        with self.client() as client:
            if run_id := start.get("run_id"):
                client.update_run(run_id, status="RUNNING")
                _leave_loop(client, run_id)
                return run_id
            experiment = start.get("experiment_id") or _experiment_id(client, start["experiment"])
            tags = {"ganflow.journal": start["journal"]}
            if start.get("parent"):
                tags[_PARENT] = start["parent"]
            known = client.search_runs([experiment], f"tags.`ganflow.journal` = '{start['journal']}'", max_results=1)
            run = known[0] if known else client.create_run(experiment, start["time"], tags, start["name"])
            return run.info.run_id

    def has_open(self, run_id: str) -> bool:
        """Whether a run is there and not deleted."""
        try:
            with self.client() as client:
                return client.get_run(run_id).info.lifecycle_stage == "active"
        except Refused as refusal:
            if refusal.of_request:
                return False
            raise

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


def _lock_of(path: Path) -> FileLock:
    """Who may write to a SQLite store may lock it."""
    mode = {"mode": path.stat().st_mode & 0o666 | 0o600} if path.exists() else {}
    return FileLock(f"{path}.lock", timeout=_LOCK_SECONDS, **mode)


def _make_tables(path: Path) -> None:
    """Make a SQLite store, whole or not at all: one that was killed half-made would be of no use to MLflow."""
    from mlflow import MlflowClient

    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{partial}").search_experiments(max_results=1)
    partial.replace(path)


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


def _leave_loop(client: "MlflowClient", run_id: str) -> None:
    """Hang a run of a Kubeflow task right below its pipeline's.

    Kubeflow's plugin puts the tasks of a loop below a run of the loop's own, which is finished from its first moment,
    and so ends none of those that were killed (DAG in backend/src/v2/driver/dag.go; syncNestedRuns in
    backend/src/apiserver/plugins/mlflow/run_start.go, 2.17.0).
    """
    parent = first = client.get_run(run_id).data.tags.get(_PARENT)
    while parent:
        top, tags = parent, client.get_run(parent).data.tags
        parent = tags.get(_PARENT)
    if first and top != first and _KUBEFLOW in tags:
        client.set_tag(run_id, _PARENT, top)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _set_defaults() -> None:
    """Say what MLflow reads from the environment, some of it when it is imported, unless the user does."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def _refusal(error: "MlflowException", uri: str) -> Refused | None:
    """What MLflow says no with; None for what may be a proxy's or an outage's."""
    where, reason = f"MLflow at {shown(uri)}", textwrap.shorten(shown(error.message), 300)
    if "Invalid Host header" in error.message:
        name = urlsplit(shown(uri)).netloc
        sentence = f"{where} does not answer to this name; start it with {name} among its --allowed-hosts."
        return Refused(sentence, of_request=False)
    match error.get_http_status_code():
        case 401:
            sentence = (
                f"{where} refuses the user or the password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )
            return Refused(sentence, of_request=False)
        case 403:
            sentence = f"{where} does not permit the user this; ask its administrator ({reason})."
            return Refused(sentence, of_request=False)
    if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
        return None
    if "Current state is deleted" in error.message:
        sentence = f"{where} has it in its trash: restore it there, or name another experiment ({reason})."
    else:
        sentence = f"{where} refuses: {reason}"
    return Refused(sentence, of_request=True)


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Wait at most about 10 s for an answer."""
    before = {name: os.environ.get(name) for name in _IMPATIENT}
    os.environ.update(_IMPATIENT)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn what keeps a tracking store from answering into a sentence."""
    _set_defaults()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except Refused as error:
        raise UserError(str(error)) from error
    except MlflowException as error:
        reason = textwrap.shorten(shown(error.message), 300)
        raise UserError(
            f"MLflow at {shown(uri)} cannot be used; start it or set MLFLOW_TRACKING_URI ({reason})."
        ) from error
    except Exception as error:
        # A file that is no database, or a database whose driver is not installed; SQLAlchemy is imported only then.
        if not isinstance(error, OSError | ImportError) and not type(error).__module__.startswith("sqlalchemy."):
            raise
        reason = textwrap.shorten(shown(str(error)), 200)
        raise UserError(f"MLflow's store {shown(uri)} cannot be opened; set MLFLOW_TRACKING_URI ({reason}).") from error
