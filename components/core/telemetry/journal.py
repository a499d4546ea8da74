"""Journals: what a step tells MLflow, kept on disk until a courier has delivered it.

A step never talks to a tracking server. It appends events to a folder, so that training never waits, a killed
step loses at most its last line, and nothing need import mlflow. `components.core.telemetry.courier` carries them on.

    <journals>/<id>/events.jsonl    one JSON object a line; the first is "start", the last "end"
    <journals>/<id>/artifacts/…     copies of the logged files, under their final names
    <journals>/<id>/progress.json   how far the step is, for whoever watches
    <journals>/<id>/step.lock       held for as long as the step lives
    <journals>/<id>/courier.json    the courier's notes on what it has delivered
"""

import contextlib
import fcntl
import getpass
import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from components.core.errors import UserError
from components.core.storage import state_dir

if TYPE_CHECKING:
    import numpy as np

Status = Literal["FINISHED", "FAILED", "KILLED"]

PIPELINE = "pipeline"
"""Stands for the step in the journal of a whole pipeline run."""

EVENTS, ARTIFACTS, PROGRESS, STEP_LOCK = "events.jsonl", "artifacts", "progress.json", "step.lock"
COURIER_STATE = "courier.json"

WARNING = "warning: "
"""Begins the line in which a step prints a warning."""

DIRTY = "-dirty"
"""Follows the commit in an image's revision where the checkout had changed since."""

DELIVERY_SECONDS = 30
"""How long a finished step waits for its own courier, where what is left is delivered by the next step's."""

OUTAGE_SECONDS = 180
"""How long the tracking server may be away at no cost, as for an update of it: so long a model waits to be registered,
and a pod, whose journal goes with it, to end."""

_PROGRESS_SECONDS = 0.5
_METRIC_NAME = re.compile(r"[\w\-./: ]{1,250}", re.ASCII)
_DIGESTS_PER_TAG = 100  # MLflow takes 8000 characters a tag

_log = logging.getLogger(__name__)


def journals_dir() -> Path:
    """The folder of journals: `$GANFLOW_JOURNALS` (who sets it delivers them), else in the state folder."""
    given = os.environ.get("GANFLOW_JOURNALS")
    return Path(given).absolute() if given else state_dir() / "journals"


