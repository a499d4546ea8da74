"""The courier: carries journals to MLflow, from a thread or from a process of its own.

Of a folder's couriers one is on duty and delivers every journal, killed steps' included; the others stand by in case
it ends. It may die at any moment: what is done twice is harmless, since MLflow keeps a point of equal name, step,
time and value once, and a run is found again by its journal's name.
"""

import contextlib
import json
import logging
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from components.core.telemetry.journal import (
    ARTIFACTS,
    COURIER_STATE,
    DELIVERY_SECONDS,
    EVENTS,
    OUTAGE_SECONDS,
    PIPELINE,
    in_pod,
    is_alive,
    read_events,
    read_json,
    read_start,
)
from components.core.telemetry.tracking import POINTS_PER_CALL, Point, Rejected, Store, system_metrics

POLL_SECONDS = 1.0
GRACE_SECONDS = 10.0
"""How long a courier that shall stop goes on without anything being taken off its hands; in a pod, where nobody
comes after it, `OUTAGE_SECONDS`."""

_BACKOFF_SECONDS = 10.0
_SAMPLE_SECONDS = 10.0
_ORPHAN_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Courier:
    """Delivers the journals of a folder while its context is open; leaving the context delivers what is left.

    A server that is away is tried again, ever less often; what it has not taken when the courier stops stays
    on disk for the next one.
    """

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._destinations: dict[str, _Destination] = {}
        self._undeliverable: set[Path] = set()
        self._sampled: dict[Path, float] = {}
        self._moved = time.monotonic()

    def __enter__(self) -> "Courier":
        self._journals.mkdir(parents=True, exist_ok=True)
        self._orphans = {folder for folder in self._folders() if _is_orphan(folder)}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._moved = time.monotonic()
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        duty = FileLock(self._journals / "courier.lock")
        try:
            while True:
                stopping = self._stop.is_set()
                if _try_to_hold(duty):
                    for folder in self._folders():
                        self._deliver(folder)
                if stopping:
                    if not self._owed() or time.monotonic() - self._moved > _patience(duty.is_locked):
                        return
                    time.sleep(POLL_SECONDS / 10)
                else:
                    self._stop.wait(POLL_SECONDS)
        finally:
            duty.release()

    def _folders(self) -> list[Path]:
        """All journals, the newest first, so that old ones hold nobody up."""
        return sorted((path.parent for path in self._journals.glob(f"*/{EVENTS}")), reverse=True)

    def _owed(self) -> bool:
        """Whether the journal of a step that ended of late is not delivered; older ones are worth a try, no wait."""
        mine = set(self._folders()) - self._orphans - self._undeliverable
        return any(not _lives(folder) for folder in mine)

    def _deliver(self, folder: Path) -> None:
        """Deliver what is new in a journal, unless its store is away."""
        start = read_start(folder)
        if start is None or folder in self._undeliverable:
            return
        uri = start["tracking_uri"]
        destination = self._destinations.setdefault(uri, _Destination(Store(uri)))
        longest = POLL_SECONDS if self._stop.is_set() else _BACKOFF_SECONDS
        if time.monotonic() - destination.failed_at < min(destination.delay, longest):
            return
        try:
            delivery = _Delivery(folder, destination.store, start)
            if delivery.run():
                self._moved = time.monotonic()
            self._sample(delivery)
            destination.delay = 0.0
        except Rejected as error:
            _log.error("%s: MLflow takes no run of it: %s", folder, error)
            self._undeliverable.add(folder)
        except Exception as error:  # whatever it is, a training must not end by it
            destination.postpone()
            _log.warning("%s: to be tried again: %s", folder, error)

    def _sample(self, delivery: "_Delivery") -> None:
        """Log the machine's load now and then while the step lives; steps of a few seconds have none.

        Nor has a pipeline run: its tasks do, and who compares pipeline runs looks for scores.
        """
        now = time.time()
        if (
            delivery.alive
            and delivery.step != PIPELINE
            and now - self._sampled.setdefault(delivery.folder, now) >= _SAMPLE_SECONDS
        ):
            self._sampled[delivery.folder] = now
            delivery.log_load()


@dataclass
class _Destination:
    """A store, and when to try it again."""

    store: Store
    delay: float = 0.0
    failed_at: float = 0.0

    def postpone(self) -> None:
        self.delay = 2 * self.delay or POLL_SECONDS
        self.failed_at = time.monotonic()


@dataclass
class _State:
    """What is delivered of a journal: kept beside it, so that the next courier goes on there."""

    run_id: str = ""
    offset: int = 0
    artifacts: list[str] = field(default_factory=list)
    """Logged but not delivered: they come after the metrics, so that a lost bucket does not hold those up."""
    ended: bool = False


