"""What `ganflow doctor --cluster` says, by answers that a real Kubeflow gave to a task that failed.

The runs are recorded: one whose cluster had the API server's patch and one whose cluster had not. What no recording
has is written down here: the probe's log, a second attempt that succeeds, and kubectl.
"""

import copy
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from recordings import recorded
from typer.testing import CliRunner

from pipelines import doctor
from pipelines.cli import app
from pipelines.probe import MARK

IMAGE = f"registry.example/ganflow@sha256:{'5' * 64}"
SEEN = {
    "attempt": 0,
    "user": 10001,
    "missing": [],
    "checkpoints": "",
    "mlflow": "",
    "pod": {"grace_seconds": 120, "hook": True},
}
LOG = 'time=2026-11-21T14:03:24.665Z level=INFO msg="capturing logs" argo=true\n'


class Kubeflow:
    """An API server that has one run, and whatever its pods said.

    Attributes:
        run: as it is told.
        logs: of the pods, by their names.
        asked: what the run was ordered with.
    """

    def __init__(self, run):
        self.run, self.logs, self.asked = run, {}, None
        self.address = ""

    def __enter__(self):
        kubeflow = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = kubeflow.answer(self.path.split("?")[0], body)
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = respond

            def log_message(self, *_):
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path, body):
        run_id = self.run["run_id"]
        if path == "/apis/v2beta1/healthz":
            return 200, recorded("healthz")
        if path == "/apis/v2beta1/experiments":
            return 200, {"experiments": [{"experiment_id": "7", "display_name": "ganflow-doctor"}]}
        if path == "/apis/v2beta1/runs":
            self.asked = json.loads(body)
            return 200, {key: value for key, value in self.run.items() if key != "run_details"} | {"state": "PENDING"}
        if path == f"/apis/v2beta1/runs/{run_id}":
            return 200, self.run
        pod = path.removeprefix(f"/apis/v1alpha1/runs/{run_id}/nodes/").removesuffix("/log")
        return 200, self.logs.get(pod, json.dumps({"error_message": f'pods "{pod}" not found'}))


@pytest.fixture
def patched():
    """Of the recorded run whose task was tried again; its second attempt succeeds."""
    run = recorded("run-failed-retried-with-spec-patch")
    run["state"] = "SUCCEEDED"
    details = run["run_details"]["task_details"]
    (executor,) = (each for each in details if each["display_name"] == "executor")
    del executor["child_tasks"][2]
    with Kubeflow(run) as kubeflow:
        for attempt, number in enumerate(("990787207", "521160970")):
            said = MARK + json.dumps(SEEN | {"attempt": attempt})
            kubeflow.logs[f"probe-fail-tj2jz-retry-system-container-impl-{number}"] = f"{LOG}{said}\n"
        yield kubeflow


@pytest.fixture
def stock():
    """Of the recorded run under Kubeflow's own manifests, whose task was not tried again."""
    with Kubeflow(recorded("run-failed")) as kubeflow:
        seen = SEEN | {"pod": {"grace_seconds": 30, "hook": False}}
        pod = "colour-7s2hm-retry-system-container-impl-1178904815"
        kubeflow.logs[pod] = f"{LOG}{MARK}{json.dumps(seen)}\nI1121 main.go] failed to execute component\n"
        yield kubeflow


