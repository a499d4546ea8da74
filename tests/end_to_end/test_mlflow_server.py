"""A tracking server as teams have it: PostgreSQL, artifacts in S3, users with passwords; and how it is missed."""

import contextlib
import json
import os
import random
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow_server
import numpy as np
import postgres
import pytest
import torch
from crowd import Crowd
from crowd_task import points
from mlflow import MlflowClient
from mlflow.entities import Run
from registrars import register_at_once
from s3 import BUCKET
from workplace import BIN

from components.core.errors import UserError
from components.core.telemetry import Journal
from components.core.telemetry.courier import Courier
from components.core.telemetry.tracking import ModelVersion, open_pipeline_run, register_model

TASKS, PODS = 32, 8
OUTAGE_SECONDS = 3.0
"""The server's start comes on top; tests/benchmarks/outage.py takes a whole minute, and a pod for every task."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server(tmp_path_factory, s3):
    """A server that the environment leads to."""
    if not postgres.is_installed():
        pytest.skip("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        with mlflow_server.mlflow_server(tmp_path_factory.mktemp("mlflow"), s3) as server:
            for name, value in server.environment().items():
                patch.setenv(name, value)
            mlflow.set_tracking_uri(server.url)  # a test before may have set another, which wins
            yield server
            mlflow.set_tracking_uri(None)


def run_digits(folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"GANFLOW_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"} | given
    environment.pop("GANFLOW_JOURNALS", None)
    command = [BIN / "ganflow", "run", "digits", "--profile", "smoke", "--set", "digits.acquire.source=bundled"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


class TestAtTheDoor:
    def test_a_wrong_password_ends_the_command_with_a_sentence_before_any_work(self, server, tmp_path, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        done = run_digits(tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr == (
            f"ganflow: MLflow at {server.url} refuses the user or the password; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.\n"
        )
        assert not list(tmp_path.rglob("*.*"))

    def test_so_does_no_password(self, server, monkeypatch):
        monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
        monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
        with pytest.raises(UserError, match="refuses the user or the password; set MLFLOW_TRACKING_USERNAME"):
            open_pipeline_run("digits", "digits", {}, {})

    def test_so_does_a_name_the_server_does_not_answer_to(self, server, monkeypatch):
        address = server.url.replace("127.0.0.1", "localhost")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(UserError, match=f"start it with {address[7:]} among its --allowed-hosts"):
            open_pipeline_run("digits", "digits", {}, {})

    def test_so_does_an_experiment_of_somebody_else(self, server, monkeypatch):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
        with pytest.raises(UserError, match="does not permit the user this; ask its administrator"):
            open_pipeline_run("digits", "digits", {}, {})


@pytest.fixture(scope="module")
def place(server, tmp_path_factory):
    """A run whose user and password are in the server's address."""
    folder = tmp_path_factory.mktemp("digits")
    uri = server.url.replace("://", f"://{mlflow_server.USER}:{mlflow_server.PASSWORD}@")
    done = run_digits(folder, MLFLOW_TRACKING_URI=uri, MLFLOW_TRACKING_USERNAME="", MLFLOW_TRACKING_PASSWORD="")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "printed").write_text(done.stdout)
    (folder / "complaints").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def steps(place):
    return json.loads((place / "out/digits/steps.json").read_text())


@pytest.fixture(scope="module")
def client(server):
    return MlflowClient(server.url)


@pytest.fixture(scope="module")
def runs(place, client):
    """The parent's run, and its tasks'."""
    experiment = client.get_experiment_by_name("digits")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return parent, [run for run in runs if run is not parent]


