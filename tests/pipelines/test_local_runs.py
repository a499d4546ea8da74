import os
from pathlib import Path

import pytest
from kfp import dsl

from components.core.contract.component import component
from pipelines.machine import Need
from pipelines.runners import Watch, run_locally
from pipelines.subprocesses import Subprocesses


@component
def write(text: str, out: dsl.Output[dsl.Artifact]):
    """Write a file, unless it is poison."""
    from pathlib import Path

    if text == "poison":
        raise ValueError("this text is poison")
    Path(out.path).write_text(text)


@component
def copy(source: dsl.Input[dsl.Artifact], out: dsl.Output[dsl.Artifact]):
    """Copy a file."""
    from pathlib import Path

    Path(out.path).write_text(Path(source.path).read_text())


@component
def meet(number: int, folder: str, out: dsl.Output[dsl.Artifact]):
    """Write which GPU is this task's, and how many others run within its two seconds."""
    import os
    import time
    from pathlib import Path

    here, met = Path(folder, str(number)), set()
    here.touch()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        met |= {path.name for path in here.parent.iterdir() if path != here}
        time.sleep(0.05)
    here.unlink()
    Path(out.path).write_text(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {len(met)}")


@component
def await_another(number: int, folder: str):
    """Wait until the other task runs, too."""
    import time
    from pathlib import Path

    Path(folder, str(number)).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(folder).glob("[12]"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run(*texts):
    @dsl.pipeline(name="texts")
    def pipeline():
        with dsl.ParallelFor(list(texts)) as text:
            copy(source=write(text=text).outputs["out"])

    watch = Watch()
    run_locally(pipeline, watch, Subprocesses())
    return watch


def states(watch):
    return {task.title: task.state for task in watch.tasks if task.step == "write"}


def test_what_is_unchanged_comes_from_the_cache_and_what_is_new_is_computed():
    assert states(run("a")) == {"write text=a": "done"}
    assert states(run("a", "b")) == {"write text=a": "cached", "write text=b": "done"}


def test_nothing_follows_a_failure_and_the_failed_task_keeps_what_it_printed(capfd):
    watch = run("poison")
    assert [(task.title, task.state) for task in watch.tasks] == [("write text=poison", "failed")]
    assert watch.failed()[0].printed[-1] == "ValueError: this text is poison"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("loops", [False, True])
def test_a_task_that_cannot_even_be_started_has_failed_and_says_why(monkeypatch, loops):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Subprocesses, "_start", refuse)
    watch = run("a", "b") if loops else run("a")
    assert watch.failed()
    assert watch.failed()[0].printed == ["builtins.OSError: [Errno 28] No space left on device"]


def test_outputs_lie_where_the_watch_says():
    outputs = [Path(task.outputs["out"]) for task in run("a").tasks]
    assert [path.read_text() for path in outputs] == ["a", "a"]


@pytest.mark.parametrize("text", ["2024", "1.5"])
def test_texts_that_look_like_numbers_stay_texts(text):
    assert states(run(text)) == {f"write text={text}": "done"}


@pytest.fixture
def two_meet(tmp_path):
    """Runs two tasks that might run at once, of the same need; the GPU of each, and how many others each met."""
    folder = tmp_path / "running"
    folder.mkdir()

    def run(need):
        @dsl.pipeline(name="meetings")
        def pipeline():
            with dsl.ParallelFor([1, 2]) as number:
                meet(number=number, folder=str(folder))

        watch = Watch()
        run_locally(pipeline, watch, Subprocesses(), needs={"meet": need}.__getitem__)
        return sorted(Path(task.outputs["out"]).read_text().split() for task in watch.tasks)

    return run


@pytest.fixture
def one_processor():
    """As `taskset` and a container's cpuset give it, whatever the machine has."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_processor")
def test_tasks_run_one_at_a_time_where_there_is_one_processor(two_meet):
    assert [met for _, met in two_meet(Need())] == ["0", "0"]


@pytest.mark.skipif(os.cpu_count() < 2, reason="one processor runs one task at a time")
@pytest.mark.parametrize("loop", [True, False])
def test_tasks_that_do_not_hang_on_each_other_run_at_once(loop, tmp_path):
    @dsl.pipeline(name="meetings")
    def pipeline():
        if loop:
            with dsl.ParallelFor([1, 2]) as number:
                await_another(number=number, folder=str(tmp_path))
        else:
            await_another(number=1, folder=str(tmp_path))
            await_another(number=2, folder=str(tmp_path))

    watch = Watch()
    run_locally(pipeline, watch, Subprocesses())
    assert [task.state for task in watch.tasks] == ["done", "done"]


def test_tasks_that_need_every_processor_run_one_at_a_time(two_meet):
    assert [met for _, met in two_meet(Need(threads=os.cpu_count()))] == ["0", "0"]


def test_tasks_that_need_a_gpu_run_one_at_a_time_where_there_is_one(two_meet, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7")
    assert [met for _, met in two_meet(Need(gpu=True))] == ["0", "0"]


def test_a_task_sees_its_own_gpu_alone(two_meet, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7,GPU-8")
    assert {gpu for gpu, _ in two_meet(Need(gpu=True))} <= {"GPU-7", "GPU-8"}
