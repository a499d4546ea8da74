"""What a checkpoint costs after 1 000 and after 100 000 steps of eight metrics: it must be the same.

Both trainings write checkpoints in turn, so that a busy machine slows both, each a few more steps along, over a whole
number of parts. The exit code is 1 where the long one's cost more than 1.2 times the short one's, in bytes or in time.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from components.core.contract import Run
from components.core.storage import Checkpoints
from components.core.telemetry import Journal
from components.core.training.health import Watch
from components.core.training.history import PART_STEPS, History
from components.core.training.loop import _save

LENGTHS = (1_000, 100_000)
METRICS = 8
STRIDE = 50
"""Steps between two checkpoints; a part is full after a whole number of them."""
ROUNDS = 5 * PART_STEPS // STRIDE
MOST = 1.2


class Small:
    """Weights so few that the history is what costs."""

    def __init__(self) -> None:
        self.network = nn.Linear(100, 100)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.network.state_dict()


class Training:
    """One that has come so far, with its checkpoints in a folder of their own."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder = folder / "checkpoints" / str(steps)
        journal = Journal(folder / "journals", {"step": "benchmark"})
        self.run = Run(folder, str(steps), {}, 0, Checkpoints(str(steps)), journal)
        self.history = History(self.run)
        self.watch = Watch(None, 1)  # there is no adversary to watch over
        self.done = 0
        while self.done < steps:
            self.advance(PART_STEPS)
            self.write()

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.done += 1
            self.history.add(self.done, {f"metric_{number}": torch.rand(()) for number in range(METRICS)})
        self.history.flush()

    def write(self) -> tuple[float, int]:
        """Seconds and bytes of a checkpoint."""
        before = {path.name for path in self.folder.glob("*")}
        begin = time.perf_counter()
        _save(Small(), self.history, self.watch, self.run, "training", self.done)
        seconds = time.perf_counter() - begin
        return seconds, sum(path.stat().st_size for path in self.folder.iterdir() if path.name not in before)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANFLOW_HOME"] = folder
        trainings = {steps: Training(Path(folder), steps) for steps in LENGTHS}
        costs = {steps: [] for steps in LENGTHS}
        for _ in range(ROUNDS):
            for steps, training in trainings.items():
                training.advance(STRIDE)
                costs[steps].append(training.write())
    times = {steps: statistics.median(seconds for seconds, _ in costs[steps]) for steps in LENGTHS}
    sizes = {steps: statistics.mean(size for _, size in costs[steps]) for steps in LENGTHS}  # so that parts count
    for steps in LENGTHS:
        print(f"{steps:7d} steps  {1e3 * times[steps]:6.2f} ms  {sizes[steps] / 1e3:8.1f} kB a checkpoint")
    ratios = [cost[LENGTHS[1]] / cost[LENGTHS[0]] for cost in (times, sizes)]
    print(f"100 000 steps over 1 000: {ratios[0]:.2f} of the time, {ratios[1]:.2f} of the bytes; at most {MOST}")
    return 0 if max(ratios) <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
