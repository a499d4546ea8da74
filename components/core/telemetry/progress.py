"""How far a step is: a bar where a person looks on, the journal for whoever runs the step."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress

from components.core.telemetry.journal import Journal


@contextlib.contextmanager
def progress(journal: Journal, words: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to be told how much of `total` is done; `words` stand before the bar."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(words, total=total)

        def advance(done: int) -> None:
            journal.progress(done, total)
            bar.update(task, completed=done)

        yield advance
