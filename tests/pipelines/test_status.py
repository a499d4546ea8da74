"""What is told of runs on a cluster: recorded answers of a real Kubeflow, its plugin's runs in a real MLflow, `kubectl`
and S3 themselves."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from deliveries import wait_until
from kfp_server import kfp_server
from kube_api import kube_api
from plugin import Plugin
from recordings import recorded
from typer.testing import CliRunner

from components.core.errors import UserError
from components.core.telemetry import Journal
from components.core.telemetry.courier import Courier
from components.core.telemetry.tracking import Store, open_pipeline_run
from pipelines import following
from pipelines.cli import app
from pipelines.cluster import Cluster
from pipelines.logs import choose
from pipelines.package import pack
from pipelines.pipeline import find
from pipelines.placement import load_placement
from pipelines.status import Observer

AWAY = "http://127.0.0.1:9"

IMAGE = f"registry.example/ganflow@sha256:{'5' * 64}"

CARDIAC = [
    "simulate",
    "prepare",
    *(f"train-egan fold={fold} label={label}" for fold in (0, 1) for label in ("non-patient", "patient")),
    *(f"synthesize fold={fold}" for fold in (0, 1)),
    *(f"refine fold={fold}" for fold in (0, 1)),
    *(
        f"classify fold={fold} network={network} training_set={name}"
        for fold in (0, 1)
        for network in ("resnet50", "xception")
        for name in ("none", "classic", "egan", "simgan")
    ),
    *(f"sweep fold={fold} network={network}" for fold in (0, 1) for network in ("resnet50", "xception")),
    *(f"gather fold={fold}" for fold in (0, 1)),
    "evaluate",
    "register",
]
"""The tasks of the recorded cardiac runs, as a local run calls them."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", AWAY)
    for name in ("KF_PIPELINES_TOKEN", "KF_PIPELINES_NAMESPACE", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    with kfp_server() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.address)
        yield server


@pytest.fixture(autouse=True)
def kube(monkeypatch, tmp_path):
    """A cluster that lets nobody read workflows, until a test has it."""
    with kube_api(tmp_path) as kube:
        kube.forbidden = True
        monkeypatch.setenv("KUBECONFIG", str(kube.kubeconfig))
        yield kube


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A SQLite store with MLflow's tables, whose making takes seconds."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    with Store(f"sqlite:///{path}").client() as client:
        client.search_experiments()
    return path


@pytest.fixture
def mlflow(tmp_path, tables, monkeypatch, server):
    """MLflow, where Kubeflow's plugin made the run of a pipeline."""
    shutil.copyfile(tables, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return Plugin(uri, "pipeline")


@pytest.fixture
def ganflow(monkeypatch, tmp_path):
    """Runs the command in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


@pytest.fixture
def step(tmp_path, monkeypatch):
    """A step in a pod of the cluster: it tells what it does in the run that it is told, and is delivered."""

    @contextmanager
    def begun(run_id, name, out="", retry=0, **arguments):
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        monkeypatch.setenv("KFP_RETRY_INDEX", str(retry))
        with Courier(tmp_path / "journals"), Journal.open(name, {}, arguments, "f" * 64, {}) as journal:
            if out:
                journal.tags({"ganflow.out": out})
            yield journal

    return begun


def reports_to(server, run_id, plugin):
    """Have a recorded run report to a test's own MLflow."""
    for answer in server.recordings[run_id]:
        entries = answer["plugins_output"]["mlflow"]["entries"]
        entries["root_run_id"]["value"], entries["experiment_id"]["value"] = plugin.root, plugin.experiment


def states(told):
    """State by title, of the lines that are of tasks."""
    lines = [line for line in told.splitlines() if line[:1] in "✗?▸·■–✓="]
    return {line[2:].partition(":")[0]: line.partition(": ")[2] for line in lines}


def test_a_run_has_a_line_for_each_task_of_its_version_though_kubeflow_tells_only_the_first(server, ganflow):
    told = ganflow("status", server.replay("succeeded")).output
    found = states(told)
    assert list(found) == CARDIAC
    assert found["train-egan fold=0 label=patient"] == "done (29.0 s)"
    assert {each.partition(" ")[0] for each in found.values()} == {"done"}
    assert told.splitlines()[0] == "cardiac c31ce7441008-changed-522a7203: SUCCEEDED"
    assert "driver" not in told and "executor" not in told


def test_what_the_cache_answered_says_so(server, ganflow):
    found = states(ganflow("status", server.replay("cached")).output)
    assert found == dict.fromkeys(CARDIAC, "cached")


def test_some_cached_and_some_computed(server, ganflow):
    found = states(ganflow("status", server.replay("succeeded-gpu-quota-partly-cached")).output)
    assert found == {
        "acquire": "cached",
        "prepare-digits": "cached",
        "train-dcgan label=all": "done (21.0 s)",
        "train-dcgan label=6": "done (94.0 s)",
        "train-gan label=all": "done (52.0 s)",
        "train-gan label=6": "done (115.0 s)",
        "train-concept concepts=digits": "cached",
        "train-concept concepts=styles": "cached",
        "label-styles label=6": "cached",
        "evaluate-digits": "done (21.0 s)",
        "register-digits": "done (21.0 s)",
    }


def test_a_failed_run_ends_with_1_and_says_where_the_reason_is(server, ganflow):
    run_id = server.replay("failed")
    done = ganflow("status", run_id, "--wait")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-2:] == [
        "ganflow: prepare-photographs failed",
        f"ganflow: `ganflow logs {run_id} prepare-photographs` shows why it failed.",
    ]
    found = states(ganflow("status", run_id).output)
    assert found.pop("prepare-photographs") == "failed (60.0 s)"
    assert len(found) == 9 and set(found.values()) == {"skipped"}


