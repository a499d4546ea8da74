"""Journals: what a step tells MLflow, kept on disk until a courier has delivered it.

A step never talks to a tracking server. It writes down events in a folder of its own, so that training never waits, a
killed step loses nothing it has told, and nothing need import mlflow. `components.core.telemetry.courier` carries them
on. A journal is its user's alone: others may share the folder of journals, not what is in them.

    <journals>/<id>/journal.db      the events (`record.py`), removed as they are delivered
    <journals>/<id>/artifacts/…     copies of the logged files, under their final names
    <journals>/<id>/progress.json   which step it is, and how far
    <journals>/<id>/step.lock       held for as long as the step lives
    <journals>/<id>/courier.lock    held by the courier that visits it
"""

import contextlib
import errno
import fcntl
import json
import logging
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from components.core import signals
from components.core.errors import UserError
from components.core.storage import make_folder
from components.core.storage.state import refusal
from components.core.telemetry.environment import (
    environment_tags,
    in_pod,
    journals_dir,
    shown,
    tracking_uri,
    without_secrets,
)
from components.core.telemetry.record import FILE, Record, Stillborn, Torn

if TYPE_CHECKING:
    import numpy as np

Status = Literal["FINISHED", "FAILED", "KILLED"]

PIPELINE = "pipeline"
"""Stands for the step in the journal of a whole pipeline run."""

ARTIFACTS, PROGRESS = "artifacts", "progress.json"
STEP_LOCK, COURIER_LOCK = "step.lock", "courier.lock"

WARNING = "warning: "
"""Begins the line in which a step prints a warning."""

DELIVERY_SECONDS = 30
"""How long a finished step waits for its own courier, where what is left is delivered by the next step's."""

OUTAGE_SECONDS = 180
"""How long the tracking server may be away at no cost, as for an update of it: so long a model waits to be registered,
and a pod, whose journal goes with it, to end."""

NAME = re.compile("[0-9a-f]+-[0-9a-f]{8}")
"""Of a journal's folder; other folders are not ours."""

_PROGRESS_SECONDS = 0.5
_LOG_BYTES = 2**20
_METRIC_NAME = re.compile(r"[\w\-./: ]{1,250}", re.ASCII)
_DIGESTS_PER_TAG = 100  # MLflow takes 8000 characters a tag

_log = logging.getLogger(__name__)


