from pathlib import Path

import pytest
from kfp import dsl

from components.core.contract.component import component
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
