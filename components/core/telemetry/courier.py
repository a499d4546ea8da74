"""The courier: carries journals to MLflow, from a thread or from a process of its own.

Of a user's couriers in a folder one is on duty and delivers every journal, killed steps' included; the others stand by
in case it ends. It may die at any moment: what is done twice is harmless, since MLflow keeps a point of equal name,
step, time and value once, and a run is found again by its journal's name.

Every journal is delivered for itself. One that MLflow refuses, or does not take at this time, waits alone; only a store
that does not answer keeps all of its journals waiting. What cannot be read is set aside.
"""

import contextlib
import logging
import math
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from components.core.storage import make_folder
from components.core.telemetry.environment import in_pod, shown
from components.core.telemetry.journal import (
    ARTIFACTS,
    DELIVERY_SECONDS,
    NAME,
    OUTAGE_SECONDS,
    PIPELINE,
    PROGRESS,
    is_alive,
    remove,
    visiting,
)
from components.core.telemetry.record import DELIVERABLE, Event, Point, Record, Stillborn, Torn
from components.core.telemetry.tracking import Refused, Store, system_metrics
from components.core.telemetry.tracking.store import POINTS_PER_CALL

SET_ASIDE = "set-aside"
"""The folder, among the journals, of those that nobody can read."""

POLL_SECONDS = 1.0
GRACE_SECONDS = 10.0
"""How long a courier that shall stop goes on without anything being taken off its hands; in a pod, where nobody
comes after it, `OUTAGE_SECONDS`."""

KEEP_DAYS = 90
"""How long a journal is kept that cannot be delivered, or read."""

KEEP_BYTES = 2**30
"""How much of such journals is kept, the newest, beyond what is younger than a week."""

_BACKOFF_SECONDS = 10.0
_REFUSED_SECONDS = 60.0
_SAMPLE_SECONDS = 10.0
_ORPHAN_SECONDS = 60.0
_EVENTS_PER_READ = 200
_DAY = 86400.0

_log = logging.getLogger(__name__)


