"""Kills at random lines, and what must hold after every one."""

import random
from collections import Counter
from pathlib import Path

import victim
from forks import processes
from mlflow import MlflowClient

from components.core.storage import digest_path

PLACES = {
    "the swap": ("contract/outputs.py", "contract/turns.py", "contract/step.py"),
    "the checkpoint": ("storage/checkpoints.py", "training/loop.py", "training/history.py"),
    "the journal": ("telemetry/journal.py", "telemetry/record.py"),
    "the delivery": ("telemetry/courier.py", "telemetry/tracking/store.py"),
}
"""Files of `components/core` in whose lines processes die, by what they do there."""


def kill_and_check(place: str, folder: Path, kills: int, seed: int = 0) -> None:
    """Kill so many processes in a place, each at a random line of it, and check after each that nothing is lost.

    All work in one home, in which every other one has something else to compute.

    Raises:
        AssertionError: an output is half or lost, bytes differ, something is left over, or MLflow has a point twice
            or not at all.
    """
    generator = random.Random(f"{place} {seed}")
    expected = {number: _undisturbed(folder / f"alone-{number}", number, PLACES[place]) for number in (0, 1)}
    lines = min(int((folder / f"alone-{number}" / "lines").read_text()) for number in (0, 1))
    home = folder / "home"
    for kill in range(kills):
        number = kill % 2
        die_at = generator.randint(1, lines)
        code = _live(home, number, PLACES[place], die_at)
        assert code in (-9, 0), f"killed at line {die_at} of {place}: exit code {code}"
        assert _live(home, number, PLACES[place], None) == 0, f"not resumed after line {die_at} of {place}"
        assert digest_path(home / "out") == expected[number], f"other bytes after line {die_at} of {place}"
        left = sorted(path.name for path in home.iterdir() if path.name.startswith(".out"))
        assert not left, f"after line {die_at} of {place}: {left}"
    checkpoints = home / "state" / "checkpoints"
    assert not checkpoints.exists() or not list(checkpoints.rglob("*-*")), "checkpoints are left"
    _check_metrics(home, kills)


def _undisturbed(home: Path, number: int, files: tuple[str, ...]) -> str:
    assert _live(home, number, files, None) == 0
    return digest_path(home / "out")


def _live(home: Path, number: int, files: tuple[str, ...], die_at: int | None) -> int:
    home.mkdir(parents=True, exist_ok=True)
    process = processes.Process(target=victim.live, args=(home, number, files, die_at))
    process.start()
    process.join()
    return process.exitcode


def _check_metrics(home: Path, kills: int) -> None:
    """Every finished run has every point once; no run is left running, no journal undelivered."""
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    experiment = client.get_experiment_by_name("victims").experiment_id
    runs = client.search_runs([experiment], max_results=50_000)
    states = Counter(run.info.status for run in runs)
    assert set(states) <= {"FINISHED", "KILLED"}, states
    assert states["FINISHED"] >= kills, states
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "loss")]
        assert len(steps) == len(set(steps)), f"{run.info.run_id} has a point twice"
        if run.info.status == "FINISHED":
            assert sorted(steps) == list(range(1, victim.STEPS + 1)), f"{run.info.run_id} lacks points"
    journals = [path for path in (home / "journals").iterdir() if path.is_dir()]
    assert not journals, f"undelivered: {journals}"