class _Delivery:
    """One visit to one journal."""

    def __init__(self, folder: Path, store: Store, start: dict[str, Any]) -> None:
        self.folder = folder
        self.step: str = start["step"]
        self.alive = is_alive(folder)  # asked before the events are read: the dead write no "end" afterwards
        self._store = store
        self._start = start
        self._state = _State(**read_json(folder / COURIER_STATE))

    def run(self) -> bool:
        """Deliver all that is new, then remove the journal if that was its end; whether anything was new."""
        before = asdict(self._state)
        if not self._state.run_id:
            self._state.run_id = self._store.open_run(self._start)
            self._save()
        for points, event, offset in self._batches():
            self._attempt(self._store.log_metrics, points)
            if event:
                self._handle(event)
            self._state.offset = offset
            self._save()
        if not self.alive and not self._state.ended:
            last_sign = int((self.folder / EVENTS).stat().st_mtime * 1000)
            self._end({"status": "KILLED", "error": "", "time": last_sign})
            self._save()
        while self._state.artifacts:
            path = self._state.artifacts[0]
            self._attempt(self._store.log_artifact, self.folder / ARTIFACTS, path)
            self._state.artifacts.pop(0)
            self._save()
        if self._state.ended:
            (self.folder / EVENTS).unlink()  # from here on it is no journal any more
            shutil.rmtree(self.folder, ignore_errors=True)
            return True
        return asdict(self._state) != before

    def log_load(self) -> None:
        """Log the machine's load; the step's number is its age, so that it needs no counter."""
        now = int(time.time() * 1000)
        step = int((now - self._start["time"]) / 1000 / _SAMPLE_SECONDS)
        points = [(name, value, now, step) for name, value in system_metrics().items()]
        self._attempt(self._store.log_metrics, points)

    def _batches(self) -> Iterator[tuple[list[Point], dict[str, Any] | None, int]]:
        """New events as (metric points, then one event of another kind or None, offset behind both)."""
        points: list[Point] = []
        offset = self._state.offset
        for event, offset in read_events(self.folder, self._state.offset):
            if event["event"] != "metrics":
                yield points, event, offset
                points = []
                continue
            points += [
                (key, value, event["time"], step)
                for step, row in enumerate(event["rows"], event["first"])
                for key, value in row.items()
            ]
            if len(points) >= POINTS_PER_CALL:
                yield points, None, offset
                points = []
        if points:
            yield points, None, offset

    def _handle(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "start":
                self._attempt(self._store.log_params, event["params"])
                self._attempt(self._store.set_tags, event["tags"])
            case "tags":
                self._attempt(self._store.set_tags, event["tags"])
            case "dataset":
                self._attempt(self._store.log_dataset, event)
            case "artifact":
                self._state.artifacts.append(event["path"])
            case "end":
                self._end(event)

    def _end(self, event: dict[str, Any]) -> None:
        if event["error"]:
            self._attempt(self._store.set_tags, {"ganflow.error": event["error"]})
        self._attempt(self._store.end_run, event["status"], event["time"])
        self._state.ended = True

    def _attempt(self, call: Any, *arguments: Any) -> None:
        """Make a call for the run; what MLflow will never take is left out, lest it hold up the rest."""
        try:
            call(self._state.run_id, *arguments)
        except Rejected as error:
            _log.error("%s: left out: %s", self.folder, error)

    def _save(self) -> None:
        partial = self.folder / f".{COURIER_STATE}"
        partial.write_text(json.dumps(asdict(self._state)))
        partial.replace(self.folder / COURIER_STATE)


def _patience(on_duty: bool) -> float:
    return OUTAGE_SECONDS if in_pod() else GRACE_SECONDS if on_duty else DELIVERY_SECONDS


def _try_to_hold(lock: FileLock) -> bool:
    with contextlib.suppress(TimeoutError):
        if not lock.is_locked:
            lock.acquire(blocking=False)
    return lock.is_locked


def _lives(folder: Path) -> bool:
    """`is_alive`, where another courier may remove the journal meanwhile."""
    try:
        return is_alive(folder)
    except FileNotFoundError:
        return False


def _is_orphan(folder: Path) -> bool:
    """Whether a journal was left behind by couriers of former times."""
    with contextlib.suppress(FileNotFoundError):
        return not is_alive(folder) and time.time() - (folder / EVENTS).stat().st_mtime > _ORPHAN_SECONDS
    return False


def main() -> None:
    """Deliver until standard input closes: the step that started this process has ended, or was killed."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    with Courier(Path(sys.argv[1])):
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