class Courier:
    """Delivers the journals of a folder while its context is open; leaving the context delivers what is left.

    A server that is away is tried again, ever less often; what it has not taken when the courier stops stays
    on disk for the next one. Root delivers everybody's journals, others their own.
    """

    def __init__(self, journals: Path) -> None:
        self._journals = journals
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._stores: dict[str, _Queue] = defaultdict(_Queue)
        self._waiting: dict[Path, _Queue] = defaultdict(_Queue)
        self._refused: set[Path] = set()
        self._sampled: dict[Path, float] = {}
        self._moved = time.monotonic()

    def __enter__(self) -> "Courier":
        make_folder(self._journals)
        self._orphans = {folder for folder in self._folders() if _is_orphan(folder)}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._moved = time.monotonic()
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        duty = FileLock(self._journals / f"courier-{os.geteuid()}.lock")
        try:
            while True:
                stopping, first = self._stop.is_set(), not duty.is_locked
                if duty.is_locked or _try_to_hold(duty):
                    for folder in self._folders():
                        self._deliver(folder)
                    if first:
                        with contextlib.suppress(OSError):  # another courier does the same
                            self._tidy()
                if stopping:
                    if not self._owed() or time.monotonic() - self._moved > _patience(duty.is_locked):
                        return
                    time.sleep(POLL_SECONDS / 10)
                else:
                    self._stop.wait(POLL_SECONDS)
        finally:
            duty.release()

    def _folders(self) -> list[Path]:
        """The journals to deliver, the newest first, so that old ones hold nobody up."""
        found = []
        for path in self._journals.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if NAME.fullmatch(path.name) and path.is_dir() and _is_ours(path):
                    found.append(path)
        return sorted(found, reverse=True)

    def _owed(self) -> bool:
        """Whether the journal of a step that ended of late is not delivered; older ones are worth a try, no wait."""
        mine = set(self._folders()) - self._orphans - self._refused
        return any(not _lives(folder) for folder in mine)

    def _deliver(self, folder: Path) -> None:
        """Deliver what is new in a journal, unless its turn has not come; whatever happens, it is this one's alone."""
        waiting = self._waiting[folder]
        if not waiting.is_due(self._longest()):
            return
        try:
            with visiting(folder):
                self._open(folder)
        except (BlockingIOError, FileNotFoundError):  # another courier has it, or had it
            return
        except Exception as error:  # whatever it is, a training must not end by it
            waiting.postpone()
            _log.warning("%s: to be tried again: %s", folder, shown(str(error)))

    def _open(self, folder: Path) -> None:
        """Deliver what is new in a journal, if it can be read."""
        alive = _lives(folder)  # asked before the events are read: the dead write no "end" afterwards
        try:
            with contextlib.closing(Record(folder)) as record:
                self._visit(_Delivery(folder, record, Store(record.start["tracking_uri"]), alive))
        except Stillborn:
            self._refused.add(folder)
            if _is_orphan(folder):
                self._set_aside(folder, "it has no beginning") if (folder / ARTIFACTS).exists() else remove(folder)
        except Torn as error:
            self._set_aside(folder, str(error))

    def _visit(self, delivery: "_Delivery") -> None:
        """Deliver what is new, and find out whose fault it is where that does not work."""
        folder, store = delivery.folder, self._stores[delivery.record.start["tracking_uri"]]
        if not store.is_due(self._longest()):
            return
        self._refused.discard(folder)
        try:
            if delivery.run():
                self._moved = time.monotonic()
            self._sample(delivery)
            store.delay = self._waiting[folder].delay = 0.0
        except Refused as refusal:
            self._refused.add(folder)
            self._waiting[folder].postpone(_REFUSED_SECONDS)
            delivery.tell(str(refusal), refused=True)
        except (Stillborn, Torn):
            raise
        except Exception as error:
            if isinstance(error, OSError | sqlite3.Error) or delivery.store.answers():
                self._waiting[folder].postpone()
                delivery.tell(f"It cannot be delivered at this time: {shown(str(error))}.", refused=False)
            else:
                store.postpone()
                _log.warning("%s: to be tried again: %s", folder, shown(str(error)))

    def _longest(self) -> float:
        """How long anything waits at most for its turn, but for what is refused."""
        return POLL_SECONDS if self._stop.is_set() else _BACKOFF_SECONDS

    def _sample(self, delivery: "_Delivery") -> None:
        """Log the machine's load now and then while the step lives; steps of a few seconds have none.

        Nor has a pipeline run: its tasks do, and who compares pipeline runs looks for scores.
        """
        now = time.time()
        if (
            delivery.alive
            and delivery.record.start["step"] != PIPELINE
            and now - self._sampled.setdefault(delivery.folder, now) >= _SAMPLE_SECONDS
        ):
            self._sampled[delivery.folder] = now
            delivery.log_load()

    def _set_aside(self, folder: Path, reason: str) -> None:
        """Take a journal out of the way that cannot be read; `_tidy` removes it one day."""
        aside = self._journals / SET_ASIDE
        make_folder(aside)
        folder.replace(aside / folder.name)
        _log.error("%s cannot be read (%s) and is now in %s for %d days.", folder, reason, aside, KEEP_DAYS)

    def _tidy(self) -> None:
        """Remove what was removed in part, and of journals that nobody could deliver or read those beyond bounds."""
        for path in self._journals.glob(".*/"):
            if NAME.fullmatch(path.name[1:]) and _is_ours(path):
                remove(path.with_name(path.name[1:]))
        now, size = time.time(), 0
        aside = [
            path for path in self._journals.glob(f"{SET_ASIDE}/*/") if NAME.fullmatch(path.name) and _is_ours(path)
        ]
        for folder in sorted([*self._folders(), *aside], key=lambda path: path.name, reverse=True):
            days = (now - _last_change(folder)) / _DAY
            if days > 7 and not _lives(folder):
                size += sum(path.stat().st_size for path in folder.rglob("*"))
                if days > KEEP_DAYS or size > KEEP_BYTES:
                    remove(folder)
                    _log.error("%s could not be delivered for %d days and is removed.", folder, days)


@dataclass
class _Queue:
    """When to try something again."""

    delay: float = 0.0
    at_least: float = 0.0
    failed_at: float = -math.inf

    def is_due(self, longest: float) -> bool:
        """Whether it is time, where nothing need wait for longer than so many seconds."""
        return time.monotonic() - self.failed_at >= max(min(self.delay, longest), self.at_least)

    def postpone(self, at_least: float = 0.0) -> None:
        """Wait, longer each time."""
        self.delay, self.at_least = 2 * self.delay or POLL_SECONDS, at_least
        self.failed_at = time.monotonic()