@pytest.fixture
def examine(monkeypatch, tmp_path):
    """Runs the command against a server; gives its exit code and lines. `kubectl` is what stands in `tmp_path`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor, "POLL_SECONDS", 0.01)
    # kfp looks up every caller while it draws, and a test's has many; the drawing has a test of its own.
    monkeypatch.setattr(doctor, "specification", lambda *_: {"pipeline_spec": {}})

    def run(kubeflow):
        result = CliRunner().invoke(app, ["doctor", "--cluster", "--host", kubeflow.address, "--image", IMAGE])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout.splitlines()

    return run


def kubectl(folder, **answers):
    """A kubectl that reads these, and may read nothing else."""
    for kind, items in answers.items():
        (folder / f"{kind}.json").write_text(json.dumps({"items": items}))
    path = folder / "kubectl"
    path.write_text(f'#!/bin/sh\ncat "{folder}/$4.json"\n')
    path.chmod(0o755)


def test_a_cluster_that_has_everything_says_so_line_by_line(patched, examine):
    link = f"{patched.address}/#/runs/details/{patched.run['run_id']}"
    assert examine(patched) == (
        0,
        [
            f"✓ Kubeflow Pipelines 2.17.0 at {patched.address}, one namespace",
            "✓ Kubeflow's plugin for MLflow made a run there",
            f"▸ the probe runs: {link}",
            f"✓ {IMAGE} is pulled and runs as user 10001",
            "✓ secrets: kfp-mlflow-credentials, ganflow-s3",
            "✓ checkpoints at s3://ganflow/checkpoints: written, read and removed",
            "✓ MLflow answers tasks",
            "✓ a task that fails is tried again",
            "✓ a task whose pod must go has 120 s to write its checkpoint",
            "✓ what tasks pass on is kept",
            "– GPUs, quota, queue: kubectl reads no pods of the probe in namespace kubeflow",
        ],
    )


def test_the_probe_runs_in_the_experiments_of_its_name(patched, examine):
    examine(patched)
    assert patched.asked["experiment_id"] == "7"
    assert patched.asked["plugins_input"] == {"mlflow": {"experiment_name": "ganflow-doctor"}}
    assert patched.asked["service_account"] == "pipeline-runner"


def test_under_kubeflows_own_manifests_both_halves_of_the_patch_are_missed(stock, examine):
    code, lines = examine(stock)
    mends = "infra/kubernetes/api-server-patch.yaml"
    assert code == 1
    assert [line for line in lines if line.startswith("✗")] == [line for line in lines if mends in line]
    assert [line.split(";")[0] for line in lines if mends in line] == [
        "✗ a task that fails is not tried again (submit again, it resumes)",
        "✗ a task whose pod must go has two seconds to write its checkpoint",
    ]


def test_what_the_pod_missed_is_named_with_what_mends_it(stock, examine):
    wrong = {
        "missing": ["AWS_ENDPOINT_URL"],
        "checkpoints": "S3 at http://s3 has no bucket ganflow; create it.",
        "mlflow": "http://mlflow does not answer (ConnectionError)",
        "pod": None,
    }
    (pod,) = stock.logs
    stock.logs[pod] = MARK + json.dumps(SEEN | wrong)
    _, lines = examine(stock)
    assert [line for line in lines if line[0] in "✗–"][:5] == [
        "✗ secret ganflow-s3 lacks what becomes AWS_ENDPOINT_URL: infra/kubernetes/apply-secrets.sh",
        "✗ checkpoints at s3://ganflow/checkpoints: S3 at http://s3 has no bucket ganflow; create it.",
        "✗ MLflow for tasks: http://mlflow does not answer (ConnectionError); see infra/README.md, step 5",
        next(line for line in lines if "not tried again" in line),
        "– time to write a checkpoint: a pod may not read itself",
    ]


def test_a_plugin_that_failed_or_is_not_there_is_told(stock, examine):
    stock.run["plugins_output"] = {"mlflow": {"state": "PLUGIN_FAILED", "state_message": "connection refused"}}
    assert "✗ Kubeflow's plugin for MLflow: connection refused; see infra/README.md, step 5" in examine(stock)[1]
    del stock.run["plugins_output"]
    assert "✗ Kubeflow has no plugin for MLflow" in "\n".join(examine(stock)[1])


def test_outputs_that_the_launcher_could_not_keep_are_told(patched, examine):
    patched.run["state"] = "FAILED"
    code, lines = examine(patched)
    assert code == 1 and "✗ what tasks pass on is not kept (config map kfp-launcher" in "\n".join(lines)


def test_a_probe_that_told_nothing_shows_its_last_words(stock, examine):
    (pod,) = stock.logs
    stock.logs[pod] = f"{LOG}/opt/venv/bin/python3: No module named pipelines.probe\n"
    assert examine(stock)[1][-2].endswith("; it said: /opt/venv/bin/python3: No module named pipelines.probe")


def test_a_driver_that_failed_is_told(stock, examine):
    stock.run["run_details"]["task_details"] = []
    assert "✗ the probe never ran, a driver of Kubeflow's failed, see " in "\n".join(examine(stock)[1])


def test_a_run_that_cannot_be_read_for_its_length_names_the_setting(stock, examine, monkeypatch):
    failed = {"code": 13, "message": "InternalServerError: unexpected end of JSON input", "details": []}
    answer = stock.answer
    monkeypatch.setattr(stock, "answer", lambda path, body: (500, failed) if "/runs/" in path else answer(path, body))
    assert "GroupConcatMaxLen" in examine(stock)[1][-1]


def test_an_image_that_cannot_be_pulled_is_told_by_kubectl_at_once(stock, examine, tmp_path):
    stock.run["state"] = "RUNNING"
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}
    status = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}
    kubectl(tmp_path, pods=[{"spec": {"containers": []}, "status": status}])
    code, lines = examine(stock)
    told = '✗ the probe does not start: ImagePullBackOff: Back-off pulling image "x"; steps 3 and 4, or the quota'
    assert (code, told in lines) == (1, True)


def test_a_pod_that_no_node_takes_is_told_when_patience_ends(stock, examine, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.2)
    stock.run["state"] = "RUNNING"
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    kubectl(tmp_path, pods=[{"spec": {"containers": []}, "status": {"phase": "Pending", "conditions": [condition]}}])
    told = "✗ the probe does not start: 0/1 nodes are available: 1 Insufficient cpu; steps 3 and 4, or the quota"
    assert told in examine(stock)[1]


def test_gpus_quota_and_queue_are_told_where_kubectl_may_read_them(patched, examine, tmp_path):
    gpu = {"nvidia.com/gpu": "2"}
    waiting = {"status": {"phase": "Pending"}, "spec": {"containers": [{"resources": {"requests": gpu}}]}}
    running = copy.deepcopy(waiting) | {"status": {"phase": "Running"}}
    amounts = {"requests.nvidia.com/gpu": "4"}
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": amounts}, "status": {"used": amounts}}
    nodes = [{"status": {"allocatable": gpu}}, {"status": {"allocatable": {"cpu": "4"}}}]
    kubectl(tmp_path, pods=[waiting, running], nodes=nodes, resourcequotas=[quota])
    assert examine(patched)[1][-3:] == [
        "✓ GPUs: 2 on 1 of 2 nodes",
        "✓ quota gpus: 4 of 4 GPUs are taken",
        "✓ queue: 1 pods wait for a GPU",
    ]
    (tmp_path / "nodes.json").unlink()
    assert "– GPUs: kubectl may not read nodes" in examine(patched)[1]


def test_without_cluster_the_command_says_what_it_can_look_at():
    assert str(CliRunner().invoke(app, ["doctor"]).exception) == "Say what to look at: `ganflow doctor --cluster`."


def test_the_probe_is_placed_as_tasks_are_and_starts_without_secrets_to_name_them(tmp_path):
    program = (
        "import json; from pipelines.doctor import specification; from pipelines.placement import load_placement; "
        f"print(json.dumps(specification(load_placement('cpu').pipeline, '{IMAGE}')))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    drawn = json.loads(done.stdout)
    json_format.ParseDict(drawn["pipeline_spec"], pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(drawn["platform_spec"], pipeline_spec_pb2.PlatformSpec())
    (executor,) = drawn["pipeline_spec"]["deploymentSpec"]["executors"].values()
    (task,) = drawn["pipeline_spec"]["root"]["dag"]["tasks"].values()
    assert executor["container"]["image"] == IMAGE
    assert "AWS_SECRET_ACCESS_KEY" in executor["container"]["args"]
    assert (task["retryPolicy"]["maxRetryCount"], task["cachingOptions"]) == (1, {})
    kubernetes = drawn["platform_spec"]["platforms"]["kubernetes"]
    (placed,) = kubernetes["deploymentSpec"]["executors"].values()
    assert placed["securityContext"]["runAsUser"] == "10001"
    assert [each["optional"] for each in placed["secretAsEnv"]] == [True, True]
    assert kubernetes["pipelineConfig"] == {"activeDeadlineSeconds": 900}
