"""The resumable training loop that all GANs and classifiers share."""

import contextlib
import csv
import io
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor

from components.core.contract import GanSection, Run, TrainingSection
from components.core.errors import UserError
from components.core.storage import Checkpoints
from components.core.telemetry import progress
from components.core.training.collapse import DIVERSITY, CollapseWatch

FLUSH_STEPS = 25
"""Steps between two transfers of the metrics to the host: one synchronisation, one look for NaN."""

PREEMPTED = 75
"""Exit code after SIGTERM (EX_TEMPFAIL): the checkpoint is written, a retry goes on from it."""

RESTARTS = 3
"""How often a collapsing training is begun anew before it is given up."""

Result = TypeVar("Result")


class Collapse(UserError):
    """A GAN's training went wrong in a way that it does not come back from by itself."""


class Algorithm(Protocol):
    """What the loop trains; it never sees files."""

    def step(self, *batch: Tensor) -> dict[str, Tensor]:
        """One optimisation round on a batch; scalar tensors, detached, left on their device."""

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, buffers: what a resumed run needs beside the random generators."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take `state_dict`'s state back."""


class Batches:
    """Batches in an order that hangs on the seed and the step's number alone, so that any step can be resumed at.

    Each epoch is a new permutation; an incomplete last batch is filled up from the next epoch.

    Args:
        tensors: of equal first dimension N, on any device.
        batch_size: items a batch.
        seed: of the permutations.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, seed: int) -> None:
        self._tensors = tensors
        self._batch_size = batch_size
        self._seed = seed
        self._epoch, self._order = -1, torch.empty(0)

    def __getitem__(self, step: int) -> list[Tensor]:
        """Batch number `step`, counted from 0."""
        positions = torch.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs = positions // self._count
        chosen = torch.cat(
            [self._permutation(int(epoch))[positions[epochs == epoch] % self._count] for epoch in epochs.unique()]
        )
        return [tensor[chosen.to(tensor.device)] for tensor in self._tensors]

    @property
    def _count(self) -> int:
        return len(self._tensors[0])

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed((self._seed + epoch) & 0x7FFF_FFFF_FFFF_FFFF)
            self._epoch, self._order = epoch, torch.randperm(self._count, generator=generator)
        return self._order


class History:
    """Metrics by step: kept on their device until a flush, then checked and sent to the journal.

    Attributes:
        rows: the metrics by name, and `step`, of every step; `collapsed` is 1 where a collapse is diagnosed.
        snapshots: what was observed of the training on its way, by step.
    """

    def __init__(self, run: Run, *, warn_only: bool) -> None:
        self.rows: list[dict[str, float]] = []
        self.snapshots: dict[int, Tensor] = {}
        self._run = run
        self._warn_only = warn_only
        self._watch = CollapseWatch()
        self._pending: list[tuple[int, dict[str, Tensor]]] = []

    def add(self, step: int, metrics: dict[str, Tensor]) -> None:
        self._pending.append((step, metrics))
        if len(self._pending) == FLUSH_STEPS:
            self.flush()

    def flush(self) -> None:
        """Bring pending metrics to the host.

        Raises:
            UserError: one is not finite.
            Collapse: they show one, and a warning is not enough.
        """
        if not self._pending:
            return
        values = torch.stack([value.float() for _, metrics in self._pending for value in metrics.values()]).tolist()
        supply = iter(values)
        rows = [{"step": step} | {name: next(supply) for name in metrics} for step, metrics in self._pending]
        self._pending = []
        for row in rows:
            bad = [name for name, value in row.items() if not math.isfinite(value)]
            if bad:
                raise UserError(
                    f"The training diverged at step {row['step']}: {', '.join(bad)} is not finite. "
                    "Lower the learning rate, or look at the data; the last good checkpoint is kept."
                )
        self._extend(rows)

    def restore(self, rows: list[dict[str, float]], snapshots: dict[int, Tensor]) -> None:
        """Take what was recorded until a checkpoint; it belongs to this run's record, too."""
        self.snapshots = snapshots
        self._extend(rows)

    def collapsed_at(self) -> int:
        """The first step at which a collapse was diagnosed, 0 if none was."""
        return next((int(row["step"]) for row in self.rows if row.get("collapsed")), 0)

    def _extend(self, rows: list[dict[str, float]]) -> None:
        before = bool(self.rows and self.rows[-1].get("collapsed"))
        diagnoses = [self._watch.diagnose(row) for row in rows]
        for row, diagnosis in zip(rows, diagnoses, strict=True):
            if DIVERSITY in row:
                row["collapsed"] = float(diagnosis != "")
        self.rows += rows
        self._log(rows)
        found = next((pair for pair in zip(rows, diagnoses, strict=True) if pair[1]), None)
        if found and not before:
            self._report(int(found[0]["step"]), found[1])

    def _log(self, rows: list[dict[str, float]]) -> None:
        """Send rows to the journal; those of a restarted training under names of their own."""
        prefix = f"restart-{self._run.attempt}/" if self._run.attempt else ""
        if rows:
            metrics = [{f"{prefix}{name}": value for name, value in row.items() if name != "step"} for row in rows]
            self._run.journal.history(metrics, first=int(rows[0]["step"]))

    def _report(self, step: int, diagnosis: str) -> None:
        text = f"The training collapsed at step {step}: {diagnosis}."
        if not self._warn_only:
            raise Collapse(
                f"{text} Change its learning rates or its seed, or set on_collapse to restart; "
                "the last checkpoint is kept."
            )
        self._run.journal.warn(text)

    def save(self, path: Path) -> None:
        """Write a CSV: `step` first, then the metrics in order of appearance; a cell is empty where none was taken."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)


def train(
    algorithm: Algorithm,
    batches: Sequence[Batches],
    params: TrainingSection,
    run: Run,
    *,
    steps: int,
    augment: Callable[[list[Tensor]], list[Tensor]] = lambda batch: batch,
    observe: Callable[[int], Tensor | None] = lambda step: None,
    name: str = "training",
) -> History:
    """Train for `steps` rounds; killed and called again, it goes on from its last checkpoint with the same bytes.

    Args:
        algorithm: already on its device, freshly built (its state is overwritten where a checkpoint is found).
        batches: sources whose batches, one after the other, are the arguments of `algorithm.step`.
        params: precision and time between checkpoints; a `GanSection` also says what a collapse means.
        run: gives the checkpoints and the journal.
        steps: rounds in all.
        augment: changes a batch; it may draw from torch's global generator.
        observe: called with the number of finished steps at the start and after every tenth of the way; a tensor
            that it returns is kept in the history's `snapshots`.
        name: of the checkpoint, where a step trains more than once.

    Raises:
        UserError: a metric is not finite; the checkpoint from before stays.
        Collapse: the vital signs show one (`collapse.py`), and `params.on_collapse` is not "warn".
        SystemExit: code `PREEMPTED`, after SIGTERM and a checkpoint.
        KeyboardInterrupt: after Ctrl-C and a checkpoint.
    """
    accelerator = Accelerator(mixed_precision=params.precision, cpu=not torch.cuda.is_available())
    history = History(run, warn_only=not isinstance(params, GanSection) or params.on_collapse == "warn")
    done = _resume(algorithm, history, run.checkpoints.read(name))
    saved = time.monotonic()
    milestones = {round(steps * tenth / 10) for tenth in range(11)}
    with _endings() as received, progress(run.journal, "training", steps) as advance:
        if done == 0:
            _keep(history, 0, observe)
        while done < steps:
            batch = augment([tensor for source in batches for tensor in source[done]])
            with accelerator.autocast():
                metrics = algorithm.step(*batch)
            done += 1
            history.add(done, metrics)
            advance(done)
            if done in milestones:
                _keep(history, done, observe)
            if received or time.monotonic() - saved > params.checkpoint_seconds or done == steps:
                history.flush()
                run.checkpoints.write(name, _freeze(algorithm, history, done))
                saved = time.monotonic()
            if received:
                raise received[0]
    return history


def restarting(params: GanSection, run: Run, attempt: Callable[[Run], Result]) -> Result:
    """What `attempt` returns; where it collapses and `params` says "restart", it is made again with another seed.

    Args:
        params: of the training.
        run: of the step; each attempt is given one with a seed and checkpoints of its own.
        attempt: builds an algorithm and trains it.

    Raises:
        Collapse: in the last of `RESTARTS` + 1 attempts, or in the first where `params` does not say "restart".
    """
    restarts = RESTARTS if params.on_collapse == "restart" else 0
    for number in range(restarts):
        try:
            return attempt(_anew(run, number))
        except Collapse as collapse:
            first_sentence = str(collapse).partition(". ")[0]
            run.journal.warn(f"{first_sentence}. It begins anew ({number + 1} of {restarts} times at most).")
    return attempt(_anew(run, restarts))


def device() -> torch.device:
    """Where to compute: the accelerator that Accelerate finds, else the CPU."""
    return Accelerator(cpu=not torch.cuda.is_available()).device


def _anew(run: Run, attempt: int) -> Run:
    """The run of one attempt, for which torch is seeded; the first is as if there were no others."""
    if attempt == 0:
        return run
    seed = (run.seed + attempt) & 0x7FFF_FFFF_FFFF_FFFF
    torch.manual_seed(seed)
    return replace(run, attempt=attempt, seed=seed, checkpoints=Checkpoints(f"{run.fingerprint}/restart-{attempt}"))


def _keep(history: History, step: int, observe: Callable[[int], Tensor | None]) -> None:
    snapshot = observe(step)
    if snapshot is not None:
        history.snapshots[step] = snapshot


def _freeze(algorithm: Algorithm, history: History, done: int) -> bytes:
    """Everything that the rest of a training hangs on."""
    content = io.BytesIO()
    state = {
        "done": done,
        "algorithm": algorithm.state_dict(),
        "history": history.rows,
        "snapshots": history.snapshots,
        "cpu_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    torch.save(state, content)
    return content.getvalue()


def _resume(algorithm: Algorithm, history: History, checkpoint: bytes | None) -> int:
    """Restore what `_freeze` kept; the number of steps done."""
    if checkpoint is None:
        return 0
    state = torch.load(io.BytesIO(checkpoint), weights_only=True)
    algorithm.load_state_dict(state["algorithm"])
    history.restore(state["history"], state["snapshots"])
    torch.set_rng_state(state["cpu_rng"])
    if state["cuda_rng"]:
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    return state["done"]


@contextlib.contextmanager
def _endings() -> Iterator[list[BaseException]]:
    """A list that SIGTERM and Ctrl-C append to what they end the process with, instead of ending it at once."""
    received: list[BaseException] = []
    ends = {signal.SIGTERM: SystemExit(PREEMPTED), signal.SIGINT: KeyboardInterrupt()}
    before = {each: signal.signal(each, lambda number, _: received.append(ends[number])) for each in ends}
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