def tracking_uri() -> str:
    """Where runs belong: `$MLFLOW_TRACKING_URI`, else MLflow's default, `mlflow.db` in the current folder.

    SQLite paths are made absolute, so that they mean the same to a child in another folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else f"sqlite:///{Path(path).absolute()}"


def shown(uri: str) -> str:
    """A URI, or a text with one in it, without the user and password it may hold."""
    return re.sub("//[^@/]*@", "//", uri)


def in_pod() -> bool:
    """Whether this is a Kubernetes pod, whose disk goes when its step ends."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class Journal:
    """An append-only record of one MLflow run; every call returns at once, whatever the server does.

    Args:
        journals: the folder to lie in.
        start: the first event's content, see `open` and `components.core.telemetry.courier`.
    """

    def __init__(self, journals: Path, start: Mapping[str, Any]) -> None:
        name = f"{time.time_ns():x}-{uuid.uuid4().hex[:8]}"  # sorts by age
        self.folder = journals / name
        self.folder.mkdir(parents=True)
        self._lock = FileLock(self.folder / STEP_LOCK)
        self._lock.acquire()  # before the first event: events without the lock are a dead step's
        self._stream = (self.folder / EVENTS).open("a", encoding="utf-8")
        self._progress_at = 0.0
        self._write("start", journal=name, tracking_uri=tracking_uri(), **start)

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

        Where nobody else delivers (`$GANFLOW_JOURNALS` is not set), a courier of its own is started.
        """
        words = [step_name, *(f"{name}={value}" for name, value in sorted(arguments.items()))]
        journal = cls(
            journals_dir(),
            {
                "step": step_name,
                "name": " ".join(words),
                "params": flatten({**params, **arguments}),
                "tags": {
                    "ganflow.step": step_name,
                    "ganflow.fingerprint": fingerprint,
                    **{f"ganflow.argument.{name}": _text(value) for name, value in arguments.items()},
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
        try:
            yield journal
        except (KeyboardInterrupt, SystemExit):
            journal.close("KILLED")
            raise
        except BaseException as error:
            journal.close("FAILED", " ".join(str(error).split()) or type(error).__name__)
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

        Raises:
            ValueError: MLflow would not take a name.
        """
        wrong = sorted({key for row in rows for key in row if not _METRIC_NAME.fullmatch(key)})
        if wrong:
            raise ValueError(f"metric names of letters, digits and _ - . / : only, got {wrong}")
        plain = [{key: float(value) for key, value in row.items()} for row in rows]
        self._write("metrics", first=first, rows=plain, times=times)

    def image(self, name: str, array: "np.ndarray") -> None:
        """Log a picture as artifact `<name>.png`.

        Args:
            name: may hold slashes, such as "samples/step-000100".
            array: (H, W) or (H, W, 3); uint8 in [0, 255] or floats in [-1, 1].
        """
        from PIL import Image

        from components.core.images import as_levels

        target = self._place(f"{name}.png")
        Image.fromarray(as_levels(array)).save(target, format="PNG")
        self._take(target)

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a copy of a file or of a whole folder, below the run's artifact folder `folder`."""
        target = self._place(f"{folder}/{path.name}" if folder else path.name)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target)
        self._take(target)

    def dataset(self, name: str, digest: str, source: str, counts: Mapping[str, int]) -> None:
        """Log a data set the step reads as an MLflow dataset input.

        Args:
            name: how people call it.
            digest: of its content, DVC's where DVC knows it; MLflow keeps 36 characters.
            source: path or URL it comes from.
            counts: what is in it, such as {"images": 300, "patients": 30}.
        """
        self._write("dataset", name=name, digest=digest[:36], source=source, counts=dict(counts))

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self._write("tags", tags=dict(values))

    def warn(self, text: str) -> None:
        """Tell whoever runs the step, at once, and MLflow what looks wrong with it."""
        print(f"{WARNING}{text}", file=sys.stderr, flush=True)
        self.tags({"ganflow.warning": text})

    def output(self, digest: str) -> None:
        """Say which output folder the step wrote, by its content digest."""
        self.tags({"ganflow.output": digest})

    def progress(self, done: int, total: int) -> None:
        """Say how far the step is, for whoever watches it; at most about twice a second is kept."""
        now = time.monotonic()
        if done < total and now - self._progress_at < _PROGRESS_SECONDS:
            return
        self._progress_at = now
        partial = self.folder / f".{PROGRESS}"
        partial.write_text(json.dumps({"done": done, "total": total}))
        partial.replace(self.folder / PROGRESS)

    def close(self, status: Status, error: str = "") -> None:
        """End the run. What was logged is delivered later, and then the folder vanishes."""
        self._write("end", status=status, error=error)
        self._stream.close()
        self._lock.release()

    def run_id(self, seconds: float = OUTAGE_SECONDS) -> str:
        """The MLflow run's id, as soon as a courier has found or created it.

        Raises:
            UserError: the tracking server did not answer for `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not (run_id := read_json(self.folder / COURIER_STATE).get("run_id")):
            if time.monotonic() > deadline:
                raise UserError(
                    f"MLflow at {shown(tracking_uri())} does not answer, or not to this user; "
                    "start it or mend MLFLOW_TRACKING_PASSWORD, and run this again."
                )
            time.sleep(0.05)
        return run_id

    def _write(self, event: str, **content: Any) -> None:
        now = time.time_ns() // 1_000_000
        self._stream.write(json.dumps({"event": event, "time": now, **content}) + "\n")
        self._stream.flush()

    def _place(self, name: str) -> Path:
        target = self.folder / ARTIFACTS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _take(self, target: Path) -> None:
        self._write("artifact", path=target.relative_to(self.folder / ARTIFACTS).as_posix())

    def _pending(self) -> bool:
        return (self.folder / EVENTS).exists()

    def _wait_for(self, courier: subprocess.Popen[bytes]) -> None:
        """Wait until the closed journal is delivered, its courier gave up, or the time is over."""
        courier.stdin.close()  # its sign that the step is over
        deadline = time.monotonic() + (math.inf if in_pod() else DELIVERY_SECONDS)  # a pod's courier knows its end
        while self._pending() and courier.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._pending():
            outlook = "what this step logged goes with its pod" if in_pod() else "the next step delivers what it logged"
            _log.warning("MLflow at %s is away; %s.", shown(tracking_uri()), outlook)


@dataclass(frozen=True)
class Activity:
    """What a living step is at: its run's name, steps done and to do (0 of 0 where it does not say)."""

    step: str
    name: str
    done: int
    total: int


