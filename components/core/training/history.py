"""What a training records on its way: metrics by step, and snapshots."""

import csv
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.core.contract import Run
from components.core.errors import Collapse, UserError
from components.core.training.health import DIVERSITY, Health

FLUSH_STEPS = 25
"""Steps between two transfers of the metrics to the host: one synchronisation, one look for NaN."""

RESTARTED = "restarted"
"""A column of a history that has one row of it, where the training did not come to its end the first time."""

PART_STEPS = 1000
"""Steps that a checkpoint holds itself at most; those before are in parts, which are written once."""


class History:
    """Metrics by step: kept on their device until a flush, then checked; sent to the journal with the next checkpoint.

    Args:
        on_collapse: a `GanSection`'s; None where nothing can collapse.
        steps: length of the training.

    Attributes:
        rows: the metrics by name, and `step`, of every step; `collapsed` is 1 where a collapse is diagnosed.
        snapshots: what was observed of the training on its way, by step.
    """

    def __init__(self, run: Run, on_collapse: str | None = None, steps: int = 0) -> None:
        self.rows: list[dict[str, float]] = []
        self.snapshots: dict[int, Tensor] = {}
        self._run = run
        self._on_collapse = on_collapse
        self._health = Health(steps)
        self._times: list[int] = []
        self._pending: list[tuple[int, int, dict[str, Tensor]]] = []
        self._told = 0
        self._in_parts = 0
        self._snapshots_in_parts = 0

    def add(self, step: int, metrics: dict[str, Tensor]) -> None:
        self._pending.append((step, time.time_ns() // 1_000_000, metrics))
        if len(self._pending) == FLUSH_STEPS:
            self.flush()

    def flush(self) -> None:
        """Bring pending metrics to the host.

        Raises:
            UserError: one is not finite; a `Collapse` where there may be some.
            Collapse: they show one, and a warning is not enough.
        """
        if not self._pending:
            return
        values = torch.stack([value.float() for _, _, metrics in self._pending for value in metrics.values()]).tolist()
        supply = iter(values)
        rows = [{"step": step} | {name: next(supply) for name in metrics} for step, _, metrics in self._pending]
        times = [at for _, at, _ in self._pending]
        self._pending = []
        for row in rows:
            bad = [name for name, value in row.items() if not math.isfinite(value)]
            if bad:
                raise (Collapse if self._on_collapse else UserError)(
                    f"The training diverged at step {row['step']}: {', '.join(bad)} is not finite. "
                    "Lower the learning rate, or look at the data; the last good checkpoint is kept."
                )
        self._extend(rows, times)

    def tell(self) -> None:
        """Send what is new to the journal.

        Told only once a checkpoint has them, metrics are the same points, at the same times, when a resumed training
        tells of them again. Those of a restarted training have names of their own.
        """
        prefix = f"restart-{self._run.attempt}/" if self._run.attempt else ""
        while self._told < len(self.rows):
            chosen = slice(self._told, self._told + PART_STEPS)
            rows = self.rows[chosen]
            metrics = [{f"{prefix}{name}": value for name, value in row.items() if name != "step"} for row in rows]
            self._run.journal.history(metrics, first=int(rows[0]["step"]), times=self._times[chosen])
            self._told += len(rows)

    def part(self) -> dict[str, Any] | None:
        """What no part holds yet, as plain tensors, where that is too much for every checkpoint to hold it."""
        if len(self.rows) - self._in_parts < PART_STEPS and len(self.snapshots) == self._snapshots_in_parts:
            return None
        part = self.rest()
        part["snapshots"] = dict(list(self.snapshots.items())[self._snapshots_in_parts :])
        self._in_parts, self._snapshots_in_parts = len(self.rows), len(self.snapshots)
        return part

    def rest(self) -> dict[str, Any]:
        """The steps that no part holds, as plain tensors; what a row lacks is NaN, which no metric is."""
        rows = self.rows[self._in_parts :]
        names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
        values = torch.tensor([[row.get(name, math.nan) for name in names] for row in rows], dtype=torch.float32)
        return {"names": names, "values": values, "times": torch.tensor(self._times[self._in_parts :]), "snapshots": {}}

    def restore(self, recorded: dict[str, Any]) -> None:
        """Take the next of what `part` or `rest` gave; it belongs to this run's record, too."""
        rows = []
        for step, values in enumerate(recorded["values"].tolist(), start=len(self.rows) + 1):
            named = zip(recorded["names"], values, strict=True)
            rows.append({"step": step} | {name: value for name, value in named if not math.isnan(value)})
        self.snapshots |= recorded["snapshots"]
        self._extend(rows, recorded["times"].tolist())

    def collapsed_at(self) -> int:
        """The first step at which a collapse was diagnosed, 0 if none was."""
        return next((int(row["step"]) for row in self.rows if row.get("collapsed")), 0)

    def save(self, path: Path) -> None:
        """Write a CSV: `step` first, then the metrics in order of appearance; a cell is empty where none was taken.

        `RESTARTED`, in the first row, is how often the training had begun before, and failed.
        """
        rows = self.rows
        if self._run.attempt:
            rows = [rows[0] | {RESTARTED: self._run.attempt}, *rows[1:]]
        names = list(dict.fromkeys(name for row in rows for name in row))
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _extend(self, rows: list[dict[str, float]], times: list[int]) -> None:
        before = bool(self.rows and self.rows[-1].get("collapsed"))
        diagnoses = [self._health.diagnose(row) for row in rows]
        for row, diagnosis in zip(rows, diagnoses, strict=True):
            if DIVERSITY in row:
                row["collapsed"] = float(diagnosis != "")
        self.rows += rows
        self._times += times
        found = next((pair for pair in zip(rows, diagnoses, strict=True) if pair[1]), None)
        if found and not before:
            self._report(int(found[0]["step"]), found[1])

    def _report(self, step: int, diagnosis: str) -> None:
        text = f"The training collapsed at step {step}: {diagnosis}."
        if self._on_collapse in ("stop", "restart"):
            hint = ", or set on_collapse to restart" if self._on_collapse == "stop" else ""
            raise Collapse(f"{text} Change its learning rates or its seed{hint}; the last checkpoint is kept.")
        self._run.journal.warn(text)
