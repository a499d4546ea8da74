import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components.core.contract import read_yaml

GANFLOW = Path(sys.executable).with_name("ganflow")


@pytest.fixture
def ganflow(tmp_path):
    """Runs the command in an empty folder."""

    def run(*words):
        environment = os.environ | {"GANFLOW_HOME": str(tmp_path / "home")}
        return subprocess.run([GANFLOW, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "cardiac.egan.gama=1"], "cardiac.egan.gama: unknown parameter; did you mean 'gamma'?"),
        (["--set", "cardiac.egan.gamma=-1"], "cardiac.egan.gamma: must be ≥ 0, got -1"),
        (
            ["--set", "cardiac.simgan.buffer_size=1"],
            "cardiac.simgan: buffer_size must be at least half of batch_size.",
        ),
        (
            ["--set", "cardiac.synthesize.ratio=2"],
            "cardiac: synthesize.ratio must be at least the largest ratio in use, 5.",
        ),
        (["--set", "cardiac.egan.betas=[0.5,1.0]"], "cardiac.egan.betas.1: must be < 1, got 1.0"),
        (["--set", "gamma=1"], "Cannot read the override 'gamma=1'; write cardiac.SECTION.NAME=VALUE."),
        (["--profile", "huge"], "There is no profile 'huge'; choose one of default, smoke, paper."),
        (["--data", "nowhere"], "There is no folder nowhere; give --data the folder that holds the raw data."),
    ],
)
def test_a_bad_option_ends_in_one_sentence_before_anything_is_written(ganflow, tmp_path, words, message):
    done = ganflow("run", "cardiac", *words)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"ganflow: {message}\n", "")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_pipeline_and_an_unknown_step_list_the_known_ones(ganflow):
    told = ganflow("run", "heart").stderr
    assert told == "ganflow: There is no pipeline 'heart'; choose one of cardiac, digits, colour.\n"
    assert "choose one of simulate, prepare, train-egan" in ganflow("step", "cardiac", "bake", "out=x").stderr


def test_a_step_asks_for_names_values_and_an_output_folder(ganflow):
    for words in (["fold"], ["fold=0"], ["out=a", "out=b"]):
        done = ganflow("step", "cardiac", "train-egan", *words)
        assert done.returncode == 2
        assert "NAME=VALUE" in done.stderr and "Traceback" not in done.stderr


def test_a_list_input_may_be_an_absolute_pattern(ganflow, tmp_path):
    done = ganflow("step", "cardiac", "evaluate", f"folds={tmp_path}/none-*", "out=report")
    assert done.stderr == f"ganflow: Nothing matches {tmp_path}/none-*; run the steps that write there first.\n"


@pytest.mark.parametrize("words", [["image", "build"], ["run", "digits", "--runner", "docker"]])
def test_what_needs_a_docker_engine_says_so_before_anything_is_written(ganflow, tmp_path, monkeypatch, words):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere")
    done = ganflow(*words)
    assert done.returncode == 2
    assert "ganflow: No Docker engine answers; start one or set DOCKER_HOST" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(ganflow):
    done = ganflow("--debug", "run", "cardiac", "--profile", "huge")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_help_lists_the_commands(ganflow):
    text = ganflow("--help").stdout
    assert all(command in text for command in ("run", "compile", "submit", "schedule", "status", "step", "params"))


def test_params_written_are_the_profiles(ganflow, tmp_path):
    shown = ganflow("params", "cardiac", "--profile", "smoke", "--set", "cardiac.egan.gamma=0.25").stdout
    (tmp_path / "params.yaml").write_text(shown)
    values = read_yaml(tmp_path / "params.yaml")["cardiac"]
    assert (values["egan"]["gamma"], values["prepare"]["folds"]) == (0.25, [0, 1])


def test_compiling_twice_gives_the_same_yaml(ganflow, tmp_path):
    image = f"ganflow@sha256:{'5' * 64}"
    for name in ("a.yaml", "b.yaml"):
        assert ganflow("compile", "cardiac", "--image", image, "--out", name).returncode == 0
    text = (tmp_path / "a.yaml").read_text()
    assert text == (tmp_path / "b.yaml").read_text()
    assert all(f"exec-{name}:" in text for name in ("simulate", "train-egan", "refine", "classify", "register"))


def test_a_step_runs_from_any_folder(ganflow, tmp_path):
    done = ganflow("step", "cardiac", "simulate", "out=raw", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "raw" / "labels.csv").exists()


def test_a_failed_task_of_a_run_tells_its_own_sentence(ganflow, tmp_path):
    raw = tmp_path / "raw"
    ganflow("step", "cardiac", "simulate", "out=raw", "--profile", "smoke")
    images = sorted((raw / "images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:-100])
    images[1].unlink()
    done = ganflow("run", "cardiac", "--data", "raw", "--profile", "smoke")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"images/{images[0].name}: " in done.stderr
    assert f"images/{images[1].name}: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_of_a_step_is_told_in_a_sentence(tmp_path):
    words = ["step", "cardiac", "simulate", "out=raw", "--set", "cardiac.simulate.patients=100000"]
    process = subprocess.Popen([GANFLOW, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / ".raw.partial").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert told == "ganflow: interrupted; the same command goes on from the last checkpoints.\n"


@pytest.mark.parametrize("ending", ["SIGTERM to the run", "Ctrl-C in its terminal"])
def test_an_ended_run_lets_its_trainings_write_their_checkpoints(tmp_path, ending):
    endless = ["generations=1000000", "epochs=1000000.0", "checkpoint_seconds=1000000"]
    words = [word for each in endless for word in ("--set", f"cardiac.egan.{each}")]
    process = subprocess.Popen(
        [GANFLOW, "run", "cardiac", "--profile", "smoke", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not any("1000000" in path.read_text() for path in (tmp_path / "journals").glob("*/progress.json")):
        assert process.poll() is None
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    if ending == "SIGTERM to the run":
        process.terminate()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everyone in the foreground
    _, told = process.communicate()
    assert process.returncode == 130
    assert told.endswith("ganflow: interrupted; the same command goes on from the last checkpoints.\n")
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert list((tmp_path / "home" / "checkpoints").glob("*/training"))