def activities(journals: Path) -> list[Activity]:
    """The steps that write journals now, oldest first."""
    found = []
    for folder in sorted(path.parent for path in journals.glob(f"*/{EVENTS}")):
        with contextlib.suppress(FileNotFoundError):  # delivered meanwhile
            if is_alive(folder) and (start := read_start(folder)):
                progress = read_json(folder / PROGRESS)
                done, total = progress.get("done", 0), progress.get("total", 0)
                found.append(Activity(start["step"], start["name"], done, total))
    return found


def is_alive(folder: Path) -> bool:
    """Whether the step that writes a journal still runs: the kernel frees its lock with its last breath."""
    with (folder / STEP_LOCK).open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask do not see each other
        except BlockingIOError:
            return True
    return False


def read_events(folder: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """A journal's complete events from a byte offset on, each with the offset behind it."""
    with (folder / EVENTS).open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield json.loads(line), offset


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


def read_start(folder: Path) -> dict[str, Any] | None:
    """A journal's first event, None where its step has not written it yet, or the journal is gone."""
    try:
        return next((event for event, _ in read_events(folder)), None)
    except FileNotFoundError:
        return None


def read_json(path: Path) -> dict[str, Any]:
    """A small JSON file's content, {} where there is none."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}


def _start_courier(journals: Path) -> subprocess.Popen[bytes]:
    """A courier in a process and session of its own, which outlives a killed step and ends by itself."""
    with (journals / "courier.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "components.core.telemetry.courier", str(journals)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


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


def environment_tags() -> dict[str, str]:
    """Who runs which code where, as far as it can be known."""
    tags = {"ganflow.pid": str(os.getpid()), "mlflow.source.name": "ganflow", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    for tag, variable in (("DVC_STAGE", "DVC_STAGE"), ("ganflow.image", "GANFLOW_IMAGE")):
        if variable in os.environ:
            tags[tag] = os.environ[variable]
    return {**tags, **_git_tags()}


def _git_tags() -> dict[str, str]:
    """Commit of the code, as the image or else the checkout knows it, and whether it was changed since; else {}."""
    commit, dirty = _image_revision()
    if not commit:
        try:
            commit = _git("rev-parse", "HEAD")
            dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
        except (OSError, subprocess.CalledProcessError):
            return {}
    return {"mlflow.source.git.commit": commit, "ganflow.git.dirty": str(dirty).lower()}


def _image_revision() -> tuple[str, bool]:
    """Commit that the image was built from, "" where there is none, and whether the checkout was changed since."""
    revision = os.environ.get("GANFLOW_REVISION", "unknown")
    commit = revision.removesuffix(DIRTY)
    return ("" if commit == "unknown" else commit), commit != revision


def _git(*words: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *words], cwd=here, check=True, capture_output=True, text=True)
    return done.stdout.strip()