def test_what_kubeflow_does_not_tell_of_a_failed_run_is_unknown_and_not_made_up(server, ganflow):
    told = ganflow("status", server.replay("failed-partly-cached")).output
    found = states(told)
    assert (found["simulate"], found["refine fold=1"]) == ("cached", "cached")
    assert {found[each] for each in CARDIAC[10:]} == {"unknown"}
    assert "! Kubeflow tells only some tasks of a run of this size; MLflow or kubectl tell the rest." in told


def test_a_run_that_was_ended_is_cancelled_with_exit_code_3(server, ganflow):
    run_id = server.replay("running-retried", "terminated")
    done = ganflow("status", run_id, "--wait")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1].startswith("ganflow: the run was cancelled; see http://127.0.0.1")
    told = ganflow("status", run_id).output
    found = states(told)
    assert told.splitlines()[0].endswith(": CANCELED")
    assert [found[each] for each in CARDIAC[:2]] == ["cached"] * 2
    assert [found[each].partition(" ")[0] for each in CARDIAC[2:6]] == ["ended"] * 4
    assert {found[each] for each in CARDIAC[6:]} == {"skipped"}


def test_a_tick_whose_workflow_was_deleted_with_its_schedule_is_cancelled_though_kubeflow_calls_it_running_for_ever(
    server, kube, ganflow
):
    run_id = server.replay("schedule-tick-deleted-stays-running")
    kube.forbidden = False
    kube.workflows[run_id] = recorded("workflow-schedule-tick-deleted-stays-running")
    done = ganflow("status", run_id, "--wait")
    assert done.exit_code == 3
    assert "Its workflow was deleted with its schedule; Kubeflow goes on calling it RUNNING." in done.stderr


def test_where_kubectl_tells_nothing_a_run_whose_schedule_was_deleted_may_go_on(server, ganflow):
    told = ganflow("status", server.replay("schedule-tick-deleted-stays-running")).output
    assert told.splitlines()[0].endswith(": RUNNING")
    assert "`ganflow schedule --stop` lets it go on; on Kubeflow's page that ended it" in told


def test_a_running_run_has_no_times_of_the_year_1(server, ganflow):
    told = ganflow("status", server.replay("running-retried")).output
    found = states(told)
    assert found["train-egan fold=0 label=patient"] == "running – attempt 2"
    assert found["train-egan fold=1 label=patient"] == "running"
    assert {found[each] for each in CARDIAC[6:]} == {"waiting"}
    assert " s)" not in told


def test_a_pod_that_has_not_begun_is_waited_for(server, ganflow):
    found = states(ganflow("status", server.replay("running-early")).output)
    assert (found["simulate"], found["prepare"], found["evaluate"]) == ("done (10.0 s)", "waiting", "waiting")


def test_kubectl_tells_what_task_details_do_not(server, kube, ganflow):
    run_id = server.replay("failed-partly-cached")
    kube.forbidden, kube.workflows[run_id] = False, recorded("workflow-failed-partly-cached")
    found = states(ganflow("status", run_id).output)
    assert found["classify fold=0 network=resnet50 training_set=none"] == "failed (11.0 s) – exit code 1"
    assert [found[each].partition(" ")[0] for each in CARDIAC[10:30]] == ["failed"] * 20
    assert {found[each] for each in CARDIAC[30:]} == {"skipped"}


