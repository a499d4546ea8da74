"""What a person sees of a run in the terminal."""

import sys
import threading
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from components.core.journal import activities
from pipelines.runners import Task, Watch

SIGNS = {
    "failed": ("✗", "red"),
    "running": ("▸", "cyan"),
    "waiting": ("·", "dim"),
    "skipped": ("–", "yellow"),
    "done": ("✓", "green"),
    "cached": ("=", "blue"),
}
"""Sign and colour of a task's state; of a step's states, the first here is the one to show."""


class RunView:
    """A table of a run's steps that follows the run in a terminal; a line for every finished task elsewhere.

    Args:
        watch: the run's tasks.
        journals: where running steps tell how far they are.
    """

    def __init__(self, watch: Watch, journals: Path) -> None:
        self._watch, self._journals = watch, journals
        self._console = Console(file=sys.stderr, highlight=False)
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4)
        self._over = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, daemon=True)

    def __enter__(self) -> "RunView":
        if self._console.is_terminal:
            self._live.start()
        else:
            self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._lines.join()

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
            table.add_row(f"[{style}]{sign}[/] {step}", str(done or ""), str(cached or ""), self._now(own))
        return table

    def _now(self, tasks: list[Task]) -> str:
        progress = {each.name: each for each in activities(self._journals)}
        running = []
        for task in tasks:
            if task.state == "running":
                activity = progress.get(task.title)
                share = f" {activity.done / activity.total:.0%}" if activity and activity.total else ""
                running.append(task.title.removeprefix(task.step).strip() + share)
            elif task.state == "failed":
                running.append(f"[red]{task.title.removeprefix(task.step).strip()} failed[/]")
        return " · ".join(running)

    def _print_lines(self) -> None:
        told: set[int] = set()
        while True:
            last = self._over.wait(0.2)
            for number, task in enumerate(list(self._watch.tasks)):
                if number not in told and task.state in ("cached", "done", "failed"):
                    told.add(number)
                    seconds = f" ({task.seconds:.1f} s)" if task.seconds else ""
                    self._console.print(f"{SIGNS[task.state][0]} {task.title}: {task.state}{seconds}", soft_wrap=True)
            if last:
                return