class Journal:
    """A record of one MLflow run; every call returns at once, whatever the server does.

    Every call raises a UserError where the disk takes no more: a step ends by that, rather than lose what it has found.

    Args:
        journals: the folder to lie in.
        start: whose journal it is: "step" and more, see `open` and `Store.open_run`; "params" and "tags" of the run.

    Attributes:
        folder: it.
        name: by which its run is found in MLflow.
    """

    def __init__(self, journals: Path, start: Mapping[str, Any]) -> None:
        self.name = f"{time.time_ns():x}-{uuid.uuid4().hex[:8]}"  # sorts by age
        self.folder = journals / self.name
        self._progress_at, self._closed = 0.0, False
        self._about = {"step": start["step"], "name": start.get("name", "")}
        facts = {"journal": self.name, "tracking_uri": tracking_uri(), "time": time.time_ns() // 1_000_000, **start}
        own = {kind: facts.pop(kind) for kind in ("params", "tags") if kind in facts}
        with self._writing():
            make_folder(journals)
            self.folder.mkdir(mode=0o700)
            self._lock = FileLock(self.folder / STEP_LOCK)
            self._lock.acquire()  # before the first event: events without the lock are a dead step's
            (self.folder / COURIER_LOCK).touch()  # here, or it would be root's where root is the first courier
            self._note_progress(0, 0)
            self._record = Record(self.folder, facts)
            for kind, values in own.items():
                self._record.add(kind, values)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        step_name: str,
        params: Mapping[str, Any],
        arguments: Mapping[str, Any],
        fingerprint: str,
        inputs: Mapping[str, str | list[str] | None],
    ) -> Iterator["Journal"]:
        """The journal of one execution of a step; leaving the context ends the run with the right status.

        So does a signal that ends the process. Where nobody else delivers (`$GANFLOW_JOURNALS` is not set), a courier
        of its own is started.
        """
        words = [step_name, *(f"{name}={value}" for name, value in sorted(arguments.items()))]
        journal = cls(
            journals_dir(),
            {
                "step": step_name,
                "name": " ".join(words),
                "params": {**flatten(params), **_arguments(arguments)},
                "tags": {
                    "ganflow.step": step_name,
                    "ganflow.fingerprint": fingerprint,
                    **{f"ganflow.argument.{name}": _text(value) for name, value in arguments.items()},
                    "ganflow.started": str(time.time_ns() // 1_000_000),  # the run itself may be Kubeflow's, and older
                    **_input_tags(inputs),
                    **environment_tags(),
                },
                "run_id": os.environ.get("MLFLOW_RUN_ID"),
                "parent": os.environ.get("GANFLOW_PARENT_RUN"),
                "experiment_id": os.environ.get("MLFLOW_EXPERIMENT_ID"),
                "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME", "ganflow"),
            },
        )
        courier = None if "GANFLOW_JOURNALS" in os.environ else _start_courier(journal.folder.parent)
        with signals.last_act(lambda _: journal._stop(courier)):
            try:
                yield journal
            except BaseException as error:
                stopped = isinstance(error, KeyboardInterrupt | SystemExit)
                sentence = "" if stopped else " ".join(str(error).split()) or type(error).__name__
                with contextlib.suppress(UserError):  # the disk may be full: the error, then
                    journal.close("KILLED" if stopped else "FAILED", sentence)
                raise
            else:
                journal.close("FINISHED")
            finally:
                if courier:
                    journal._wait_for(courier)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log scalars at one step of training."""
        self.history([values], step)

    def history(self, rows: Sequence[Mapping[str, float]], first: int, times: Sequence[int] | None = None) -> None:
        """Log scalars of consecutive steps of training: `rows[i]` belongs to step `first + i`.

        Args:
            rows: scalars by name.
            first: step of the first row.
            times: of each row, in milliseconds since 1970, now where not given. A point that was logged before is kept
                once where its time is the same.

        Raises:
            ValueError: MLflow would not take a name.
        """
        names = {name for row in rows for name in row}
        if wrong := [name for name in sorted(names) if not _METRIC_NAME.fullmatch(name)]:
            raise ValueError(f"metric names of letters, digits and _ - . / : only, got {wrong}")
        with self._writing():
            self._record.add_metrics(rows, first, times or [time.time_ns() // 1_000_000] * len(rows))

    def image(self, name: str, array: "np.ndarray") -> None:
        """Log a picture as artifact `<name>.png`.

        Args:
            name: may hold slashes, such as "samples/step-000100".
            array: (H, W) or (H, W, 3); uint8 in [0, 255] or floats in [-1, 1].
        """
        from PIL import Image

        from components.core.images import as_levels

        with self._taking(f"{name}.png") as target:
            Image.fromarray(as_levels(array)).save(target, format="PNG")

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a copy of a file or of a whole folder, below the run's artifact folder `folder`."""
        with self._taking(f"{folder}/{path.name}" if folder else path.name) as target:
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(path, target)

    def dataset(self, name: str, digest: str, source: str, counts: Mapping[str, int]) -> None:
        """Log a data set the step reads as an MLflow dataset input.

        Args:
            name: how people call it.
            digest: of its content, DVC's where DVC knows it; MLflow keeps 36 characters.
            source: path or URL it comes from.
            counts: what is in it, such as {"images": 300, "patients": 30}.
        """
        self._add("dataset", {"name": name, "digest": digest[:36], "source": source, "counts": dict(counts)})

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self._add("tags", values)

    def warn(self, text: str) -> None:
        """Tell whoever runs the step, at once, and MLflow what looks wrong with it."""
        print(f"{WARNING}{shown(text)}", file=sys.stderr, flush=True)
        self.tags({"ganflow.warning": text})

    def output(self, digest: str) -> None:
        """Say which output folder the step wrote, by its content digest."""
        self.tags({"ganflow.output": digest})

    def progress(self, done: int, total: int) -> None:
        """Say how far the step is, for whoever watches it; at most about twice a second is kept."""
        now = time.monotonic()
        if done == total or now - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = now
            with contextlib.suppress(OSError):  # no step ends for this
                self._note_progress(done, total)

    def close(self, status: Status, error: str = "") -> None:
        """End the run, unless it has ended. What was logged is delivered later, and then the folder vanishes."""
        if self._closed:
            return
        self._closed = True
        try:
            self._add("end", {"status": status, "error": error})
        finally:
            self._record.close()
            self._lock.release()

    def discard(self) -> None:
        """Let it never have been: nothing of it is delivered."""
        self._closed = True
        self._record.close()
        remove(self.folder)
        self._lock.release()

    @contextlib.contextmanager
    def undelivered(self) -> Iterator[Record]:
        """The record while no courier visits the journal."""
        with visiting(self.folder):
            yield self._record

    def run_id(self, seconds: float = OUTAGE_SECONDS) -> str:
        """The MLflow run's id, as soon as a courier has found or created it.

        Raises:
            UserError: MLflow refuses the run, or did not answer for `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not (run := self._note("run")):
            if (problem := self._note("problem")) and problem["refused"]:
                raise UserError(problem["text"])
            if time.monotonic() > deadline:
                raise UserError(f"MLflow at {shown(tracking_uri())} does not answer; start it, and run this again.")
            time.sleep(0.05)
        return run["id"]

    def _add(self, kind: str, content: Mapping[str, Any]) -> None:
        with self._writing():
            self._record.add(kind, content)

    @contextlib.contextmanager
    def _taking(self, name: str) -> Iterator[Path]:
        """Where to put an artifact, which then is logged."""
        target = self.folder / ARTIFACTS / name
        with self._writing():
            target.parent.mkdir(parents=True, exist_ok=True)
            yield target
            self._record.add("artifact", {"path": name})

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what keeps the disk from taking something into a sentence."""
        try:
            yield
        except FileNotFoundError:  # what shall be logged
            raise
        except (OSError, sqlite3.Error, Torn) as error:
            failure = error if isinstance(error, OSError) else OSError(errno.EIO, str(error))
            raise refusal(self.folder, failure) from error

    def _note_progress(self, done: int, total: int) -> None:
        partial = self.folder / f".{PROGRESS}"
        partial.write_text(json.dumps(without_secrets({**self._about, "done": done, "total": total})))
        partial.replace(self.folder / PROGRESS)

    def _note(self, kind: str) -> dict[str, Any] | None:
        """What a courier noted, read by a connection of its own: a signal may come while it is open."""
        with contextlib.closing(Record(self.folder)) as record:
            return record.note(kind)

    def _stop(self, courier: subprocess.Popen[bytes] | None) -> None:
        """End the run in the middle of a step; a pod's journal goes with it, unless somebody waits."""
        with contextlib.suppress(UserError):  # without it, its courier sees that it is dead
            self.close("KILLED")
        if courier and in_pod():
            self._wait_for(courier)

    def _pending(self) -> bool:
        return (self.folder / FILE).exists()

    def _wait_for(self, courier: subprocess.Popen[bytes]) -> None:
        """Wait until the closed journal is delivered, its courier gave up, or the time is over."""
        courier.stdin.close()  # its sign that the step is over
        deadline = time.monotonic() + (math.inf if in_pod() else DELIVERY_SECONDS)  # a pod's courier knows its end
        while self._pending() and courier.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._pending():
            with contextlib.suppress(Stillborn, Torn, sqlite3.Error):  # delivered meanwhile
                problem = self._note("problem") or {"text": f"MLflow at {shown(tracking_uri())} is away."}
                outlook = "goes with its pod" if in_pod() else "is kept; the next step tries again to deliver it"
                _log.warning("%s What this step logged %s.", problem["text"], outlook)


