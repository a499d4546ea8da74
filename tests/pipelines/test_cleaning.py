"""`ganflow clean`: what it finds, what it leaves alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kfp import dsl

from components.core.contract.component import component
from components.core.contract.turns import turn
from pipelines import cleaning
from pipelines.runners import Watch, run_locally
from pipelines.subprocesses import Subprocesses

DAY = 86400


@component
def write(text: str, out: dsl.Output[dsl.Artifact]):
    """Write a file."""
    from pathlib import Path

    Path(out.path).write_text(text)


def run(text):
    @dsl.pipeline(name="text")
    def pipeline():
        write(text=text)

    watch = Watch()
    run_locally(pipeline, watch, Subprocesses())
    return watch.tasks[0]


@pytest.fixture
def home(tmp_path):
    """A state folder with something of every kind, and journals that are to be delivered."""
    home = tmp_path / "home"
    for name in (
        "kfp/runs/one/task/out",
        "logs/train.log",
        "data/5555/image.png",
        "downloads/mnist.gz",
        f"checkpoints/{'5' * 64}/training",
        "journals/set-aside/1/journal.db",
        "journals/2/journal.db",
        "kfp/cache/.kfp_cache_1.tmp",
        "digests.sqlite",
        "locks/7",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("12345")
    return home


def ganflow(*words, said=""):
    command = [sys.executable, "-m", "pipelines", "clean", *words]
    return subprocess.run(command, input=said, capture_output=True, text=True, check=False)


def files(home):
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def age(home, days):
    for path in home.rglob("*"):
        os.utime(path, (time.time() - days * DAY,) * 2)


def test_it_says_what_and_how_much_and_asks(home):
    before = files(home)
    done = ganflow(said="n\n")
    assert done.returncode == 0
    for kind in cleaning.KINDS:
        assert f"0.0 MB      1  {kind}" in done.stdout
    assert files(home) >= before


def test_where_nobody_can_be_asked_it_removes_nothing_and_says_so(home):
    before = files(home)
    done = ganflow()
    assert done.returncode == 2
    assert done.stderr.endswith("ganflow: Nothing was removed, for there is nobody here to ask; say --yes.\n")
    assert files(home) >= before


def test_it_removes_what_nobody_uses_and_nothing_else(home):
    assert ganflow("--yes").returncode == 0
    assert files(home) - {"kfp/lock"} == {"journals/2/journal.db", "digests.sqlite", "locks/7"}
    assert "nothing to remove" in ganflow("--yes").stdout


def test_what_is_younger_stays(home):
    age(home, days=6)
    assert "nothing to remove" in ganflow("--yes", "--older-than", "7d").stdout
    assert "Freed" in ganflow("--yes", "--older-than", "5d").stdout
    assert ganflow("--older-than", "soon").stderr == (
        "ganflow: soon is no duration; write a whole number and s, m, h or d, such as 90s or 12h.\n"
    )


def test_nothing_goes_that_a_living_run_uses_and_no_checkpoint_of_a_living_step(home, tmp_path):
    with cleaning.results_in_use():
        ganflow("--yes")
    assert {"kfp/runs/one/task/out", "data/5555/image.png", "downloads/mnist.gz", "logs/train.log"} <= files(home)
    checkpoint = home / "checkpoints" / ("5" * 64) / "training"
    assert not checkpoint.exists()
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with turn("5" * 64, tmp_path / "out"):
        ganflow("--yes")
        assert checkpoint.exists()
    ganflow("--yes")
    assert not checkpoint.exists()
    assert not (home / "locks" / ("5" * 64)).exists()


def test_a_link_out_of_the_state_folder_is_not_followed(home, tmp_path):
    outside = tmp_path / "outside" / "precious"
    outside.parent.mkdir()
    outside.write_text("mine")
    (home / "data" / "link").symlink_to(outside.parent)
    for path in (home / "downloads").iterdir():
        path.unlink()
    (home / "downloads").rmdir()
    (home / "downloads").symlink_to(outside.parent)
    ganflow("--yes")
    assert outside.read_text() == "mine"


def test_results_that_a_later_run_used_are_not_old_and_the_cache_forgets_those_that_go(tmp_path):
    first = run("a")
    age(tmp_path / "home", days=9)
    assert run("a").state == "cached"
    assert {item.kind for item in cleaning.find(7 * DAY)} == set()
    age(tmp_path / "home", days=9)
    cleaning.remove(cleaning.find(7 * DAY))
    assert not Path(first.outputs["out"]).exists()
    assert list((tmp_path / "home" / "kfp" / "cache").glob("*.json")) == []
    assert run("a").state == "done"
