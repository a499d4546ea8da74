"""The commands for a cluster, over HTTP, against a server that checks requests with Kubeflow's own models."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from kfp_server import kfp_server, parse
from recordings import recorded
from typer.testing import CliRunner

from components.core.errors import UserError
from pipelines import data, following
from pipelines.cli import app
from pipelines.cluster import Cluster
from pipelines.package import Package
from pipelines.status import Observer

CHECKOUT = Path(__file__).parents[2]
IMAGE = f"registry.example/ganflow@sha256:{'5' * 64}"
SMOKE = ("--profile", "smoke")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setenv("GANFLOW_IMAGE", IMAGE)
    for name in ("KF_PIPELINES_TOKEN", "KF_PIPELINES_NAMESPACE", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", "/dev/null")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with kfp_server(fate=["succeeded-gpu-quota-partly-cached"]) as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
        yield server


@pytest.fixture
def version(server):
    """A version v1 of the digits pipeline, as it was uploaded to a real Kubeflow."""
    (pipeline,) = (
        each["pipeline_spec"]["pipeline_spec"]
        for each in recorded("pipeline-versions")["pipeline_versions"]
        if each["display_name"].endswith("8e5727ef")
    )
    text = f"{json.dumps(pipeline)}\n---\nplatforms: {{}}\n"
    package = Package("digits", "v1", text, "by hand", {"placement": "gpu"}, {})
    return Cluster(server.address).upload(package)


@pytest.fixture
def ganflow(monkeypatch, tmp_path):
    """Runs the command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def drawing(tmp_path):
    """Runs the command in a process of its own: kfp looks up every caller while it draws, and a test's has many."""

    def run(*words):
        command = [Path(sys.executable).with_name("ganflow"), *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    return run


class Elsewhere(BaseHTTPRequestHandler):
    """A login page."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Who are you?</html>")


def commit():
    words = ["git", "rev-parse", "HEAD"]
    return subprocess.run(words, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout[:12]


def test_a_submitted_pipeline_is_a_version_named_by_the_commit_and_a_run_in_its_experiments(server, drawing):
    printed = drawing("submit", "cardiac", *SMOKE, "--set", "cardiac.egan.gamma=0.5", "--placement", "gpu")
    (pipeline,), (version,) = server.pipelines.values(), server.versions.values()
    (experiment,), (run,) = server.experiments.values(), server.runs.values()
    assert (pipeline.name, experiment.display_name) == ("cardiac", "cardiac")
    assert re.fullmatch(f"{commit()}(-changed)?-[0-9a-f]{{8}}", version.name)
    named, _, _ = version.name.rpartition("-")
    assert version.tags == {"commit": named, "profile": "smoke", "placement": "gpu"}
    assert version.description == f"parameters smoke; cardiac.egan.gamma=0.5; placement gpu; image {IMAGE}"
    assert run.plugins_input == {"mlflow": {"experiment_name": "cardiac"}}
    assert run.pipeline_version_reference.pipeline_version_id == version.pipeline_version_id
    assert run.experiment_id == experiment.experiment_id
    assert run.service_account == "pipeline-runner"
    assert f"{server.address}/#/runs/details/{run.run_id}" in printed
    assert "MLflow: http://localhost:5000/#/experiments/" in printed


def test_what_is_uploaded_is_what_compile_writes(server, drawing, tmp_path):
    drawing("submit", "digits", *SMOKE)
    drawing("compile", "digits", *SMOKE)
    (package,) = server.packages.values()
    assert package == (tmp_path / "digits.yaml").read_text()


def test_an_equal_version_is_used_again_and_another_parameter_makes_another(server, drawing):
    drawing("submit", "digits", *SMOKE)
    assert "is there already" in drawing("submit", "digits", *SMOKE)
    assert (len(server.versions), len(server.runs)) == (1, 2)
    drawing("submit", "digits", *SMOKE, "--set", "digits.dcgan.batch_size=4")
    assert (len(server.versions), len(server.pipelines), len(server.experiments)) == (2, 1, 1)


def test_an_uploaded_version_runs_by_its_name_without_an_image(server, ganflow, version, monkeypatch):
    monkeypatch.delenv("GANFLOW_IMAGE")
    assert ganflow("submit", "digits", "--version", "v1").exit_code == 0
    (run,) = server.runs.values()
    assert run.pipeline_version_reference == version.reference
    told = str(ganflow("submit", "digits", "--version", "v1", *SMOKE).exception)
    assert told == "A --version has its parameters already; leave out --profile and --set."


@pytest.fixture
def stored(monkeypatch):
    """Stands in for what `resolve` finds on an S3 server; tests/pipelines/test_data.py has real ones."""
    monkeypatch.setattr(data, "resolve", lambda given, **_: data.Source(given, f"digest of {given}"))


def test_raw_data_are_parameters_of_the_run_and_other_data_no_other_version(server, ganflow, stored):
    for folder in ("s3://photographs/a", "s3://photographs/b"):
        assert ganflow("submit", "colour", *SMOKE, "--data", folder).exit_code == 0
    (version,) = server.versions.values()
    assert [run.runtime_config.parameters for run in server.runs.values()] == [
        {"data": "s3://photographs/a", "digest": "digest of s3://photographs/a"},
        {"data": "s3://photographs/b", "digest": "digest of s3://photographs/b"},
    ]
    ganflow("schedule", "colour", "--version", version.name, "--data", "s3://photographs/c", "--cron", "0 3 * * *")
    (schedule,) = server.recurring_runs.values()
    assert schedule.runtime_config.parameters["data"] == "s3://photographs/c"
    told = str(ganflow("submit", "colour", "--version", version.name).exception)
    assert told == f"Version {version.name} of colour reads data of yours; give --data."


def test_a_version_that_brings_its_data_takes_no_others(server, ganflow, version, stored):
    told = str(ganflow("submit", "digits", "--version", "v1", "--data", "s3://digits").exception)
    assert told == "Version v1 of digits brings its own data; leave --data out."


def test_a_folder_of_this_machine_is_refused(server, ganflow, tmp_path):
    told = str(ganflow("submit", "cardiac", *SMOKE, "--data", str(tmp_path)).exception)
    assert told.startswith(f"A cluster cannot read {tmp_path}; `dvc add` and `dvc push` it to an S3 remote")
    assert server.versions == {}


def test_waiting_tells_of_each_task_and_ends_well_with_a_run_that_succeeds(server, ganflow, version):
    done = ganflow("submit", "digits", "--version", "v1", "--wait")
    assert done.exit_code == 0, done.output
    assert "= acquire: cached" in done.stderr
    assert "✓ train-dcgan label=6: done (94.0 s)" in done.stderr
    assert "driver" not in done.stderr
    assert done.stdout.splitlines()[-1].startswith("Succeeded: http://127.0.0.1")


def test_waiting_outlasts_a_server_that_fails_for_a_while(server, ganflow, version):
    ganflow("submit", "digits", "--version", "v1")
    (run_id,) = server.runs
    observer = Observer(Cluster(server.address), run_id)
    server.broken = 3
    assert following.follow(observer).state == "SUCCEEDED"


def test_waiting_gives_up_on_a_server_that_stays_away(server, ganflow, monkeypatch):
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.05)
    observer = Observer(Cluster(server.address), "some-run")
    server.broken = 10**6
    with pytest.raises(UserError, match=r"fails \(500: Internal Server Error\)"):
        following.follow(observer)


def test_a_schedule_runs_a_version_at_cron_times_with_mlflows_experiment(server, ganflow, version):
    done = ganflow("schedule", "digits", "--version", "v1", "--cron", "30 3 * * 1")
    assert done.exit_code == 0, done.output
    (schedule,) = server.recurring_runs.values()
    assert schedule.display_name == "digits"
    assert schedule.trigger.cron_schedule.cron == "0 30 3 * * 1"
    assert schedule.pipeline_version_reference == version.reference
    assert schedule.plugins_input == {"mlflow": {"experiment_name": "digits"}}
    assert (schedule.mode, schedule.max_concurrency, schedule.no_catchup) == ("ENABLE", "1", True)


def test_a_schedule_of_the_same_name_is_replaced_and_can_be_ended(server, ganflow, version):
    ganflow("schedule", "digits", "--version", "v1", "--cron", "0 3 * * *")
    (first,) = server.recurring_runs
    assert "Schedule digits replaced" in ganflow("schedule", "digits", "--version", "v1", "--cron", "0 4 * * *").output
    assert len(server.recurring_runs) == 1 and first not in server.recurring_runs
    assert ganflow("schedule", "digits", "--stop").exit_code == 0
    assert server.recurring_runs == {}
    refused = ganflow("schedule", "digits", "--stop").exception
    assert str(refused) == f"There is no schedule 'digits' at {server.address}."


@pytest.mark.parametrize("cron", [None, "daily", "0 0 3 * * 1"])
def test_cron_has_five_fields(server, ganflow, cron):
    words = ["--cron", cron] if cron else []
    assert "the five fields minute, hour, day" in str(ganflow("schedule", "digits", *SMOKE, *words).exception)


def test_a_refused_token_is_a_sentence_and_the_right_one_passes(server, ganflow, monkeypatch):
    server.token = "right"
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "wrong")
    told = str(ganflow("status").exception)
    assert told == (
        f"{server.address} refuses the token (401: Request header error: there is no user identity); "
        "set KF_PIPELINES_TOKEN to a valid one."
    )
    monkeypatch.setenv("KF_PIPELINES_TOKEN", "right")
    assert ganflow("status").exit_code == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "127.0.0.1:9", "http://nowhere.invalid"])
def test_a_wrong_host_is_a_sentence(server, ganflow, address):
    told = str(ganflow("status", "--host", address).exception)
    assert re.fullmatch("There is no Kubeflow Pipelines at http.*; check --host or KF_PIPELINES_ENDPOINT.", told)


def test_a_host_that_is_something_else_is_a_sentence(server, ganflow):
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as other, ThreadPoolExecutor(1) as pool:
        pool.submit(other.handle_request)
        address = f"http://127.0.0.1:{other.server_port}"
        told = str(ganflow("status", "--host", address).exception)
    assert told == f"There is no Kubeflow Pipelines at {address}; check --host or KF_PIPELINES_ENDPOINT."


def test_no_host_is_a_sentence(server, ganflow, monkeypatch):
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    told = str(ganflow("submit", "digits", *SMOKE).exception)
    assert told == "Give --host or KF_PIPELINES_ENDPOINT the address of Kubeflow Pipelines."


def test_an_unknown_version_is_a_sentence_that_names_the_known(server, ganflow, version):
    told = str(ganflow("submit", "cardiac", "--version", "old").exception)
    assert told == f"There is no version 'old' of cardiac at {server.address}; none was submitted yet."
    told = str(ganflow("submit", "digits", "--version", "old").exception)
    assert told == f"There is no version 'old' of digits at {server.address}; the newest are v1."


def test_an_unknown_run_is_a_sentence(server, ganflow):
    told = str(ganflow("status", "0000").exception)
    assert told == f"Kubeflow Pipelines at {server.address} refuses: Run 0000 not found."


def test_a_server_of_several_users_asks_for_a_namespace(server, ganflow):
    server.multi_user = True
    told = str(ganflow("status").exception)
    assert told == f"{server.address} serves several namespaces; give --namespace yours."
    assert ganflow("submit", "digits", *SMOKE, "--namespace", "team").exit_code == 0
    assert {each.namespace for each in server.experiments.values()} == {"team"}


def test_the_server_refuses_what_the_models_do_not_know():
    with pytest.raises(Exception, match='unknown field "plugin_input"'):
        parse({"display_name": "x", "plugin_input": {}}, "V2beta1Run")
    with pytest.raises(Exception, match=r"invalid value for V2beta1RecurringRun\.max_concurrency"):
        parse({"max_concurrency": 1}, "V2beta1RecurringRun")
