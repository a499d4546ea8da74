import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from components.core.contract import read_yaml

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def ganflow(tmp_path):
    """Runs the command in an empty folder."""

    def run(*words, **variables):
        environment = os.environ | {"GANFLOW_HOME": str(tmp_path / "home")} | variables
        return subprocess.run(
            [sys.executable, "-m", "pipelines", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

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
            "cardiac: synthesize.ratio must be at least the largest ratio in use, 4.",
        ),
        (
            ["--set", "cardiac.sweep.ratios=[3]"],
            "cardiac: sweep.ratios must have another ratio than classify.ratios.egan, 3.",
        ),
        (
            ["--set", "cardiac.sweep.images=[refined]", "--set", "cardiac.sweep.ratios=[4]"],
            "cardiac: sweep.ratios must have another ratio than classify.ratios.simgan, 4.",
        ),
        (["--set", "cardiac.egan.betas=[0.5,1.0]"], "cardiac.egan.betas.1: must be < 1, got 1.0"),
        (
            ["--set", "cardiac.egan.gamma=[0.5"],
            "cardiac.egan.gamma: the value [0.5 is not valid YAML; quote or close what is open.",
        ),
        (["--set", "gamma=1"], "Cannot read the override 'gamma=1'; write cardiac.SECTION.NAME=VALUE."),
        (["--profile", "huge"], "There is no profile 'huge'; choose one of default, smoke, paper."),
        (["--data", "nowhere"], "There is no folder nowhere; give --data the folder that holds the raw data."),
        (
            ["--out", "/proc/version"],
            "The output cannot be written to /proc/version, which is a file; give a folder that is new or empty.",
        ),
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
    done = ganflow("step", "cardiac", "evaluate", f"replicates={tmp_path}/none-*", "out=report")
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
    assert done.stdout.startswith("simulate wrote raw (digest ")


def test_a_failed_task_of_a_run_tells_its_own_sentence(ganflow, tmp_path):
    raw = tmp_path / "raw"
    ganflow("step", "cardiac", "simulate", "out=raw", "--profile", "smoke")
    images = sorted((raw / "images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:-100])
    images[1].unlink()
    done = ganflow("run", "cardiac", "--data", "raw", "--profile", "smoke")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"images/{images[0].name}: " in done.stderr
    assert f"images/{images[1].name}: " in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_command_and_the_package_are_the_same_program():
    scripts = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"ganflow": "pipelines.__main__:main"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("profiles:\n", "profiles:\nothers:\n", "There is no profile 'smoke'; choose one of default."),
        ("  smoke:\n", "  smoke:\n  others:\n", None),
        ("  smoke:\n", "  smoke: 5\n  others:\n", "params.yaml: smoke: must hold names and their values, got 5"),
        ("profiles:\n", "- a\n", "params.yaml is not valid YAML: "),
    ],
    ids=["no profiles", "an empty profile", "a profile that is a number", "a list among names"],
)
def test_a_params_file_with_something_missing_is_told_in_a_sentence(ganflow, tmp_path, old, new, message):
    text = (CHECKOUT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    done = ganflow("params", "cardiac", "--profile", "smoke")
    assert done.returncode == (2 if message else 0)
    assert done.stderr.startswith(f"ganflow: {message}" if message else "") and "Traceback" not in done.stderr


def test_params_in_json_are_those_in_yaml(ganflow, tmp_path):
    shown = ganflow("params", "digits", "--json").stdout
    (tmp_path / "shown.yaml").write_text(ganflow("params", "digits").stdout)
    assert json.loads(shown) == read_yaml(tmp_path / "shown.yaml")


@pytest.mark.parametrize("where", ["state folder", "current folder", "output"])
def test_a_folder_that_cannot_be_written_to_is_told_in_a_sentence(ganflow, tmp_path, where):
    (tmp_path / "file").touch()
    variables = {"state folder": {"GANFLOW_HOME": f"{tmp_path}/file/home"}, "current folder": {}, "output": {}}[where]
    if where == "current folder":
        variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/file/mlflow.db"
    variables["GANFLOW_JOURNALS"] = ""
    words = ["--out", f"{tmp_path}/file/out"] if where == "output" else []
    done = ganflow("run", "cardiac", "--profile", "smoke", *words, **variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("ganflow: ") and f"{tmp_path}/file" in line


@pytest.mark.slow
def test_a_full_disk_is_told_in_a_sentence_and_the_next_start_works(ganflow, small_disk, tmp_path):
    variables = {"GANFLOW_HOME": f"{small_disk}/home", "GANFLOW_JOURNALS": ""}
    filling = small_disk / "filling"
    filling.write_bytes(bytes(3_900_000))
    words = ["run", "cardiac", "--profile", "smoke", "--set", "cardiac.simulate.patients=40"]
    done = ganflow(*words, **variables)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr and "ganflow: " in done.stderr, done.stderr
    assert "make room" in done.stderr
    assert not (tmp_path / "out").exists()
    subprocess.run(["mount", "-o", "remount,size=400m", small_disk], check=True)
    assert ganflow(*words, **variables).returncode == 0
    assert (tmp_path / "out" / "cardiac" / "report.html").exists()


@pytest.mark.slow
def test_a_run_tells_scripts_in_json_and_people_in_plain_words_whatever_its_folder_is_called(ganflow, tmp_path):
    words = ["run", "digits", "--profile", "smoke", "--set", "digits.acquire.source=bundled", "--out"]
    done = ganflow(*words, "results [v2]")
    assert done.returncode == 0, done.stderr
    assert "Report: results [v2]/report.html" in done.stdout
    told = ganflow(*words, "[/v2] :x:", "--json")
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert facts.keys() == {"state", "run_id", "tracking_uri", "url", "report", "metrics", "steps"}
    assert (facts["state"], facts["report"]) == ("FINISHED", f"{tmp_path}/[/v2] :x:/report.html")
    assert {step["state"] for step in facts["steps"]} == {"cached", "done"}
    assert json.loads((tmp_path / "[/v2] :x:" / "steps.json").read_text()) == facts["steps"]
    (tmp_path / "results [v2]" / "notes.txt").write_text("mine")
    refused = ganflow(*words, "results [v2]")
    assert refused.returncode == 2
    assert "notes.txt, which this ganflow did not write" in refused.stderr
    assert (tmp_path / "results [v2]" / "plots").is_dir()


def test_a_failed_run_is_told_to_scripts_too(ganflow, tmp_path):
    (tmp_path / "raw [v2]").mkdir()
    done = ganflow("run", "digits", "--profile", "smoke", "--data", "raw [v2]", "--json")
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert (facts["state"], facts["report"]) == ("FAILED", None)
    assert [(step["step"], step["state"]) for step in facts["steps"]] == [("prepare-digits", "failed")]
    assert "ganflow: prepare-digits failed: " in done.stderr


def test_no_password_of_the_tracking_server_is_written_or_shown(ganflow, tmp_path):
    variables = {"MLFLOW_TRACKING_URI": "http://somebody:secret-word@127.0.0.1:9", "GANFLOW_JOURNALS": ""}
    done = ganflow("run", "cardiac", "--profile", "smoke", **variables)
    assert done.returncode == 2
    assert "secret-word" not in done.stderr + done.stdout
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"secret-word" in path.read_bytes()]
