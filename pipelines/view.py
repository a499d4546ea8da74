"""What a person sees of a run in the terminal."""

import contextlib
import os
import sys
import threading
from pathlib import Path
from textwrap import shorten
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from components.core.signals import last_act
from components.core.telemetry import activities
from pipelines.runners import Task, Watch

SIGNS = {
    "failed": ("✗", "red"),
    "unknown": ("?", "yellow"),
    "running": ("▸", "cyan"),
    "waiting": ("·", "dim"),
    "ended": ("■", "yellow"),
    "skipped": ("–", "yellow"),
    "done": ("✓", "green"),
    "cached": ("=", "blue"),
}
"""Sign and colour of a task's state; of a step's states, the first here is the one to show."""

_REASON_CHARACTERS = 200
"""As much of a task's reason as a line shows."""

_SHOW_CURSOR = b"\x1b[?25h\n"
"""What brings back the cursor that a live table hides."""


class RunView:
    """A table of a run's steps that follows the run in a terminal; a line for every finished task elsewhere.

    Args:
        watch: the run's tasks.
        journals: where running steps tell how far they are.
    """

    def __init__(self, watch: Watch, journals: Path) -> None:
        self._watch, self._journals = watch, journals
        self._console = plain_console(sys.stderr)
        self._live = Live(console=self._console, get_renderable=self._screen, refresh_per_second=4)
        self._over = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, daemon=True)

    def __enter__(self) -> "RunView":
        with contextlib.ExitStack() as stack:
            if self._console.is_terminal:
                stack.enter_context(last_act(lambda _: os.write(2, _SHOW_CURSOR)))
                self._live.start()
                stack.callback(self._live.stop)
            else:
                self._lines.start()
                stack.callback(self._lines.join)
                stack.callback(self._over.set)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _screen(self) -> Group:
        return Group(self._table(), *(Text(line, "yellow") for line in warnings(self._watch)))

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for column, justify in (("step", "left"), ("done", "right"), ("cached", "right"), ("now", "left")):
            table.add_column(column, justify=justify)
        tasks = list(self._watch.tasks)
        for step in dict.fromkeys(task.step for task in tasks):
            own = [task for task in tasks if task.step == step]
            states = {task.state for task in own}
            sign, style = next(look for state, look in SIGNS.items() if state in states)
            done = sum(task.state == "done" for task in own)
            cached = sum(task.state == "cached" for task in own)
            table.add_row(Text.assemble((sign, style), f" {step}"), str(done or ""), str(cached or ""), self._now(own))
        return table

    def _now(self, tasks: list[Task]) -> Text:
        progress = {each.name: each for each in activities(self._journals)}
        running = []
        for task in tasks:
            if task.state == "running":
                activity = progress.get(task.title)
                share = f" {activity.done / activity.total:.0%}" if activity and activity.total else ""
                running.append(Text(task.title.removeprefix(task.step).strip() + share + _because(task)))
            elif task.state == "failed":
                running.append(Text(f"{task.title.removeprefix(task.step).strip()} failed{_because(task)}", "red"))
            elif task.state == "waiting" and task.reason:
                running.append(Text(f"{task.title.removeprefix(task.step).strip()} waits{_because(task)}", "yellow"))
        return Text(" · ").join(running)

    def _print_lines(self) -> None:
        told: set[str] = set()
        while True:
            last = self._over.wait(0.2)
            lines = {line: line for line in warnings(self._watch)}
            lines |= {_event(task): outcome(task) for task in list(self._watch.tasks) if _event(task)}
            for event, line in lines.items():
                if event not in told:
                    told.add(event)
                    self._console.print(line, soft_wrap=True)
            if last:
                return


def plain_console(file: TextIO) -> Console:
    """A terminal that shows texts as they are: in a folder's name `[v2]` is no style and `:x:` no picture."""
    return Console(file=file, highlight=False, markup=False, emoji=False)


def warnings(watch: Watch) -> list[str]:
    """What the tasks of a run warned of, a line each."""
    return [f"! {task.title}: {warning}" for task in list(watch.tasks) for warning in task.warnings]


def outcome(task: Task) -> str:
    """How a task is, in a line."""
    seconds = f" ({task.seconds:.1f} s)" if task.seconds else ""
    return f"{SIGNS[task.state][0]} {task.title}: {task.state}{seconds}{_because(task)}"


def _event(task: Task) -> str:
    """What is told of a task, once, where nobody can see a table; "" where nothing has happened."""
    if task.state in ("cached", "done", "failed", "ended"):
        return f"{task.title} {task.state}"
    if task.state == "waiting" and task.reason:
        return f"{task.title} {task.reason.partition(':')[0]}"
    return ""


def _because(task: Task) -> str:
    return f" – {shorten(task.reason, _REASON_CHARACTERS, placeholder=' …')}" if task.reason else ""