def test_kubectl_tells_why_there_is_another_attempt(server, kube, ganflow):
    run_id = server.replay("running-retried")
    kube.forbidden, kube.workflows[run_id] = False, recorded("workflow-running-retried")
    found = states(ganflow("status", run_id).output)
    assert found["train-egan fold=0 label=patient"] == "running – attempt 2: pod deleted"


def with_message(recording, node, phase, message):
    """A recorded workflow in which a pod is in another state."""
    workflow = recorded(recording)
    for each in workflow["items"][0]["status"]["nodes"].values():
        if each["name"].endswith(node):
            each["phase"], each["message"] = phase, message
    return workflow


# The messages are what Argo's getPendingReason and inferFailedReason (workflow/controller/operator.go) make of a pod.
@pytest.mark.parametrize(
    ("phase", "message", "told"),
    [
        (
            "Pending",
            'ImagePullBackOff: Back-off pulling image "registry.example/ganflow@sha256:55"',
            'waiting – ImagePullBackOff: Back-off pulling image "registry.example/ganflow@sha256:55"',
        ),
        (
            "Pending",
            "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "waiting – Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        ),
        ("Pending", "PodInitializing", "waiting"),
    ],
)
def test_a_pod_that_waits_says_for_what(server, kube, ganflow, phase, message, told):
    run_id = server.replay("running-retried")
    kube.forbidden = False
    kube.workflows[run_id] = with_message(
        "workflow-running-retried", "(1:1)(0).iteration-item(0).train-egan(0).executor(0)", phase, message
    )
    assert states(ganflow("status", run_id).output)["train-egan fold=1 label=patient"] == told


def test_a_step_without_enough_memory_is_told_with_the_line_to_change(server, kube, ganflow):
    run_id = server.replay("failed")
    kube.forbidden = False
    kube.workflows[run_id] = with_message("workflow-failed", "executor(0)", "Failed", "main: OOMKilled (exit code 137)")
    found = states(ganflow("status", run_id).output)
    placement = (Path(__file__).parents[2] / "infra/placement.yaml").read_text().splitlines()
    line = placement.index("every:", placement.index("pipeline:")) + 3
    assert placement[line - 1].startswith("  memory:")
    reason = f"OOMKilled at 8Gi: raise memory, infra/placement.yaml:{line}"
    assert found["prepare-photographs"] == f"failed (9.0 s) – {reason}"


def test_steps_own_records_tell_the_rest_of_a_large_run(server, mlflow, step, ganflow):
    run_id = server.replay("failed-partly-cached")
    reports_to(server, run_id, mlflow)
    fold = mlflow.loop("for-loop-2")
    network = mlflow.loop("for-loop-6", fold)
    cached = {"fold": 0, "network": "resnet50", "training_set": "none"}
    mlflow.end(mlflow.start("classify", network), {**cached, "params": "{}", "code": "c"}, "FINISHED")
    done, failed, reused = (mlflow.start(name, network) for name in ("classify-2", "classify-3", "classify-4"))
    with step(done, "classify", fold=0, network="resnet50", training_set="classic") as journal:
        journal.warn("few images")
    with pytest.raises(UserError), step(failed, "classify", fold=0, network="resnet50", training_set="egan", retry=1):
        raise UserError("The images of fold 0 are\ncut short.")
    with step(reused, "classify", fold=0, network="resnet50", training_set="simgan") as journal:
        journal.tags({"ganflow.reused": "true"})
    mlflow.start("sweep", network)  # its step never began
    told = ganflow("status", run_id).output
    found = states(told)
    tasks = [f"classify fold=0 network=resnet50 training_set={name}" for name in ("none", "classic", "egan", "simgan")]
    assert found[tasks[0]] == "cached"
    assert found[tasks[1]].startswith("done (")
    assert found[tasks[2]].endswith(" – The images of fold 0 are cut short.")
    assert found[tasks[3]] == "cached"
    assert found["sweep fold=0 network=resnet50"] == "skipped"
    assert found["gather fold=0"] == "skipped"
    assert f"! {tasks[1]}: few images" in told
    assert "left out" not in told
    status = json.loads(ganflow("status", run_id, "--json").stdout)
    (task,) = (each for each in status["tasks"] if each["arguments"].get("training_set") == "egan" and each["attempt"])
    assert (task["attempt"], task["reason"]) == (2, "The images of fold 0 are cut short.")


def test_a_failed_step_has_its_own_sentence(server, mlflow, step, ganflow):
    run_id = server.replay("failed")
    reports_to(server, run_id, mlflow)
    with pytest.raises(UserError), step(mlflow.start("prepare-photographs"), "prepare-photographs"):
        raise UserError("photo-3.png has 1 pixel; give larger ones.")
    done = ganflow("status", run_id, "--wait")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "ganflow: prepare-photographs failed: photo-3.png has 1 pixel; give larger ones."
    )