@dataclass(frozen=True)
class Activity:
    """What a living step is at: its run's name, steps done and to do (0 of 0 where it does not say)."""

    step: str
    name: str
    done: int
    total: int


def activities(journals: Path) -> list[Activity]:
    """The steps that write journals now, oldest first; other users' are theirs."""
    found = []
    for path in sorted(journals.glob(f"*/{PROGRESS}")):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # delivered meanwhile
            if is_alive(path.parent):
                found.append(Activity(**json.loads(path.read_text())))
    return found


def is_alive(folder: Path) -> bool:
    """Whether the step that writes a journal still runs: the kernel frees its lock with its last breath."""
    with (folder / STEP_LOCK).open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask do not see each other
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def visiting(folder: Path) -> Iterator[None]:
    """Be the only one who delivers a journal.

    Raises:
        BlockingIOError: another does.
    """
    with (folder / COURIER_LOCK).open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def remove(folder: Path) -> None:
    """Remove a journal; where this process is killed meanwhile, a courier removes the rest, which is hidden."""
    hidden = folder.with_name(f".{folder.name}")
    with contextlib.suppress(FileNotFoundError):
        folder.replace(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def flatten(tree: Mapping[str, Any]) -> dict[str, str]:
    """Nested parameters as MLflow's: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`."""
    return {key: _text(value) for key, value in leaves(tree)}


def leaves(tree: Mapping[str, Any], separator: str = ".", prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, each with the path of keys that leads to it."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, separator, f"{prefix}{key}{separator}")
        else:
            yield f"{prefix}{key}", value


def _start_courier(journals: Path) -> subprocess.Popen[bytes]:
    """A courier in a process and session of its own, which outlives a killed step and ends by itself."""
    path = journals / f"courier-{os.getuid()}.log"
    long = path.exists() and path.stat().st_size > _LOG_BYTES
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if long else 0), 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "components.core.telemetry", str(journals)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)


def _arguments(values: Mapping[str, Any]) -> dict[str, str]:
    """A step's arguments as MLflow's parameters; in a task of Kubeflow, whose plugin logs them too, with its text.

    It logs them as JSON at the task's end (mapToParams in backend/src/v2/common/plugins/mlflow/handler.go, 2.17.0), all
    or none: MLflow refuses another value of a parameter.
    """
    if "MLFLOW_RUN_ID" in os.environ and "KFP_MLFLOW_CONFIG" in os.environ:
        return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
    return flatten(values)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _input_tags(inputs: Mapping[str, str | list[str] | None]) -> dict[str, str]:
    """`ganflow.input.<name>` = digests; a list too long for one tag goes on in `ganflow.input.<name>.2`."""
    tags = {}
    for name, value in inputs.items():
        digests = value if isinstance(value, list) else [value] if value else []
        for first in range(0, len(digests), _DIGESTS_PER_TAG):
            suffix = f".{first // _DIGESTS_PER_TAG + 1}" if first else ""
            tags[f"ganflow.input.{name}{suffix}"] = ",".join(digests[first : first + _DIGESTS_PER_TAG])
    return tags