class TestPipeline:
    """What a run of the digits' pipeline left on the server."""

    def test_its_runs_are_one_tree(self, runs, steps):
        parent, tasks = runs
        assert {run.data.tags["mlflow.parentRunId"] for run in tasks} == {parent.info.run_id}
        assert Counter(run.data.tags["ganflow.step"] for run in tasks) == Counter(step["step"] for step in steps)
        assert {run.data.tags["ganflow.output"] for run in tasks} == {step["digest"] for step in steps}
        assert {run.info.status for run in (parent, *tasks)} == {"FINISHED"}
        assert parent.data.params["gan.iterations"] == "10"
        assert parent.data.metrics.keys() >= {"inception_score/dcgan/complex/mean", "ceiling/simple"}

    def test_every_point_of_a_training_is_there(self, runs, client):
        _, tasks = runs
        for run in tasks:
            if run.data.tags["ganflow.step"] == "train-gan":
                history = client.get_metric_history(run.info.run_id, "generator_loss")
                assert sorted(point.step for point in history) == list(range(1, 11))

    def test_training_and_model_name_the_dataset_they_come_from(self, runs, client):
        _, tasks = runs
        datasets = {run.info.run_name: [each.dataset for each in run.inputs.dataset_inputs] for run in tasks}
        (dataset,) = datasets["train-dcgan label=all replicate=0"]
        assert dataset.name == "training part"
        assert client.get_model_version("digit-generator", "1").tags["origin"].startswith(dataset.digest)

    def test_artifacts_lie_in_the_bucket_and_are_read_through_the_server(self, runs, client, place, s3, tmp_path):
        parent, _ = runs
        path = client.download_artifacts(parent.info.run_id, "report.html", tmp_path)
        report = (place / "out/digits/report.html").read_bytes()
        assert Path(path).read_bytes() == report
        key = f"{mlflow_server.PREFIX}/{parent.info.experiment_id}/{parent.info.run_id}/artifacts/report.html"
        assert s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() == report

    def test_the_champion_is_registered_and_works(self, runs, client):
        model = client.get_registered_model("digit-generator")
        assert {name: int(version) for name, version in model.aliases.items()} == {"challenger": 1, "champion": 1}
        assert "highest inception_score" in model.description
        version = client.get_model_version("digit-generator", "1")
        assert version.tags["ganflow.metric"] == "inception_score"
        assert version.description == f"{float(version.tags['ganflow.value']):.4g} inception_score; the first"
        assert version.run_id in {run.info.run_id for run in runs[1]}
        generator = mlflow.pyfunc.load_model("models:/digit-generator@champion")
        assert generator.predict(np.zeros((2, 100), np.float32)).shape == (2, 1, 28, 28)

    def test_the_last_words_lead_to_the_server_and_tell_no_password(self, runs, server, place):
        parent, _ = runs
        printed = (place / "printed").read_text()
        page = f"{server.url}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}?"
        assert page in printed.replace("\n", "")

    def test_the_password_is_nowhere(self, place, client, runs):
        for path in place.rglob("*"):
            assert not path.is_file() or mlflow_server.PASSWORD.encode() not in path.read_bytes(), path
        version = client.get_model_version("digit-generator", "1")
        told = [version.tags, version.description, version.source, *(run.to_dictionary() for run in runs[1])]
        assert mlflow_server.PASSWORD not in str(told)


class TestRefusals:
    """What the server refuses one journal."""

    def test_hold_up_no_other_and_are_told_once(self, server, client, tmp_path, monkeypatch, caplog):
        monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path))
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "refusals")
        with Journal.open("older", {}, {}, "f" * 64, {}) as older:
            older.metrics({"loss": 1.0}, 0)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")  # somebody else's
        refused = pytest.raises(UserError, match="does not permit the user this; ask its administrator")
        with Courier(tmp_path), Journal.open("newer", {}, {}, "f" * 64, {}) as newer, refused:
            newer.run_id()
        assert (older.folder.exists(), newer.folder.exists()) == (False, True)
        (run,) = client.search_runs([client.get_experiment_by_name("refusals").experiment_id])
        assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})
        with Courier(tmp_path):
            pass
        assert len([each for each in caplog.records if "permit" in each.getMessage()]) == 1

    def test_a_wrong_password_is_told_and_the_right_one_delivers(self, server, client, tmp_path, monkeypatch):
        monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path))
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "passwords")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
            refused = pytest.raises(UserError, match="refuses the user or the password; set MLFLOW_TRACKING_USERNAME")
            with Courier(tmp_path), Journal.open("step", {}, {}, "f" * 64, {}) as journal, refused:
                journal.run_id()
        with Courier(tmp_path):
            pass
        assert not journal.folder.exists()
        assert len(client.search_runs([client.get_experiment_by_name("passwords").experiment_id])) == 1


