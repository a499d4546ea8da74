"""The digits pipeline in containers of a real engine, beside the same pipeline in subprocesses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from components.core.errors import UserError
from components.core.storage import digest_path
from components.core.telemetry import activities
from pipelines.containers import give_checkpoints
from pipelines.guard import RUN_LABEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # the first one waits for the image to be built

GANFLOW = Path(sys.executable).with_name("ganflow")
DIGITS = ["digits", "--profile", "smoke", "--set", "digits.acquire.source=bundled"]


class Place:
    """A folder in which runs happen, each with a state folder of its own."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder = folder
        self._image = image

    def start(self, home: str, *words: str) -> subprocess.Popen[str]:
        """`ganflow run`, under way."""
        environment = os.environ | {
            "GANFLOW_HOME": str(self.folder / home),
            "GANFLOW_IMAGE": self._image,
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/mlflow.db",  # a test before may have set another
        }
        environment.pop("GANFLOW_JOURNALS", None)
        command = [str(GANFLOW), "run", *words, "--out", f"{home}-out"]
        return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True)

    def run(self, home: str, *words: str) -> dict[str, dict]:
        """`ganflow run`, until it has succeeded; its tasks by title."""
        process = self.start(home, *words)
        _, told = process.communicate()
        assert process.returncode == 0, told
        steps = json.loads((self.folder / f"{home}-out" / "steps.json").read_text())
        return {" ".join([step["step"], *map(str, step["arguments"].values())]): step for step in steps}


@pytest.fixture(scope="module")
def place(engine, image, tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"), image)


@pytest.fixture(scope="module")
def in_subprocesses(place):
    return place.run("local", *DIGITS)


@pytest.fixture(scope="module")
def in_containers(place):
    return place.run("docker", *DIGITS, "--runner", "docker")


def containers(engine):
    """Containers of runs, running or not."""
    return engine.containers.list(all=True, filters={"label": RUN_LABEL})


def test_every_step_gives_the_bytes_that_it_gives_in_a_subprocess(in_subprocesses, in_containers):
    assert in_containers.keys() == in_subprocesses.keys()
    for title, step in in_containers.items():
        assert step["state"] == "done"
        for output in step["outputs"].values():
            assert digest_path(Path(output)) == step["digest"]
        other = in_subprocesses[title]
        assert (step["digest"], step["fingerprint"]) == (other["digest"], other["fingerprint"]), title


def test_mlflow_knows_the_image_and_the_commit_of_every_step_in_a_container(place, image, in_containers):
    client = MlflowClient(f"sqlite:///{place.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("digits").experiment_id
    runs = client.search_runs([experiment], f"tags.`ganflow.image` = '{image}'")
    expected = {step["digest"] for title, step in in_containers.items() if not title.startswith("register")}
    assert {run.data.tags["ganflow.output"] for run in runs} == expected
    assert all(len(run.data.tags["mlflow.source.git.commit"]) == 40 for run in runs)


def test_what_containers_write_belongs_to_the_user_or_for_root_to_the_images(in_containers):
    written = [Path(step["outputs"]["network"]) for title, step in in_containers.items() if "concept" in title]
    assert {path.stat().st_uid for path in written} == {os.getuid() or 10001}


def test_a_second_run_takes_everything_from_the_cache_whichever_runner_filled_it(place, in_containers):
    states = {title: step["state"] for title, step in place.run("docker", *DIGITS).items()}
    assert states.pop("register-digits") == "done"
    assert set(states.values()) == {"cached"}


def test_a_step_that_fails_in_its_container_tells_its_own_sentence(place, engine):
    (place.folder / "raw").mkdir()
    process = place.start("failing", "digits", "--data", "raw", "--profile", "smoke", "--runner", "docker")
    _, told = process.communicate()
    assert process.returncode == 1
    assert "prepare-digits failed: " in told and "Traceback" not in told
    assert containers(engine) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_ending_a_run_stops_its_hardened_containers_which_keep_their_checkpoints(place, engine, in_containers, ending):
    endless = ["iterations=1000000", "checkpoint_seconds=1000000"]
    words = [word for each in endless for word in ("--set", f"digits.gan.{each}", "--set", f"digits.dcgan.{each}")]
    process = place.start("docker", *DIGITS, *words, "--runner", "docker")
    while len(trainings := training(place)) < min(2, os.cpu_count() or 1):
        assert process.poll() is None
        time.sleep(0.1)
    for container in containers(engine):
        settings, config = container.attrs["HostConfig"], container.attrs["Config"]
        assert settings["ReadonlyRootfs"] and settings["CapDrop"] == ["ALL"]
        assert settings["ShmSize"] == psutil.virtual_memory().total // 2
        assert config["User"] not in ("", "0", "0:0")
    process.send_signal(ending)
    _, told = process.communicate()
    assert process.returncode == 130
    assert told.endswith("ganflow: interrupted; the same command goes on from the last checkpoints.\n")
    assert containers(engine) == []
    kept = {path.parent for path in (place.folder / "docker" / "checkpoints").glob("*/training.*.state-*")}
    assert len(kept) >= len(trainings)  # written because of the signal alone


def test_a_run_that_is_killed_leaves_no_container(place, engine, in_containers):
    endless = ["iterations=1000000", "checkpoint_seconds=1000000"]
    words = [word for each in endless for word in ("--set", f"digits.gan.{each}", "--set", f"digits.dcgan.{each}")]
    process = place.start("docker", *DIGITS, *words, "--set", "digits.gan.seed=1", "--runner", "docker")
    while not training(place):
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120
    while containers(engine):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_second_ctrl_c_ends_a_run_and_its_containers_at_once(place, engine, in_containers):
    stubborn = place.start("docker", *DIGITS, "--set", "digits.concept.updates=1000000", "--runner", "docker")
    while not containers(engine):
        assert stubborn.poll() is None
        time.sleep(0.1)
    for _ in range(2):
        stubborn.send_signal(signal.SIGINT)
        time.sleep(0.2)
    stubborn.communicate(timeout=20)
    assert stubborn.returncode == 130
    deadline = time.monotonic() + 30
    while containers(engine):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.skipif(os.getuid() != 0, reason="only root's containers run as another user")
def test_only_checkpoints_are_given_to_the_containers_user_and_a_folder_that_is_not_theirs_is_refused(tmp_path):
    others, fingerprint = tmp_path / "letter.txt", tmp_path / ("5" * 64)
    others.touch()
    fingerprint.mkdir()
    (fingerprint / "training").touch()
    with pytest.raises(UserError, match=rf"user 10001, who may not write to CHECKPOINT_URI={tmp_path}; `chown 10001:"):
        give_checkpoints(tmp_path, (10001, 10001))
    assert (fingerprint.stat().st_uid, others.stat().st_uid) == (0, 0)
    tmp_path.chmod(0o777)
    give_checkpoints(tmp_path, (10001, 10001))
    assert {path.stat().st_uid for path in (fingerprint, fingerprint / "training")} == {10001}
    assert (tmp_path.stat().st_uid, others.stat().st_uid) == (0, 0)
    give_checkpoints(tmp_path / "new", (10001, 10001))
    assert (tmp_path / "new").stat().st_uid == 10001


def training(place):
    """The trainings that are under way and have taken a step."""
    return [each.name for each in activities(place.folder / "docker" / "journals") if each.done]
