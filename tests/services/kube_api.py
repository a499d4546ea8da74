"""The part of a Kubernetes API server that `kubectl` reads runs from, in a thread: recorded workflows, pods' logs."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/kubeflow/workflows"
PODS = "/api/v1/namespaces/kubeflow/pods/"


@dataclass
class KubeApi:
    """What is there.

    Attributes:
        kubeconfig: the file by which kubectl finds it.
        workflows: lists of workflows by the id of their run.
        logs: what pods printed, by their names.
        forbidden: whether it lets nobody in.
    """

    kubeconfig: Path
    workflows: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    forbidden: bool = False

    def answer(self, target: str) -> tuple[int, str]:
        url = urlsplit(target)
        if self.forbidden:
            return 403, _failure(403, "Forbidden", 'workflows.argoproj.io is forbidden: User "analyst" cannot list it')
        if url.path == WORKFLOWS:
            label, run_id = parse_qs(url.query)["labelSelector"][0].split("=")
            assert label == "pipeline/runid"
            return 200, json.dumps(self.workflows.get(run_id, {"apiVersion": "v1", "kind": "List", "items": []}))
        name = url.path.removeprefix(PODS).removesuffix("/log")
        if name in self.logs:
            return 200, self.logs[name]
        return 404, _failure(404, "NotFound", f'pods "{name}" not found')


def _failure(code: int, reason: str, message: str) -> str:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return json.dumps(status | {"message": message})


@contextlib.contextmanager
def kube_api(folder: Path) -> Iterator[KubeApi]:
    """A server on a free port of this machine, and a kubeconfig for it in `folder`."""
    server = KubeApi(folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = server.answer(self.path)
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        cluster = {"server": f"http://127.0.0.1:{listener.server_port}"}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        server.kubeconfig.write_text(json.dumps(configuration))
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
