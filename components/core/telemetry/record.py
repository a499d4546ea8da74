"""A journal's file: events in SQLite, which one step adds, and one courier at a time delivers and removes."""

import contextlib
import json
import sqlite3
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from components.core.telemetry.environment import without_secrets

FILE = "journal.db"

DELIVERABLE = ("params", "tags", "metrics", "dataset", "end")
"""Kinds of events in whose order a journal is delivered. Of the others, "start" says whose journal it is, "artifact"
comes last, and couriers write "run" (they found it), "problem" (why they cannot deliver) and "ended" (an "end", once it
is delivered)."""

Point = tuple[str, float, int, int]
"""A metric's name, value, time in milliseconds since 1970, and step."""

_SCHEMA = "CREATE TABLE event (number INTEGER PRIMARY KEY, kind TEXT, time INTEGER, content TEXT, data BLOB)"
_ROWS = 1000  # of metrics in an event
_BUSY_SECONDS = 30.0
_QUICK_SECONDS = 10.0


class Torn(Exception):
    """A record that cannot be read, now or later."""


class Stillborn(Exception):
    """A record without a start: its step is about to write it, or was killed before."""


@dataclass(frozen=True)
class Event:
    """What a step told at a moment.

    Attributes:
        number: of it in its journal.
        kind: see `DELIVERABLE`.
        time: milliseconds since 1970.
        content: its facts.
        data: of metrics: per row its step and its time (int64), then row by row the values (float64).
    """

    number: int
    kind: str
    time: int
    content: dict[str, Any]
    data: bytes

    def points(self) -> list[Point]:
        """The points of metrics."""
        names = self.content["names"]
        count = len(self.data) // (8 * (2 + len(names)))
        whole, values = array("q", self.data[: 16 * count]), array("d", self.data[16 * count :])
        return [
            (name, values[row * len(names) + column], whole[count + row], whole[row])
            for row in range(count)
            for column, name in enumerate(names)
        ]


class Record:
    """The events of a journal's folder.

    Each is added by one statement that commits itself, so that a signal handler may add its own at any line of a step.

    Args:
        folder: of the journal.
        start: what a new one begins with; without it, there must be one.

    Raises:
        Torn: it is no such record any more.
        Stillborn: it is none yet.
        sqlite3.Error: it cannot be opened at this time.
    """

    def __init__(self, folder: Path, start: Mapping[str, Any] | None = None) -> None:
        mode = "rw" if start is None else "rwc"
        if start is None and not (folder / FILE).exists():
            raise Stillborn(folder)
        self._connection = sqlite3.connect(
            f"file:{quote(str(folder / FILE))}?mode={mode}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        self._quick_until = 0.0 if start is None else time.monotonic() + _QUICK_SECONDS
        try:
            if start is not None:
                self._make(start)
            self._do("PRAGMA synchronous = NORMAL")
            self.start = start or self.note("start")
            if not self.start:
                raise Stillborn(folder)
        except BaseException:
            self._connection.close()
            raise

    def add(self, kind: str, content: Mapping[str, Any], data: bytes = b"") -> None:
        """Add an event of this moment; no user or password of a URI gets into it."""
        now = time.time_ns() // 1_000_000
        sql = "INSERT INTO event (kind, time, content, data) VALUES (?, ?, ?, ?)"
        self._do(sql, kind, now, json.dumps(without_secrets(content)), data)

    def add_metrics(self, rows: Sequence[Mapping[str, float]], first: int, times: Sequence[int]) -> None:
        """Add metrics of consecutive steps, some rows an event."""
        for begin in range(0, len(rows), _ROWS):
            alike: dict[tuple[str, ...], list[int]] = {}
            for place in range(begin, min(begin + _ROWS, len(rows))):
                alike.setdefault(tuple(rows[place]), []).append(place)
            for names, places in alike.items():
                steps = array("q", [first + place for place in places])
                moments = array("q", [times[place] for place in places])
                values = array("d", [value for place in places for value in rows[place].values()])
                self.add("metrics", {"names": names}, b"".join((steps, moments, values)))

    def events(self, *kinds: str, after: int = 0, limit: int = -1) -> list[Event]:
        """The first events of some kinds whose number is above `after`, in the order in which they were added."""
        marks = ",".join("?" * len(kinds))
        sql = f"SELECT * FROM event WHERE number > ? AND kind IN ({marks}) ORDER BY number LIMIT ?"
        try:
            return [
                Event(number, kind, moment, json.loads(content), data)
                for number, kind, moment, content, data in self._do(sql, after, *kinds, limit)
            ]
        except (TypeError, ValueError) as error:  # pages of former times, or of another file
            raise Torn(str(error)) from error

    def note(self, kind: str) -> dict[str, Any] | None:
        """The content of the one event of a kind, if there is one."""
        return next((event.content for event in self.events(kind, limit=1)), None)

    def replace(self, kind: str, content: Mapping[str, Any] | None) -> None:
        """Note something in place of what was noted, or nothing."""
        self._do("DELETE FROM event WHERE kind = ?", kind)
        if content is not None:
            self.add(kind, content)

    def forget(self, events: Sequence[Event]) -> None:
        """Remove events that are delivered; the start keeps the time of the last of them."""
        with self._transaction():
            self._connection.executemany("DELETE FROM event WHERE number = ?", [(each.number,) for each in events])
            self._do("UPDATE event SET time = max(time, ?) WHERE kind = 'start'", max(each.time for each in events))

    def last_sign(self) -> int:
        """When the step was last heard of, in milliseconds since 1970."""
        return self._do("SELECT max(time) FROM event WHERE kind NOT IN ('run', 'problem')")[0][0]

    def close(self) -> None:
        """Close the file."""
        # A short step does not wait for the disk: what a power cut could take of it is computed again as soon.
        if time.monotonic() < self._quick_until:
            self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.close()

    def _make(self, start: Mapping[str, Any]) -> None:
        self._do("PRAGMA synchronous = OFF")
        self._do("PRAGMA journal_mode = WAL")
        with self._transaction():
            self._do(_SCHEMA)
            self.add("start", start)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._do("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have done so itself
                self._connection.execute("ROLLBACK")
            raise
        self._do("COMMIT")

    def _do(self, sql: str, *values: Any) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise Torn(str(error)) from error
            if "no such table" in str(error):
                raise Stillborn(str(error)) from error
            raise
