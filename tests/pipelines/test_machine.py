"""What runs at once: within the processors, the memory and the GPUs that there are."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.classification.params import ClassifyParams
from components.core.contract import TrainingSection
from pipelines.machine import Machine, Need, available_memory
from pipelines.pipeline import find
from pipelines.placement import needs_here

GIB = 2**30


def most_at_once(machine, needs):
    """How many of some tasks ran at once, and the environments they were given."""
    running, most, environments, lock = 0, 0, [], threading.Lock()

    def task(need):
        nonlocal running, most
        with machine.room_for(need) as environment:
            with lock:
                running += 1
                most = max(most, running)
                environments.append(environment)
            time.sleep(0.02)
            with lock:
                running -= 1

    with ThreadPoolExecutor(len(needs)) as pool:
        list(pool.map(task, needs))
    return most, environments


@pytest.mark.parametrize(
    ("machine", "need", "at_once"),
    [
        (Machine(4, 8 * GIB), Need(threads=1), 4),
        (Machine(4, 8 * GIB), Need(threads=2), 2),
        (Machine(4, 8 * GIB), Need(threads=3), 1),
        (Machine(4, 8 * GIB), Need(threads=16), 1),  # more than there is: alone
        (Machine(8, 3 * 2**20), Need(memory=2**20), 3),
        (Machine(8, 3 * 2**20), Need(memory=2**22), 1),
        (Machine(8, 8 * GIB, ["a", "b"]), Need(gpu=True), 2),
        (Machine(3, 8 * GIB), Need(gpu=True), 3),  # no GPU: nothing to share
    ],
)
def test_no_more_tasks_run_at_once_than_the_machine_holds(machine, need, at_once):
    most, _ = most_at_once(machine, [need] * 9)
    assert most <= at_once
    if at_once == 1:
        assert most == 1


@given(st.lists(st.builds(Need, st.integers(1, 9), st.integers(0, 2**20), st.booleans()), min_size=1, max_size=12))
def test_whatever_tasks_need_all_of_them_run_and_within_the_limits_or_alone(needs):
    machine, running, lock = Machine(4, 2**20, ["a", "b"]), [], threading.Lock()

    def task(need):
        with machine.room_for(need) as environment, lock:
            running.append(need)
            fits = sum(each.threads for each in running) <= 4 and sum(each.memory for each in running) <= 2**20
            right = (fits or len(running) == 1) and set(environment) == (
                {"CUDA_VISIBLE_DEVICES"} if need.gpu else set()
            )
            running.remove(need)
        return right

    with ThreadPoolExecutor(len(needs)) as pool:
        assert all(pool.map(task, needs))


def test_trainings_that_run_at_once_have_a_gpu_each():
    machine = Machine(8, 8 * GIB, ["GPU-1", "GPU-2"])
    with (
        machine.room_for(Need(gpu=True)) as first,
        machine.room_for(Need()) as none,
        machine.room_for(Need(gpu=True)) as second,
    ):
        assert {first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]} == {"GPU-1", "GPU-2"}
        assert none == {}
    with machine.room_for(Need(gpu=True)) as again:
        assert again["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def machine_of(tmp_path, *, environment=None, affinity=None):
    """What a new process sees of this machine: processors, GPUs."""
    program = "from pipelines.machine import Machine as M; m = M.this(); print(m.cpus, *m._gpus)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **(environment or {})},
        preexec_fn=(lambda: os.sched_setaffinity(0, affinity)) if affinity else None,
        capture_output=True,
        text=True,
        check=True,
    )
    cpus, *gpus = done.stdout.split()
    return int(cpus), gpus


def test_the_affinity_bounds_the_processors(tmp_path):
    assert machine_of(tmp_path, affinity={min(os.sched_getaffinity(0))})[0] == 1


def test_gpus_are_those_that_this_process_may_see(tmp_path):
    assert machine_of(tmp_path, environment={"CUDA_VISIBLE_DEVICES": "GPU-7, 3"})[1] == ["GPU-7", "3"]
    assert machine_of(tmp_path, environment={"CUDA_VISIBLE_DEVICES": "-1"})[1] == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU-aaaa\necho GPU-bbbb\n")
    tool.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        assert machine_of(tmp_path, environment=environment)[1] == ["GPU-aaaa", "GPU-bbbb"]


@pytest.fixture
def memory_cgroup():
    """A real cgroup of version 1 or 2, which processes can be put into and its memory limited."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        folder = root / f"ganflow-test-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / limit).write_text(str(256 * 2**20))
        except OSError:
            if folder.exists():
                folder.rmdir()
            continue
        yield folder
        folder.rmdir()
        return
    pytest.skip("no cgroup can be made here")


def test_the_cgroups_limit_bounds_the_memory(memory_cgroup):
    program = "from pipelines.machine import available_memory; print(available_memory())"
    command = f'echo $$ > {memory_cgroup}/cgroup.procs && exec "{sys.executable}" -c "{program}"'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 256 * 2**20
    assert 0 < available_memory() <= psutil.virtual_memory().total


def test_a_step_needs_its_threads_its_memory_and_if_it_trains_a_gpu():
    pipeline = find("cardiac")
    steps = pipeline.steps(pipeline.load("paper"))
    needs = needs_here(steps)
    assert needs["prepare"] == Need(1, GIB, False)
    section = steps["classify"][1]
    assert isinstance(section, ClassifyParams) and isinstance(section, TrainingSection)
    assert needs["classify"] == Need(section.threads, 2 * GIB, True)
    assert section.threads == 4
