"""The commands for a cluster, over HTTP, against a server that checks requests with Kubeflow's own models."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from kfp_server import kfp_server, parse
from recordings import recorded
from s3 import BUCKET
from typer.testing import CliRunner

from components.core.errors import UserError
from components.core.telemetry.tracking import Store
from pipelines import cancelling, data, following, freshness, submitting
from pipelines.cli import app
from pipelines.cluster import Cluster
from pipelines.package import Package, pack
from pipelines.pipeline import find
from pipelines.placement import load_placement
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
def put(server, tmp_path, monkeypatch):
    """Have a recorded run of a real Kubeflow, and MLflow's runs of it: `put(NAME, STATE, MLFLOW)`."""
    monkeypatch.setattr(cancelling, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(cancelling, "PLUGIN_SECONDS", 0.02)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")

    def put(name, state=None, mlflow="RUNNING"):
        run = parse(recorded(name), "V2beta1Run")
        if state:
            run.state, run.state_history = state, []
        run.finished_at = run.finished_at if run.state == "FAILED" else None
        with Store(f"sqlite:///{tmp_path}/mlflow.db").client() as client:
            top = client.create_run("0", run_name="cardiac").info.run_id
            loop, task = (
                client.create_run("0", run_name=each, tags={"mlflow.parentRunId": top}).info.run_id
                for each in ("for-loop-1", "train-egan")
            )
            client.set_terminated(loop, "FINISHED")
            client.set_tag(task, "mlflow.parentRunId", loop)
            if mlflow != "RUNNING":
                client.set_terminated(top, mlflow, int(run.finished_at.timestamp() * 1000))
        run.plugins_output["mlflow"].entries["root_run_id"].value = top
        server.runs[run.run_id], server.fates[run.run_id] = run, [run.state]
        return run.run_id

    return put


@pytest.fixture
def in_mlflow(tmp_path):
    """The states of MLflow's runs by name."""

    def states():
        with Store(f"sqlite:///{tmp_path}/mlflow.db").client() as client:
            return {run.info.run_name: run.info.status for run in client.search_runs(["0"])}

    return states


KILLED = {"cardiac": "KILLED", "for-loop-1": "FINISHED", "train-egan": "KILLED"}


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


def test_compile_writes_into_a_folder_that_is_not_there(drawing, tmp_path):
    drawing("compile", "digits", *SMOKE, "--image", IMAGE, "--out", "new/digits.yaml")
    assert (tmp_path / "new/digits.yaml").exists()


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


AWAY = (  # what a real plugin said (shared/kubeflow/answers/cli/away-a.txt)
    "MLflow request GET /api/2.0/mlflow/experiments/get-by-name failed: Get "
    '"http://mlflow.ganflow.svc.cluster.local:5000/api/2.0/mlflow/experiments/get-by-name?experiment_name=cardiac": '
    "dial tcp 10.96.92.77:5000: connect: connection refused"
)


def test_a_run_is_started_when_mlflow_is_back(server, ganflow, version, monkeypatch):
    monkeypatch.setattr(submitting, "PAUSE_SECONDS", 0)
    server.plugin_failures = [AWAY, AWAY]
    done = ganflow("submit", "digits", "--version", "v1")
    assert (done.exit_code, len(server.runs)) == (0, 1)
    assert "\nMLflow: http://localhost:5000/#/experiments/3/runs/" in done.stdout
    assert done.stderr == "ganflow: Kubeflow cannot reach MLflow; trying for 180 s …\n"


@pytest.mark.parametrize(
    "problem",
    [
        AWAY,
        'MLflow config resolution failed; run creation will continue: secrets "kfp-mlflow-credentials" not found',
        "MLflow API error (HTTP 401, UNAUTHENTICATED): You are not authenticated.",
    ],
)
def test_nothing_is_started_that_mlflow_would_not_record(server, ganflow, version, monkeypatch, problem):
    monkeypatch.setattr(submitting, "OUTAGE_SECONDS", -1)
    server.plugin_failures = [problem]
    refused = ganflow("submit", "digits", "--version", "v1").exception
    assert (refused.exit_code, server.runs) == (2, {})
    assert str(refused) == (
        f"Nothing was started, for MLflow would record nothing of it: Kubeflow's plugin says '{problem.rstrip('.')}'. "
        "Mend that (`kubectl -n ganflow get pods` shows MLflow's), then submit again."
    )


def test_what_a_kubeflow_without_the_plugin_leaves_out_is_told(server, ganflow, version):
    server.plugin = False
    done = ganflow("submit", "digits", "--version", "v1")
    assert done.exit_code == 0
    assert "this Kubeflow has no plugin for MLflow: nothing of the run is recorded" in done.stderr


def commands(package):
    """The commands of all containers, which are in the keys of Kubeflow's cache."""
    specification = next(iter(yaml.safe_load_all(package)))
    executors = specification["deploymentSpec"]["executors"].values()
    return [each["container"]["command"] for each in executors]


def test_a_fresh_run_shares_no_key_of_the_cache_with_former_ones_and_later_runs_share_its(server, drawing):
    drawing("submit", "digits", *SMOKE)
    drawing("submit", "digits", *SMOKE, "--fresh")
    old, fresh = server.versions.values()
    since = fresh.tags["fresh"]
    assert fresh.description == f"{old.description}; fresh {since}"
    before, after = (commands(server.packages[each.name]) for each in (old, fresh))
    assert [[*each[:-1], f"{each[-1]}\n# fresh {since}\n"] for each in before] == after
    assert "is there already" in drawing("submit", "digits", *SMOKE)
    newest = max(server.runs.values(), key=lambda run: run.created_at)
    assert newest.pipeline_version_reference.pipeline_version_id == fresh.pipeline_version_id
    drawing("submit", "digits", *SMOKE, "--set", "digits.dcgan.batch_size=4")
    changed = list(server.versions.values())[2]
    assert commands(server.packages[changed.name]) == after


@pytest.mark.parametrize("emptied", [True, False])
def test_a_submission_says_that_the_cache_names_results_that_are_gone(
    server, ganflow, version, s3, monkeypatch, emptied
):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    package = Package("digits", "v2", server.packages["v1"], f"parameters smoke; placement cpu; image {IMAGE}", {}, {})
    Cluster(server.address).upload(package)
    ganflow("submit", "digits", "--version", "v2")
    (run_id,) = server.runs
    ganflow("status", run_id, "--wait")
    monkeypatch.setattr(freshness, "LAUNCHER", Path("launcher.yaml"))
    Path("launcher.yaml").write_text(f"data: {{defaultPipelineRoot: 's3://{BUCKET}/pipelines-{emptied}'}}")
    if not emptied:
        s3.client().put_object(Bucket=BUCKET, Key=f"pipelines-False/digits/{run_id}/acquire/0/raw", Body=b"1")
    done = ganflow("submit", "digits", "--version", "v2")
    assert done.exit_code == 0, done.exception
    told = f"ganflow: what {run_id} computed is gone from S3, but Kubeflow's cache may still hand it out;"
    assert (told in done.stderr) == emptied


def test_what_runs_in_one_pod_has_no_part_in_the_cache(server, ganflow, version, s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    text = pack(find("digits"), None, "smoke", [], load_placement("one-pod"), IMAGE).text
    description = f"parameters smoke; placement one-pod; image {IMAGE}"
    each_its_own = Package("digits", "v2", server.packages["v1"], description.replace("one-pod", "cpu"), {}, {})
    for package in (each_its_own, Package("digits", "one", text, description, {}, {})):
        Cluster(server.address).upload(package)
    monkeypatch.setattr(freshness, "LAUNCHER", Path("launcher.yaml"))
    Path("launcher.yaml").write_text(f"data: {{defaultPipelineRoot: 's3://{BUCKET}/pipelines-gone'}}")
    ganflow("submit", "digits", "--version", "one")
    (run_id,) = server.runs
    ganflow("status", run_id)
    details = server.runs[run_id].run_details.task_details
    next(each for each in details if each.display_name == "train-dcgan").display_name = "one-pod"
    server.fates[run_id] = ["SUCCEEDED"]
    assert "gone from S3" not in ganflow("submit", "digits", "--version", "v2").stderr
    server.runs.pop(run_id)
    (run_id,) = server.runs
    ganflow("status", run_id)
    assert "gone from S3" not in ganflow("submit", "digits", "--version", "one").stderr
    assert "gone from S3" in ganflow("submit", "digits", "--version", "v2").stderr


@pytest.mark.parametrize("words", [(), ("--namespace", "team")])
def test_the_commands_that_are_told_are_for_the_runs_namespace(server, ganflow, put, words, monkeypatch):
    monkeypatch.setattr(cancelling, "PATIENCE_SECONDS", 0.05)
    told = ganflow("cancel", put("run-terminated", "CANCELING"), *words).stdout
    assert f"`kubectl -n {'team' if words else 'kubeflow'} get workflows,pods" in told


def test_the_tasks_of_a_paused_step_keep_their_pods_and_are_not_cached(server, drawing):
    printed = drawing("submit", "digits", *SMOKE, "--pause", "train-dcgan")
    (package,) = server.packages.values()
    specification = next(iter(yaml.safe_load_all(package)))
    paused = {
        name.removeprefix("exec-")
        for name, each in specification["deploymentSpec"]["executors"].items()
        if {"name": "ARGO_DEBUG_PAUSE_AFTER", "value": "true"} in each["container"]["env"]
    }
    dags = [specification["root"], *specification["components"].values()]
    tasks = [task for each in dags for task in each.get("dag", {}).get("tasks", {}).values()]
    uncached = {
        task["componentRef"]["name"].removeprefix("comp-")
        for task in tasks
        if not task.get("cachingOptions", {}).get("enableCache")
    }
    assert paused == {"train-dcgan"}
    assert "train-dcgan" in uncached and "train-gan" not in uncached
    assert "touch /var/run/argo/ctr/main/after" in printed


def test_an_unknown_step_to_pause_is_a_sentence(server, ganflow):
    told = str(ganflow("submit", "digits", *SMOKE, "--pause", "train").exception)
    assert told.startswith("There is no step 'train'; choose one of acquire, prepare-digits,")


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
    told = str(ganflow("submit", "colour", "--version", version.name).exception)
    assert told == f"Version {version.name} of colour reads data of yours; give --data."


@pytest.mark.parametrize("from_checkout", [True, False])
def test_a_schedules_runs_have_its_data_though_kubeflow_passes_them_none(server, ganflow, stored, from_checkout):
    ganflow("submit", "colour", *SMOKE, "--data", "s3://photographs/a")
    (general,) = server.versions.values()
    words = SMOKE if from_checkout else ("--version", general.name)
    for cron in ("0 3 * * *", "0 4 * * *"):
        done = ganflow("schedule", "colour", *words, "--data", "s3://photographs/c", "--cron", cron)
        assert done.exit_code == 0, done.exception
    (schedule,) = server.recurring_runs.values()
    assert schedule.runtime_config is None
    tick = server.tick(schedule.recurring_run_id)
    bound = server.versions[tick.pipeline_version_reference.pipeline_version_id]
    assert set(server.versions) == {general.pipeline_version_id, bound.pipeline_version_id}
    assert re.fullmatch(f"{general.name}-[0-9a-f]{{8}}", bound.name)
    assert bound.description == (f"{general.description}; data s3://photographs/c; digest digest of s3://photographs/c")
    assert bound.tags == general.tags
    inputs = bound.pipeline_spec["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    assert {name: each.pop("defaultValue") for name, each in inputs.items()} == {
        "data": "s3://photographs/c",
        "digest": "digest of s3://photographs/c",
    }
    for each in inputs.values():
        assert each.pop("isOptional") and each == {"parameterType": "STRING"}
    for each in general.pipeline_spec["pipeline_spec"]["root"]["inputDefinitions"]["parameters"].values():
        assert each == {"parameterType": "STRING"}
    assert bound.pipeline_spec["platform_spec"] == general.pipeline_spec["platform_spec"]


def test_a_schedule_without_the_data_that_its_version_reads_is_refused(server, ganflow, stored):
    ganflow("submit", "colour", *SMOKE, "--data", "s3://photographs/a")
    (version,) = server.versions.values()
    told = str(ganflow("schedule", "colour", "--version", version.name, "--cron", "0 3 * * *").exception)
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


def test_an_upload_that_fails_is_told_with_the_place_where_the_reason_stands(server, ganflow):
    server.uploads_broken = True
    told = str(ganflow("submit", "digits", *SMOKE).exception)
    assert told == (
        f"Kubeflow Pipelines at {server.address} fails (500: Failed to create a pipeline version); try again, or see "
        "its log: `kubectl -n kubeflow logs deployment/ml-pipeline`."
    )


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


def test_a_schedule_that_was_deleted_from_kubernetes_by_hand_can_be_ended(server, ganflow, version):
    ganflow("schedule", "digits", "--version", "v1", "--cron", "0 3 * * *")
    server.vanished |= server.recurring_runs.keys()
    done = ganflow("schedule", "digits", "--stop")
    assert (done.exit_code, done.stdout) == (0, "Schedule digits ended.\n"), done.exception
    assert server.recurring_runs == {}


def test_a_cancelled_run_ends_with_all_its_runs_in_mlflow(server, ganflow, put, in_mlflow):
    run_id = put("run-terminated", "RUNNING")
    done = ganflow("cancel", run_id)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [f"Run {run_id} has ended: cancelled.", "MLflow: 2 of its runs ended as KILLED."]
    assert server.runs[run_id].state == "FAILED"
    assert in_mlflow() == KILLED


def test_a_run_that_was_cancelled_elsewhere_is_settled_in_mlflow(ganflow, put, in_mlflow):
    run_id = put("run-terminated", mlflow="FAILED")
    done = ganflow("cancel", run_id)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, f"Run {run_id} has ended before: CANCELED.")
    assert in_mlflow() == KILLED
    assert ganflow("cancel", run_id).stdout.splitlines() == [f"Run {run_id} has ended before: CANCELED."]


def test_a_run_that_is_being_cancelled_is_waited_for(server, ganflow, put):
    run_id = put("run-terminated", "CANCELING")
    server.fates[run_id] = ["CANCELING", "CANCELING", "FAILED"]
    assert ganflow("cancel", run_id).stdout.startswith(f"Run {run_id} has ended: cancelled.")


def test_a_run_that_was_done_before_it_could_be_ended_is_not_called_cancelled(server, ganflow, put):
    run_id = put("run-terminated", "RUNNING")
    server.end = ["CANCELING", "SUCCEEDED"]
    assert ganflow("cancel", run_id).stdout.startswith(f"Run {run_id} has ended: it succeeded before")


def test_a_run_whose_workflow_is_gone_is_ended_in_mlflow_and_told_to_stay_in_kubeflow(server, ganflow, put, in_mlflow):
    run_id = put("run-schedule-tick-deleted-stays-running")
    server.vanished.add(run_id)
    done = ganflow("cancel", run_id)
    assert done.exit_code == 0, done.exception
    assert done.stdout.splitlines()[0] == (
        f"The workflow of run {run_id} is gone, deleted with its schedule or by hand; nothing of it runs, but Kubeflow "
        f"will show it as CANCELING for ever. Archive it there: {server.address}/#/runs/details/{run_id}"
    )
    assert in_mlflow() == KILLED


def test_a_run_that_never_ends_is_not_waited_for_for_ever(server, ganflow, put, in_mlflow, monkeypatch):
    monkeypatch.setattr(cancelling, "PATIENCE_SECONDS", 0.05)
    run_id = put("run-schedule-tick-deleted-stays-running", "CANCELING")
    assert f"Run {run_id} is still CANCELING: its pods do not stop, or" in ganflow("cancel", run_id).stdout
    assert in_mlflow() == KILLED


def test_where_mlflow_is_away_a_cancelled_run_says_so_with_exit_code_1(ganflow, put, monkeypatch):
    run_id = put("run-terminated", "RUNNING")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = ganflow("cancel", run_id)
    assert done.stdout.splitlines() == [f"Run {run_id} has ended: cancelled."]
    assert done.exception.exit_code == 1
    assert re.fullmatch(
        r"MLflow at http://127\.0\.0\.1:9 cannot be used; start it or set MLFLOW_TRACKING_URI \(.*\)\. "
        f"MLflow may have open runs of it until `ganflow cancel {run_id}` is run again.",
        str(done.exception),
    )


def test_to_cancel_an_unknown_run_is_refused(server, ganflow):
    refused = ganflow("cancel", "0000").exception
    told = f"Kubeflow Pipelines at {server.address} refuses: Run 0000 not found."
    assert (refused.exit_code, str(refused)) == (2, told)


@pytest.mark.parametrize("words", [("--stop",), ("--version", "v1", "--cron", "0 4 * * *")])
def test_a_run_of_a_schedule_that_is_ended_or_replaced_goes_on_to_its_end(server, ganflow, version, words):
    ganflow("schedule", "digits", "--version", "v1", "--cron", "0 3 * * *")
    (old,) = server.recurring_runs
    server.tick(old).state = "SUCCEEDED"
    run = server.tick(old)
    done = ganflow("schedule", "digits", *words)
    assert done.stdout.splitlines()[1:] == [f"Its run {run.run_id} goes on; `ganflow cancel {run.run_id}` ends it."]
    assert old not in server.recurring_runs
    assert ganflow("status", run.run_id, "--wait").exit_code == 0
    assert server.runs[run.run_id].state == "SUCCEEDED"


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
