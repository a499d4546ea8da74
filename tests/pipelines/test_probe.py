"""What the doctor's probe says of its pod: on a real S3 server, and with stand-ins for MLflow and Kubernetes."""

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines import probe

CHECKOUT = Path(__file__).parents[2]
POD = {
    "spec": {
        "terminationGracePeriodSeconds": 120,
        "containers": [{"name": "wait"}, {"name": "main", "lifecycle": {"preStop": {"exec": {"command": ["sh"]}}}}],
    }
}


@contextlib.contextmanager
def answering(path, authorization, answer, tls=None):
    """A server that answers a request of the right address by the right caller with JSON, and others with 401."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            right = self.path == path and self.headers.get("Authorization") == authorization
            data = json.dumps(answer if right else {}).encode()
            self.send_response(200 if right else 401)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def look(tmp_path):
    """Runs the probe; gives its exit code and what it said in its log, which must be what it left behind."""

    def run(*variables, **environment):
        given = {name: os.environ[name] for name in ("PATH", "GANFLOW_HOME")} | {"PYTHONPATH": str(CHECKOUT)}
        report = tmp_path / "outputs" / "report"
        command = [sys.executable, "-m", "pipelines.probe", report, *variables]
        done = subprocess.run(command, cwd=tmp_path, env=given | environment, capture_output=True, text=True)
        (line,) = (each for each in done.stdout.splitlines() if each.startswith(probe.MARK))
        seen = json.loads(line.removeprefix(probe.MARK))
        assert json.loads(report.read_text()) == seen
        return done.returncode, seen

    return run


def test_the_first_attempt_fails_as_a_preempted_step_does_and_the_second_ends_well(look):
    assert look(KFP_RETRY_INDEX="0")[0] == 75
    code, seen = look(KFP_RETRY_INDEX="1")
    assert (code, seen["attempt"], seen["user"]) == (0, 1, os.getuid())


def test_variables_that_are_not_set_are_named(look):
    assert look("AWS_ENDPOINT_URL", "EMPTY", "SET", SET="1", EMPTY="")[1]["missing"] == ["AWS_ENDPOINT_URL", "EMPTY"]


def test_a_checkpoint_is_written_read_and_removed(look, s3):
    _, seen = look(CHECKPOINT_URI="s3://ganflow/probe", **s3.environment())
    assert seen["checkpoints"] == ""
    assert s3.client().list_objects_v2(Bucket="ganflow", Prefix="probe/")["KeyCount"] == 0


def test_what_is_wrong_with_the_bucket_is_told_in_a_sentence(look, s3):
    _, seen = look(CHECKPOINT_URI="s3://not-there/probe", **s3.environment())
    assert "has no bucket not-there" in seen["checkpoints"]


def test_mlflow_is_asked_for_the_tasks_own_run_with_the_tasks_own_password(look):
    basic = "Basic cGlwZWxpbmVzOnB3"  # pipelines:pw
    with answering("/api/2.0/mlflow/runs/get?run_id=7", basic, {"run": {}}) as port:
        there = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", "MLFLOW_RUN_ID": "7"}
        known = there | {"MLFLOW_TRACKING_USERNAME": "pipelines", "MLFLOW_TRACKING_PASSWORD": "pw"}
        assert look(**known)[1]["mlflow"] == ""
        refused = look(**known | {"MLFLOW_TRACKING_PASSWORD": "old"})[1]["mlflow"]
        assert refused == f"http://127.0.0.1:{port} refuses pipelines (401)"
    assert look(**known)[1]["mlflow"] == f"http://127.0.0.1:{port} does not answer (ConnectionError)"
    assert look()[1]["mlflow"] == "Kubeflow's plugin tells tasks of no MLflow"


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")
def test_the_pod_is_told_as_kubernetes_has_it(tmp_path, monkeypatch):
    (tmp_path / "namespace").write_text("kubeflow")
    (tmp_path / "token").write_text("the-token")
    certificate = ["-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    keys = ["-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "key", "-out", tmp_path / "ca.crt"]
    subprocess.run(["openssl", "req", "-x509", *keys, *certificate], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key")
    monkeypatch.setattr(probe, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KFP_POD_NAME", "ganflow-doctor-1")
    path = "/api/v1/namespaces/kubeflow/pods/ganflow-doctor-1"
    with answering(path, "Bearer the-token", POD, tls) as port:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
        assert probe._pod() == {"grace_seconds": 120, "hook": True}
        (tmp_path / "token").write_text("another")
        assert probe._pod() is None


def test_outside_of_a_cluster_no_pod_is_told(look):
    assert look()[1]["pod"] is None
