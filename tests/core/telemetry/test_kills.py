"""A step, its couriers and nothing else, each killed at any line: no metric is lost, none is there twice."""

import os
import random
import signal
import sys
import threading
from pathlib import Path

import pytest
from deliveries import all_runs, deliver, left, open_journal, points
from forks import processes

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.slow, pytest.mark.timeout(1200)]

KILLS = int(os.environ.get("KILLS", "10"))
"""Of steps; as many couriers die on average. KILLS=200 takes half an hour."""

ROOM = "components/core/telemetry"
STEPS = 60


def die_at_line(number: int) -> None:
    """End this process by SIGKILL at a line of the telemetry's code, counted from now on, in whichever thread."""
    left_over = iter(range(number))

    def trace(frame, event, _):
        if ROOM not in frame.f_code.co_filename:
            return None
        if event == "line" and next(left_over, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def train(environment: dict[str, str], line: int, number: int, told: Path) -> None:
    """A step that is killed at a line; it says which metrics it has logged."""
    os.environ.update(environment)
    with told.open("wb", buffering=0) as stream:
        die_at_line(line)
        with open_journal(arguments={"number": number}) as journal:
            for step in range(0, STEPS, 3):
                journal.history([{"loss": float(step + each)} for each in range(3)], first=step)
                stream.write(f"{step + 3}\n".encode())


def carry(environment: dict[str, str], line: int, journals: Path) -> None:
    """A courier that is killed at a line, if it lives so long."""
    os.environ.update(environment)
    die_at_line(line)
    deliver(journals)


def test_no_kill_loses_or_doubles_a_metric(home, journals):
    draw = random.Random(0)
    environment = {name: value for name, value in os.environ.items() if name.startswith(("GANFLOW", "MLFLOW"))}
    told, deaths = {}, {train: 0, carry: 0}

    def run(function, *arguments) -> None:
        process = processes.Process(target=function, args=(environment, *arguments))
        process.start()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        deaths[function] += process.exitcode == -signal.SIGKILL

    for number in range(KILLS):
        run(train, draw.randrange(1600), number, home / "told")
        told[number] = int(([0, *(home / "told").read_text().split()])[-1])
        for _ in range(draw.randrange(3)):
            run(carry, draw.randrange(3000), journals)
    assert min(deaths.values()) > 0
    for path in journals.glob("*/progress.json"):
        os.utime(path, (0, 0))  # a step killed before its first word leaves a folder that goes after a minute
    deliver(journals)
    assert left(journals) == []
    runs = {int(run.data.params["number"]): run for run in all_runs() if run.data.params}
    assert len(runs) == len([run for run in all_runs() if run.data.params])
    for number, count in told.items():
        losses = sorted(points(runs[number], "loss")) if number in runs else []
        assert len(losses) in (count, count + 3), "killed after it had logged, and before it could tell"
        assert losses == [(step, float(step)) for step in range(len(losses))]
        assert number not in runs or runs[number].info.status in ("FINISHED", "KILLED")
