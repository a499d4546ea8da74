"""Ctrl-C, SIGTERM and `kill -9`: commands end when they are told to, and nothing outlives them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from joblib import cpu_count
from mlflow import MlflowClient

GANFLOW = [sys.executable, "-m", "pipelines"]
RESUMABLE = "ganflow: interrupted; the same command goes on from the last checkpoints.\n"
ENDLESS_DATA = ["step", "cardiac", "simulate", "out=raw", "--set", "cardiac.simulate.patients=100000"]
TRAININGS = min(2, cpu_count())
"""Of E-GAN, which the smoke cohort trains four of, run at once."""


@pytest.fixture
def start(tmp_path):
    """Starts a process in an empty folder, in a session of its own; what it leaves behind is ended at last."""
    begun = []

    def run(*command, ignoring=()):
        def ignore():
            for each in ignoring:
                signal.signal(each, signal.SIG_IGN)

        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=ignore,
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.communicate()
        for each in psutil.process_iter(["environ"]):
            if (each.info["environ"] or {}).get("GANFLOW_HOME", "").startswith(str(tmp_path)):
                each.kill()


def catches(pid, number):
    """Whether a process has a handler for a signal."""
    (caught,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


def wait_until(condition, process, seconds=250):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def obeys(process):
    """Whether it has come so far as to obey signals: Python alone catches SIGINT, and only where it is not ignored."""
    return catches(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("ignoring", [[], [signal.SIGINT, signal.SIGTERM]], ids=["", "ignored by inheritance"])
@pytest.mark.parametrize("repetition", range(4))
def test_ctrl_c_at_any_moment_ends_a_command_in_one_sentence(start, repetition, ignoring):
    process = start(*GANFLOW, *ENDLESS_DATA, ignoring=ignoring)
    wait_until(lambda: obeys(process), process)
    time.sleep(random.uniform(0, 2))  # anywhere in its imports, or in the step
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert told in ("ganflow: interrupted.\n", RESUMABLE)


def test_ctrl_c_of_a_step_says_that_nothing_is_lost(start, tmp_path):
    process = start(*GANFLOW, *ENDLESS_DATA)
    wait_until(lambda: list(tmp_path.glob(".raw.*")), process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert (process.returncode, told) == (130, RESUMABLE)
    assert not list(tmp_path.glob("*raw*"))


def run_states(tmp_path):
    """The states of MLflow's runs of the cardiac pipeline: of the parents, of the tasks."""
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("cardiac")  # there is none yet where the run ended that early
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return [{run.info.status for run in some} for some in (parents, [run for run in runs if run not in parents])]


def training(tmp_path):
    """How many trainings have begun to compute."""
    progress = [path.read_text() for path in (tmp_path / "journals").glob("*/progress.json")]
    return sum('"total"' in text and '"total": 0' not in text for text in progress)


def egan(*settings):
    words = [word for each in settings for word in ("--set", f"cardiac.egan.{each}")]
    return ["run", "cardiac", "--profile", "smoke", *words]


ENDLESS = egan("generations=1000000", "epochs=1000000.0", "checkpoint_seconds=1000000")


@pytest.mark.slow
@pytest.mark.parametrize("ignoring", [[], [signal.SIGINT]], ids=["", "ignored by inheritance"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_ended_run_and_its_ended_tasks_are_killed_in_mlflow_and_their_checkpoints_are_kept(
    start, tmp_path, number, ignoring
):
    process = start(*GANFLOW, *ENDLESS, ignoring=ignoring)
    wait_until(lambda: training(tmp_path), process)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, number)  # as a terminal does: to everyone in the foreground
    _, told = process.communicate()
    assert process.returncode == 130
    assert told.endswith(RESUMABLE) and "Traceback" not in told
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert list((tmp_path / "home" / "checkpoints").glob("*/*"))
    parents, tasks = run_states(tmp_path)
    assert parents == {"KILLED"}
    assert tasks <= {"FINISHED", "KILLED"} and "KILLED" in tasks


def test_a_run_that_is_ended_before_its_first_task_leaves_nothing_running_in_mlflow(start, tmp_path):
    process = start(*GANFLOW, *ENDLESS)
    wait_until((tmp_path / "mlflow.db.lock").exists, process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert (process.returncode, told.splitlines()[-1] + "\n") == (130, RESUMABLE)
    parents, tasks = run_states(tmp_path)
    assert parents <= {"KILLED"}
    assert tasks <= {"FINISHED", "KILLED"}


STUBBORN = """
import sys

def main():
    from kfp import dsl
    from components.core.contract.component import component
    from components.core.signals import deferred
    from pipelines.runners import Watch, run_locally
    from pipelines.subprocesses import Subprocesses

    @component
    def sleep(told: str, out: dsl.Output[dsl.Artifact]):
        import os, signal, time
        from pathlib import Path
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(told).write_text(str(os.getpid()))
        time.sleep(10_000)

    @dsl.pipeline(name="stubborn")
    def pipeline():
        sleep(told=sys.argv[1])

    with deferred() as signals:
        run_locally(pipeline, Watch(), Subprocesses(), signals=signals)

if __name__ == "__main__":  # a task imports this file
    main()
"""


def test_a_second_ctrl_c_ends_a_run_and_its_tasks_at_once(start, tmp_path):
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    pid = tmp_path / "pid"
    process = start(sys.executable, "stubborn.py", str(pid))
    wait_until(lambda: pid.exists() and pid.read_text(), process)
    task = psutil.Process(int(pid.read_text()))
    process.send_signal(signal.SIGINT)
    for _ in range(3):
        time.sleep(0.2)
        assert process.poll() is None  # it waits for the task, which does not care
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert psutil.wait_procs([task], timeout=10)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)  # two whole runs
def test_a_run_killed_amid_two_trainings_leaves_no_orphan_and_goes_on_with_the_same_bytes(start, tmp_path):
    words = egan("generations=80", "epochs=80.0", "checkpoint_seconds=0.1")
    killed = start(*GANFLOW, *words)
    checkpoints = tmp_path / "home" / "checkpoints"
    wait_until(lambda: training(tmp_path) >= TRAININGS and len(list(checkpoints.glob("*/*"))) >= TRAININGS, killed)
    children = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.communicate()
    again = start(*GANFLOW, *words)
    assert psutil.wait_procs(children, timeout=120)[1] == []
    assert list(checkpoints.iterdir())
    _, told = again.communicate()
    assert again.returncode == 0, told
    assert "KILLED" in run_states(tmp_path)[0]
    resumed = outputs(tmp_path)

    alone = start("env", f"GANFLOW_HOME={tmp_path}/home-alone", *GANFLOW, *words)
    _, told = alone.communicate()
    assert alone.returncode == 0, told
    assert outputs(tmp_path) == resumed


def outputs(tmp_path):
    """The digest of what each task wrote."""
    steps = json.loads((tmp_path / "out" / "cardiac" / "steps.json").read_text())
    return {json.dumps([step["step"], step["arguments"]]): step["digest"] for step in steps}