def test_a_step_that_has_not_begun_is_waited_for_whatever_its_pod_is_called(server, mlflow, step, ganflow):
    run_id = server.replay("running-retried")
    reports_to(server, run_id, mlflow)
    here = mlflow.loop("for-loop-4", mlflow.loop("for-loop-2"))
    mlflow.start("train-egan", here)  # the image cannot be pulled: Kubeflow calls that RUNNING
    with step(mlflow.start("train-egan", here), "train-egan", fold=0, label="patient", replicate=0):
        wait_until(lambda: "running" in states(ganflow("status", run_id).output)["train-egan fold=0 label=patient"])
        found = states(ganflow("status", run_id).output)
    assert found["train-egan fold=0 label=patient"] == "running – attempt 2"
    assert found["train-egan fold=1 label=patient"] == "waiting"


@pytest.fixture
def one_pod(server, mlflow):
    """A run under `--placement one-pod`, and MLflow's run of its task."""
    package = pack(find("digits"), None, "smoke", [], load_placement("one-pod"), IMAGE)
    cluster = Cluster(server.address)
    run_id = cluster.submit(cluster.upload(package), {}, "pipeline-runner").run_id
    run = server.runs[run_id]
    run.run_details, server.fates[run_id] = None, ["RUNNING"]
    entries = run.plugins_output["mlflow"].entries
    entries["root_run_id"].value, entries["experiment_id"].value = mlflow.root, mlflow.experiment
    return run_id, mlflow.start("one-pod")


def test_a_run_in_one_pod_shows_the_steps_within_it(server, mlflow, one_pod, ganflow, tmp_path, monkeypatch):
    run_id, task = one_pod
    assert states(ganflow("status", run_id).output) == {"one-pod": "waiting"}
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", mlflow.experiment)
    with Courier(tmp_path / "journals"):
        out = {"ganflow.out": "/s3/ganflow/pipelines/digits/1/one-pod/2/report"}
        parent = open_pipeline_run("digits", "digits smoke", {}, out, task)
        monkeypatch.setenv("GANFLOW_PARENT_RUN", task)
        for retry in ("0", "1"):
            monkeypatch.setenv("KFP_RETRY_INDEX", retry)
            with Journal.open("acquire", {}, {}, "f" * 64, {}):
                pass
        with pytest.raises(UserError), Journal.open("train-gan", {}, {"label": "6"}, "f" * 64, {}):
            raise UserError("The loss is not finite.")
        wait_until(lambda: states(ganflow("status", run_id).output).get("one-pod") == "running")
        parent.finish("FAILED", {}, {}, [])
    server.fates[run_id] = ["FAILED"]
    done = ganflow("status", run_id)
    found = states(done.output)
    assert list(found) == ["one-pod", "acquire", "train-gan label=6"]
    assert found["one-pod"].startswith("failed")
    assert found["acquire"].startswith("done")
    assert found["train-gan label=6"].endswith("The loss is not finite.")
    assert f"`ganflow logs {run_id} one-pod`" in done.output
    (pod,) = choose(Observer(Cluster(server.address), run_id).look(), [])
    assert pod.logs == "s3://ganflow/pipelines/digits/1/one-pod/2/executor-logs"


def test_a_run_in_one_pod_that_succeeded_was_computed(server, mlflow, one_pod, ganflow, tmp_path, monkeypatch):
    run_id, task = one_pod
    with Courier(tmp_path / "journals"):
        open_pipeline_run("digits", "digits smoke", {}, {}, task).finish("FINISHED", {}, {}, [])
    server.fates[run_id] = ["SUCCEEDED"]
    assert states(ganflow("status", run_id).output)["one-pod"].startswith("done")


def test_an_mlflow_that_knows_another_cluster_is_told_by_name(server, mlflow, ganflow):
    run_id = server.replay("cached")
    told = ganflow("status", run_id).output
    assert "mlflow.db knows no run of it; set MLFLOW_TRACKING_URI to http://localhost:5000." in told
    assert states(told) == dict.fromkeys(CARDIAC, "cached")


def test_an_mlflow_that_is_away_costs_a_note(server, ganflow):
    told = ganflow("status", server.replay("cached")).output
    (note,) = (line for line in told.splitlines() if line.startswith("!"))
    assert (
        note
        == f"! What its steps told is left out: MLflow at {AWAY} cannot be used; start it or set MLFLOW_TRACKING_URI."
    )