@dataclass
class _Delivery:
    """One visit to one journal, whose events are removed from it as they are delivered."""

    folder: Path
    record: Record
    store: Store
    alive: bool
    run_id: str = ""
    moved: bool = False
    delivered: int = 0
    """Number of the last event that was, even if the disk is too full to note it."""
    problem: dict[str, Any] | None = None

    def run(self) -> bool:
        """Deliver all that is new, then remove the journal if that was its end; whether anything was new."""
        self.problem = self.record.note("problem")
        self.run_id = self._find_run()
        ended = self.record.note("ended") is not None
        for points, event, events in self._batches():
            self._attempt(self.store.log_metrics, points)
            ended = self._handle(event) or ended
            self._forget(events)
        if not self.alive and not ended:
            self._end({"status": "KILLED", "error": ""}, self.record.last_sign())
            ended = True
        for event in self.record.events("artifact"):
            path = event.content["path"]
            if (self.folder / ARTIFACTS / path).exists():  # unless a power cut took it
                self._attempt(self.store.log_artifact, self.folder / ARTIFACTS, path)
            self._forget([event])
        if ended:
            self.moved = True
            remove(self.folder)
        elif self.problem:
            self.record.replace("problem", None)
        return self.moved

    def tell(self, text: str, *, refused: bool) -> None:
        """Say why the journal cannot be delivered: in the log, and to its step; once."""
        problem = {"text": text, "refused": refused}
        if problem != self.problem:
            _log.error("%s: %s", self.folder, text)
            with contextlib.suppress(sqlite3.Error):
                self.record.replace("problem", problem)

    def log_load(self) -> None:
        """Log the machine's load; the step's number is its age, so that it needs no counter."""
        now = int(time.time() * 1000)
        step = int((now - self.record.start["time"]) / 1000 / _SAMPLE_SECONDS)
        points = [(name, value, now, step) for name, value in system_metrics().items()]
        self._attempt(self.store.log_metrics, points)

    def _find_run(self) -> str:
        if run := self.record.note("run"):
            return run["id"]
        run_id = self.store.open_run(self.record.start)
        with _roomless():
            self.record.add("run", {"id": run_id})
        self.moved = True
        return run_id

    def _batches(self) -> Iterator[tuple[list[Point], Event | None, list[Event]]]:
        """New events as (metric points, then one event of another kind or None, all these events)."""
        points: list[Point] = []
        batch: list[Event] = []
        while events := self.record.events(*DELIVERABLE, after=self.delivered, limit=_EVENTS_PER_READ):
            for event in events:
                batch.append(event)
                if event.kind == "metrics":
                    points += event.points()
                if event.kind != "metrics" or len(points) >= POINTS_PER_CALL or event is events[-1]:
                    yield points, None if event.kind == "metrics" else event, batch
                    points, batch = [], []

    def _handle(self, event: Event | None) -> bool:
        """Deliver what is no metric; whether it was the end."""
        match event and event.kind:
            case "params":
                self._attempt(self.store.log_params, event.content)
            case "tags":
                self._attempt(self.store.set_tags, event.content)
            case "dataset":
                self._attempt(self.store.log_dataset, event.content)
            case "end":
                self._end(event.content, event.time)
                return True
        return False

    def _end(self, end: dict[str, Any], moment: int) -> None:
        if end["error"]:
            self._attempt(self.store.set_tags, {"ganflow.error": end["error"]})
        self._attempt(self.store.end_run, end["status"], moment)
        with _roomless():
            self.record.replace("ended", {})

    def _forget(self, events: list[Event]) -> None:
        self.moved, self.delivered = True, max(self.delivered, events[-1].number)
        with _roomless():
            self.record.forget(events)

    def _attempt(self, call: Any, *arguments: Any) -> None:
        """Make a call for the run; what MLflow will never take is left out, lest it hold up the rest."""
        try:
            call(self.run_id, *arguments)
        except Refused as refusal:
            if not refusal.of_request or not self.store.has_open(self.run_id):
                raise
            _log.error("%s: left out: %s", self.folder, refusal)


def _roomless() -> contextlib.AbstractContextManager[None]:
    """Go on though the disk is too full for a note: at worst something is delivered again, which does no harm."""
    return contextlib.suppress(sqlite3.OperationalError)


def _patience(on_duty: bool) -> float:
    return OUTAGE_SECONDS if in_pod() else GRACE_SECONDS if on_duty else DELIVERY_SECONDS


def _try_to_hold(lock: FileLock) -> bool:
    with contextlib.suppress(TimeoutError):
        lock.acquire(blocking=False)
    return lock.is_locked


def _is_ours(folder: Path) -> bool:
    return os.geteuid() in (0, folder.stat().st_uid)


def _lives(folder: Path) -> bool:
    """`is_alive`, where there may be no journal yet, or no more."""
    try:
        return is_alive(folder)
    except FileNotFoundError:
        return False


def _last_change(folder: Path) -> float:
    """When the step of a journal last told of itself, in seconds since 1970."""
    path = folder / PROGRESS
    return (path if path.exists() else folder).stat().st_mtime


def _is_orphan(folder: Path) -> bool:
    """Whether a journal was left behind by couriers of former times."""
    with contextlib.suppress(FileNotFoundError):
        return not _lives(folder) and time.time() - _last_change(folder) > _ORPHAN_SECONDS
    return False