class TestRegistrationsAtOnce:
    PROCESSES, ROUNDS = 8, 3

    def test_the_best_is_champion_and_says_whom_it_followed(self, server, client, tmp_path):
        draw = random.Random(0)
        rounds = [draw.sample(range(1, 100), self.PROCESSES) for _ in range(self.ROUNDS)]
        register_at_once(tmp_path, [list(own) for own in zip(*rounds, strict=True)], "crowd-{}".format)
        for number, values in enumerate(rounds):
            versions = {int(each.version): each for each in client.search_model_versions(f"name = 'crowd-{number}'")}
            assert sorted(float(each.tags["ganflow.value"]) for each in versions.values()) == sorted(values)
            champion = int(client.get_registered_model(f"crowd-{number}").aliases["champion"])
            assert float(versions[champion].tags["ganflow.value"]) == max(values)
            assert {each.tags["ganflow.gate"] for each in versions.values()} == {"settled"}
            while before := versions[champion].tags.get("ganflow.previous_champion"):
                better, champion = champion, int(before)
                assert float(versions[champion].tags["ganflow.value"]) < float(versions[better].tags["ganflow.value"])


@dataclass(frozen=True)
class Outage:
    """What was there when the server went away for a while, and how it ended."""

    crowd: Crowd
    exit_codes: list[int]
    registered: ModelVersion
    runs: list[Run]


@pytest.fixture(scope="module")
def outage(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outage")
    crowd, network = Crowd(folder, TASKS, PODS), torch.nn.Linear(3, 2)
    with contextlib.ExitStack() as context:
        context.enter_context(pytest.MonkeyPatch.context()).setenv("GANFLOW_JOURNALS", str(folder / "journals"))
        context.enter_context(Courier(folder / "journals"))
        journal = context.enter_context(Journal.open("register", {}, {}, "f" * 64, {}))
        pool = context.enter_context(ThreadPoolExecutor())
        journal.run_id()

        def register():
            return register_model(journal, "linear", network, torch.zeros(1, 3), metric="accuracy", value=0.5, tags={})

        begun = []
        codes = crowd.run_through_outage(server, OUTAGE_SECONDS, lambda: begun.append(pool.submit(register)))
        registered = begun[0].result()
    return Outage(crowd, codes, registered, crowd.runs(server))


class TestOutage:
    """Many tasks log at once when the server goes away, and a model is registered while it is."""

    def test_no_task_fails(self, outage):
        assert outage.exit_codes == [0] * TASKS

    def test_every_task_has_one_run_that_says_all(self, outage):
        assert sorted(int(run.data.params["number"]) for run in outage.runs) == list(range(TASKS))
        for run in outage.runs:
            number = int(run.data.params["number"])
            assert run.info.status == "FINISHED"
            assert run.data.params["gamma"] == "0.5"
            assert run.data.tags["ganflow.fingerprint"] == run.data.tags["ganflow.output"] == f"{number:064x}"
            assert [each.dataset.name for each in run.inputs.dataset_inputs] == [f"part {number}"]

    def test_every_point_is_there_once(self, outage, server):
        for run in outage.runs:
            assert outage.crowd.losses(server, run) == points(int(run.data.params["number"]))

    def test_every_artifact_is_in_the_bucket(self, outage, s3):
        for run in outage.runs:
            for folder in ("early", "late"):
                number = run.data.params["number"]
                root = f"{mlflow_server.PREFIX}/{run.info.experiment_id}/{run.info.run_id}/artifacts"
                kept = s3.client().get_object(Bucket=BUCKET, Key=f"{root}/{folder}/note-{number}.txt")
                assert kept["Body"].read().decode() == f"of {number}"

    def test_the_model_is_registered_once_the_server_is_back(self, outage, server):
        assert (outage.registered.version, outage.registered.champion) == (1, True)
        client = MlflowClient(server.url)
        (version,) = client.search_model_versions("name = 'linear'")
        run = client.get_run(version.run_id)
        assert (run.data.tags["ganflow.step"], run.info.status) == ("register", "FINISHED")
        assert len(run.outputs.model_outputs) == 1