def test_the_list_of_runs_has_their_true_states(server, ganflow):
    server.replay_list("runs-newest-10")
    lines = ganflow("status").output.splitlines()
    assert [line.split()[3] for line in lines] == [
        *("RUNNING", "RUNNING", "RUNNING", "FAILED", "FAILED", "SUCCEEDED", "FAILED", "CANCELED", "SUCCEEDED", "FAILED")
    ]
    listed = json.loads(ganflow("status", "--json").stdout)
    assert listed[0].keys() == {"id", "name", "state", "created", "url"}
    assert [each["state"] for each in listed] == [line.split()[3] for line in lines]


def test_status_tells_scripts_in_json(server, ganflow):
    run_id = server.replay("succeeded-gpu-quota-partly-cached")
    told = json.loads(ganflow("status", run_id, "--json").stdout)
    assert (told["id"], told["state"]) == (run_id, "SUCCEEDED")
    assert told["tasks"][3] == {
        "step": "train-dcgan",
        "arguments": {"label": "6"},
        "state": "done",
        "seconds": 94.0,
        "attempt": 1,
        "reason": "",
    }
    assert json.loads(ganflow("status", run_id, "--json", "--wait").stdout) == told


def test_the_log_of_a_pod_is_shown_while_it_is_there(server, kube, ganflow):
    run_id = server.replay("failed")
    kube.forbidden, kube.workflows[run_id] = False, recorded("workflow-failed")
    kube.logs["colour-7s2hm-retry-system-container-impl-1178904815"] = "photo-3.png has 1 pixel\n"
    assert ganflow("logs", run_id).stdout == "photo-3.png has 1 pixel\n"
    assert ganflow("logs", run_id, "prepare-photographs", "--follow").stdout == "photo-3.png has 1 pixel\n"


def test_a_log_is_followed_from_attempt_to_attempt_to_the_tasks_end(server, kube, ganflow):
    run_id = server.replay("running-retried", "terminated")
    kube.forbidden, kube.workflows[run_id] = False, recorded("workflow-running-retried")
    kube.logs["cardiac-hb9j9-retry-system-container-impl-574021017"] = "generation 7\n"
    followed = ganflow("logs", run_id, "train-egan", "fold=0", "label=patient", "--follow")
    assert followed.stdout.startswith("generation 7\n")


def test_following_wants_one_task(server, kube, ganflow):
    run_id = server.replay("running-retried")
    told = str(ganflow("logs", run_id, "train-egan fold=1", "--follow").exception)
    assert told.splitlines() == [
        "--follow shows one task's log; say which:",
        "  train-egan fold=1 label=non-patient",
        "  train-egan fold=1 label=patient",
    ]


def test_the_log_of_a_pod_that_is_gone_is_read_where_kubeflow_keeps_it(server, kube, ganflow, s3, monkeypatch):
    run_id = server.replay("failed-retried-with-spec-patch")
    kube.forbidden, kube.workflows[run_id] = False, recorded("workflow-failed-retried-with-spec-patch")
    folder = f"pipelines/probe-fail/{run_id}/sh/23d42e79-9449-4f54-ac59-b832e49e66a2"
    for attempt in range(2):
        s3.client().put_object(
            Bucket="ganflow", Key=f"{folder}/executor-logs-{attempt}", Body=b"failing %d\n" % attempt
        )
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    assert ganflow("logs", run_id, "sh").stdout == "failing 1\n"


def test_a_step_tells_mlflow_where_its_log_will_be_kept(server, mlflow, step, ganflow, s3, monkeypatch):
    run_id = server.replay("failed")
    reports_to(server, run_id, mlflow)
    folder = f"pipelines/colour/{run_id}/prepare-photographs/286684cc"
    run = mlflow.start("prepare-photographs")
    with pytest.raises(UserError), step(run, "prepare-photographs", out=f"/s3/ganflow/{folder}/images"):
        raise UserError("no photographs")
    s3.client().put_object(Bucket="ganflow", Key=f"{folder}/executor-logs-0", Body=b"UserError: no photographs\n")
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    assert ganflow("logs", run_id).stdout == "UserError: no photographs\n"


def test_a_log_that_nobody_can_find_is_a_sentence(server, ganflow):
    run_id = server.replay("failed")
    told = str(ganflow("logs", run_id, "prepare-photographs").exception)
    assert told.startswith("Where the log of prepare-photographs lies only kubectl (kubectl may not read it: ")
    assert "workflows.argoproj.io is forbidden" in told
    assert str(ganflow("logs", run_id, "register-colour").exception) == "register-colour has no log: it is skipped."
    told = str(ganflow("logs", run_id, "train-gan").exception)
    assert told.startswith("The run has no task 'train-gan'; its steps are prepare-photographs, train-colour,")
