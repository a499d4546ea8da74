"""One of a crowd's tasks: a light step, that a script runs in a process of its own."""

import sys
import time
from pathlib import Path

from components.core.telemetry import Journal

POINTS = 200
"""Of a metric that a task logs before it waits, and again thereafter."""


def points(number: int) -> list[tuple[int, float]]:
    """A task's metric, by step of training."""
    return [(step, number + step / 1000) for step in range(2 * POINTS)]


def task(number: int, gate: Path) -> None:
    """Log as a training does, wait for the gate, log on."""
    with Journal.open(
        "train-egan", {"gamma": 0.5}, {"number": number}, f"{number:064x}", {"images": "a" * 64}
    ) as journal:
        note = journal.folder.with_name(f"note-{number}.txt")
        note.write_text(f"of {number}")
        journal.dataset(f"part {number}", f"{number:032x}", "s3://bucket/cohort", {"images": 300})
        for step, value in points(number)[:POINTS]:
            journal.metrics({"loss": value}, step)
        journal.artifact(note, "early")
        while not gate.exists():
            time.sleep(0.05)
        for step, value in points(number)[POINTS:]:
            journal.metrics({"loss": value}, step)
        journal.artifact(note, "late")
        journal.output(f"{number:064x}")


if __name__ == "__main__":
    task(int(sys.argv[1]), Path(sys.argv[2]))
