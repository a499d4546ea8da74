"""A run under `--placement one-pod`: its pod's command, as Kubeflow's launcher starts it, against `ganflow run`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from pipelines.package import pack
from pipelines.pipeline import CHECKOUT, find
from pipelines.placement import load_placement

PROFILE = "smoke"
OVERRIDES = ["digits.acquire.source=bundled", "digits.gan.iterations=400", "digits.gan.checkpoint_seconds=0.1"]
REPORT = "report"


class Pod:
    """Pods of one compiled run of one task: equal in all but their disks.

    Args:
        folder: for checkpoints and MLflow's store, which outlast a pod.
    """

    def __init__(self, folder: Path) -> None:
        image = f"registry.example/ganflow@sha256:{'5' * 64}"
        text = pack(find("digits"), None, PROFILE, OVERRIDES, load_placement("one-pod"), image).text
        specification = next(yaml.safe_load_all(text))
        (executor,) = specification["deploymentSpec"]["executors"].values()
        (task,) = specification["root"]["dag"]["tasks"].values()
        self.container = executor["container"]
        given = task["inputs"]["parameters"]
        self.parameters = {name: value["runtimeValue"]["constant"] for name, value in given.items()}
        self.checkpoints, self.folder = folder / "checkpoints", folder
        self.mlflow = MlflowClient(f"sqlite:///{folder}/pod.db")
        self.experiment = self.mlflow.create_experiment("digits")
        self.root = self.mlflow.create_run(self.experiment, run_name="digits").info.run_id
        tags = {"mlflow.parentRunId": self.root}
        self.run_id = self.mlflow.create_run(self.experiment, tags=tags, run_name="one-pod").info.run_id

    def start(self, disk: Path, **changed: str) -> "subprocess.Popen[str]":
        """The container's process on an empty disk, with what Kubeflow, its MLflow plugin and the placement set."""
        disk.mkdir()
        report = {"name": REPORT, "type": {"schemaTitle": "system.Artifact"}, "uri": str(disk / REPORT), "metadata": {}}
        told = {
            "inputs": {"parameterValues": self.parameters | changed},
            "outputs": {"artifacts": {REPORT: {"artifacts": [report]}}, "outputFile": str(disk / "outputs.json")},
        }
        arguments = [json.dumps(told) if each == "{{$}}" else each for each in self.container["args"]]
        mine = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
        environment = mine | {
            "PATH": f"{Path(sys.executable).parent}:{mine['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "HOME": str(disk),
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder}/pod.db",
            "MLFLOW_EXPERIMENT_ID": self.experiment,
            "MLFLOW_RUN_ID": self.run_id,
            "GANFLOW_HOME": str(disk / "ganflow"),
            "CHECKPOINT_URI": str(self.checkpoints),
        }
        return subprocess.Popen(
            [*self.container["command"], *arguments],
            cwd=disk,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def states(self) -> list[Path]:
        """Checkpoints of trainings."""
        return list(self.checkpoints.glob("*/*.state-*"))


def tree(client: MlflowClient, experiment: str) -> dict[str, str]:
    """Names of finished runs that are steps', and their parents."""
    found = client.search_runs([experiment], "tags.`ganflow.step` != '' and attributes.status = 'FINISHED'")
    return {run.info.run_name: run.data.tags["mlflow.parentRunId"] for run in found}


def digests(report: Path) -> dict[str, str]:
    """What every task of a run wrote."""
    steps = json.loads((report / "steps.json").read_text())
    return {
        f"{step['step']} {step['arguments']}": step["digest"] for step in steps if step["step"] != "register-digits"
    }


@pytest.fixture(scope="module")
def pod(tmp_path_factory):
    return Pod(tmp_path_factory.mktemp("pods"))


def test_another_checkouts_image_is_refused_before_anything_runs(pod, tmp_path):
    process = pod.start(tmp_path / "disk", code="0" * 64)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    last = printed.strip().splitlines()[-1]
    assert "ganflow: The code of digits in this image is not what the run was submitted with" in last
    assert not pod.states()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_pod_that_is_ended_and_its_next_attempt_write_what_a_run_on_this_machine_writes(pod, tmp_path, monkeypatch):
    first = pod.start(tmp_path / "first")
    while not pod.states():
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    printed, _ = first.communicate(timeout=300)
    assert first.returncode == 75, printed
    assert pod.mlflow.get_run(pod.run_id).info.status == "KILLED"
    assert pod.states()

    second = pod.start(tmp_path / "second")
    printed, _ = second.communicate(timeout=900)
    assert second.returncode == 0, printed

    local = tmp_path / "local"
    local.mkdir()
    monkeypatch.delenv("GANFLOW_JOURNALS")
    monkeypatch.setenv("GANFLOW_HOME", str(local / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{local}/mlflow.db")
    options = ["--profile", PROFILE, *(word for each in OVERRIDES for word in ("--set", each))]
    command = [sys.executable, "-m", "pipelines", "run", "digits", *options, "--out", str(local / REPORT)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)

    assert digests(tmp_path / "second" / REPORT) == digests(local / REPORT)
    for name in ("report.html", "metrics.json"):
        assert (tmp_path / "second" / REPORT / name).read_bytes() == (local / REPORT / name).read_bytes()

    here = MlflowClient(f"sqlite:///{local}/mlflow.db")
    theirs = tree(here, here.get_experiment_by_name("digits").experiment_id)
    ours = tree(pod.mlflow, pod.experiment)
    assert ours.keys() == theirs.keys()
    assert set(ours.values()) == {pod.run_id}
    whole = pod.mlflow.get_run(pod.run_id)
    assert whole.info.status == "FINISHED"
    assert whole.data.params["gan.iterations"] == "400"
    assert whole.data.metrics["inception_score/dcgan/complex/mean"] > 0
    assert "report.html" in [each.path for each in pod.mlflow.list_artifacts(pod.run_id)]
