"""A step that is killed at a chosen line of ganflow's own code, in a process of its own."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import mlflow.tracking  # noqa: F401 (what a courier imports, before the fork)
import torch

from components.core.contract import Run, TrainingSection, step
from components.core.telemetry.courier import Courier
from components.core.training import Batches, train

CORE = Path(sys.modules["components.core.contract"].__file__).parents[1]

STEPS = 60


class VictimParams(TrainingSection):
    """Settings of the victim."""


class _Line:
    """A line fitted to a batch with noise from the global generator."""

    def __init__(self) -> None:
        self.network = torch.nn.Linear(2, 1)
        self.optimiser = torch.optim.SGD(self.network.parameters(), 0.05)

    def step(self, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        loss = (self.network(inputs + torch.randn_like(inputs)) - inputs.sum(dim=1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.detach()}

    def state_dict(self) -> dict:
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


@step
def fit(params: VictimParams, run: Run, *, number: int) -> None:
    """Fit a line and write what was learnt into some files."""
    line = _Line()
    batches = Batches(torch.randn(10, 2), batch_size=params.batch_size, seed=run.seed)
    history = train(line, [batches], params, run, steps=STEPS)
    history.save(run.out / "history.csv")
    folder = run.out / "weights"
    folder.mkdir()
    for name, tensor in line.network.state_dict().items():
        (folder / name).write_text(str(tensor.tolist()))


def live(home: Path, number: int, files: tuple[str, ...], die_at: int | None) -> None:
    """Run the step, with a courier in its process, until it ends or dies.

    Args:
        home: its state folder, its output `out` and its MLflow store.
        number: tells what to compute.
        files: of `components/core`, in which lines are counted.
        die_at: the line, counted as they are executed, before which the kernel takes the process; None: never, and the
            number of lines is written to `lines`.
    """
    os.environ |= {
        "GANFLOW_HOME": str(home / "state"),
        "GANFLOW_JOURNALS": str(home / "journals"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "victims",
    }
    params = VictimParams(threads=1, seed=0, batch_size=4, precision="fp32", checkpoint_seconds=0.001)
    count = _count_lines({str(CORE / file) for file in files}, die_at)
    with Courier(home / "journals"):
        fit(params, number=number, out=home / "out")
    if die_at is None:
        (home / "lines").write_text(str(count()))


def _count_lines(files: set[str], die_at: int | None) -> Callable[[], int]:
    """Count the lines executed in `files`, in all threads; a function that tells how many."""
    seen = 0
    lock = threading.Lock()

    def on_line(frame: object, event: str, _: object) -> object:
        nonlocal seen
        if event == "line":
            with lock:
                seen += 1
                if seen == die_at:
                    os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    def on_call(frame: object, event: str, _: object) -> object:
        return on_line if frame.f_code.co_filename in files else None

    threading.settrace(on_call)
    sys.settrace(on_call)
    return lambda: seen
