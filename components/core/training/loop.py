"""The resumable training loop that all GANs and classifiers share."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from components.core.contract import GanSection, Run, TrainingSection, derive_seed
from components.core.errors import Collapse
from components.core.signals import INTERRUPTED, PREEMPTED, deferred
from components.core.telemetry import progress
from components.core.training.health import Watch
from components.core.training.history import History

RESTARTS = 3
"""How often a collapsing training is begun anew before it is given up."""

Result = TypeVar("Result")


class Algorithm(Protocol):
    """What the loop trains; it never sees files."""

    def step(self, *batch: Tensor) -> dict[str, Tensor]:
        """One optimisation round on a batch; scalar tensors, detached, left on their device."""

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers, buffers: what a resumed run needs."""

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
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
            self._epoch, self._order = epoch, torch.randperm(self._count, generator=generator)
        return self._order


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

    Metrics reach the journal with the checkpoint that has them.

    Args:
        algorithm: already on its device, freshly built (its state is overwritten where a checkpoint is found); with a
            `GanSection` it is an `Adversary`, too, and its health is watched over.
        batches: sources whose batches, one after the other, are the arguments of `algorithm.step`.
        params: precision and time between checkpoints; a `GanSection` also says what is done about a collapse.
        run: gives the checkpoints and the journal.
        steps: rounds in all.
        augment: changes a batch; like a step of the algorithm it may draw from torch's global generator.
        observe: called with the number of finished steps at the start and after every tenth of the way; a tensor
            that it returns is kept in the history's `snapshots`.
        name: of the checkpoint, where a step trains more than once.

    Raises:
        UserError: a metric is not finite; the checkpoint from before stays. Of an adversary it is a `Collapse`.
        Collapse: the vital signs show one (`health.py`), and `params.on_collapse` is not "warn".
        SystemExit: code `PREEMPTED`, after SIGTERM and a checkpoint.
        KeyboardInterrupt: after Ctrl-C and a checkpoint.
    """
    adversarial = isinstance(params, GanSection)
    history = History(run, params.on_collapse if adversarial else None, steps)
    watch = Watch(algorithm if adversarial else None, params.batch_size)
    name = f"restart-{run.attempt}.{name}" if run.attempt else name
    done = _resume(algorithm, history, watch, run, name)
    saved = time.monotonic()
    ending = False
    milestones = {round(steps * tenth / 10) for tenth in range(11)}
    with _ending_as_told() as received, progress(run.journal, "training", steps) as advance, watch:
        if done == 0:
            _keep(history, 0, observe)
        while done < steps and not ending:
            seed_draws(run, "step", done)
            batch = augment([tensor for source in batches for tensor in source[done]])
            watch.begin(done + 1)
            with _precision(params.precision):
                metrics = algorithm.step(*batch)
            metrics |= watch.signs()
            done += 1
            advance(done)
            try:
                history.add(done, metrics)
                if done in milestones:
                    _keep(history, done, observe)
                ending = bool(received)
                if ending or time.monotonic() - saved > params.checkpoint_seconds or done == steps:
                    history.flush()
                    _save(algorithm, history, watch, run, name, done)
                    saved = time.monotonic()
            except Collapse:
                if len(history.rows) == done:  # what diverged is not kept
                    # A retry finds the collapse and comes to it no second time.
                    _save(algorithm, history, watch, run, name, done)
                raise
    return history


def restarting(params: GanSection, run: Run, attempt: Callable[[Run], Result]) -> Result:
    """What `attempt` returns; where it collapses and `params` says "restart", it is made again with another seed.

    Args:
        params: of the training.
        run: of the step; each attempt is given one with a seed of its own.
        attempt: builds an algorithm and trains it.

    Raises:
        Collapse: in the last of `RESTARTS` + 1 attempts, or in the first where `params` does not say "restart".
    """
    if params.on_collapse != "restart":
        return attempt(run)
    for number in range(RESTARTS):
        try:
            return attempt(_anew(run, number))
        except Collapse as collapse:
            run.journal.warn(f"{_first_sentence(collapse)} It begins anew ({number + 1} of {RESTARTS} times at most).")
    try:
        return attempt(_anew(run, RESTARTS))
    except Collapse as collapse:
        raise Collapse(
            f"{_first_sentence(collapse)} It had begun anew {RESTARTS} times, in vain: lower its learning rates, or "
            "look at its images; the last checkpoint is kept."
        ) from collapse


def seed_draws(run: Run, *purpose: str | int) -> None:
    """Let what torch draws next hang on the run's seed and on its purpose, not on what was drawn before."""
    torch.manual_seed(derive_seed(run.seed, *purpose))


def device() -> torch.device:
    """Where to compute: on CUDA where there is a GPU, else on the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def through(network: nn.Module, inputs: Tensor) -> Tensor:
    """What a network makes of its inputs, in their precision whatever it computes in: that of losses and sums."""
    return network(inputs).to(inputs.dtype)


def _precision(precision: str) -> contextlib.AbstractContextManager[None]:
    """Within it, matrix products and convolutions are computed in the precision asked for."""
    if precision == "fp32":
        return contextlib.nullcontext()
    # Without the cache of weights in bfloat16: a step changes weights between two looks at them, and generators draw
    # without gradients before they learn.
    return torch.autocast(device().type, torch.bfloat16, cache_enabled=False)


def _first_sentence(collapse: Collapse) -> str:
    return str(collapse).partition(". ")[0].rstrip(".") + "."


def _anew(run: Run, attempt: int) -> Run:
    """The run of one attempt; the first is as if there were no others."""
    if attempt == 0:
        return run
    return replace(run, attempt=attempt, seed=derive_seed(run.seed, "attempt", attempt))


@contextlib.contextmanager
def _ending_as_told() -> Iterator[list[int]]:
    """A list that has something in it when a signal came, by which the process ends where this context does."""
    with deferred() as received:
        try:
            yield received
        except Collapse:
            if not received:
                raise
        if received:
            raise KeyboardInterrupt if received[0] == INTERRUPTED else SystemExit(PREEMPTED)


def _keep(history: History, step: int, observe: Callable[[int], Tensor | None]) -> None:
    snapshot = observe(step)
    if snapshot is not None:
        history.snapshots[step] = snapshot


def _save(algorithm: Algorithm, history: History, watch: Watch, run: Run, name: str, done: int) -> None:
    """Write a checkpoint: everything that the rest of a training hangs on; then its metrics may be told."""
    if part := history.part():
        run.checkpoints.append(name, partial(torch.save, part))
    state = {
        "done": done,
        "algorithm": algorithm.state_dict(),
        "history": history.rest(),
        "looks": watch.state_dict(),
    }
    run.checkpoints.write(name, done, partial(torch.save, state))
    history.tell()


def _resume(algorithm: Algorithm, history: History, watch: Watch, run: Run, name: str) -> int:
    """Restore what `_save` kept; the number of steps done."""
    found = run.checkpoints.read(name, partial(torch.load, map_location="cpu", weights_only=True))
    if found is None:
        return 0
    state, parts = found
    algorithm.load_state_dict(state["algorithm"])
    watch.load_state_dict(state["looks"])
    try:
        for recorded in [*parts, state["history"]]:
            history.restore(recorded)
    finally:  # of a collapse, too
        history.tell()
    return state["done"]
