"""A run on a cluster, watched from here to its end."""

import tempfile
import time
from pathlib import Path

from pipelines.cluster import Away
from pipelines.runners import Watch
from pipelines.status import Observer, Status
from pipelines.view import RunView

POLL_SECONDS = 5.0
"""Between two questions to the server."""

PATIENCE_SECONDS = 600.0
"""How long the server may be away: the run does not need it to go on."""


def follow(observer: Observer) -> Status:
    """Show a run's tasks until it has ended; returns it as it ended.

    Raises:
        UserError: the server refuses to tell, or has been away for too long.
    """
    watch = Watch()
    with tempfile.TemporaryDirectory() as nothing, RunView(watch, Path(nothing)):
        while True:
            status = patiently(observer)
            watch.tasks[:] = [each.task for each in status.tasks]
            if status.final:
                return status
            time.sleep(POLL_SECONDS)


def patiently(observer: Observer) -> Status:
    """The run, when the server is back."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return observer.look()
        except Away:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
