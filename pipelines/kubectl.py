"""What `kubectl` may read of a cluster: a run's workflow, its pods' logs, objects. Without it, all else still works."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

NAMESPACE = "kubeflow"
"""Where runs live on a Kubeflow that serves one namespace."""

_PATIENCE = "--request-timeout=5s"


class Kubectl:
    """The `kubectl` on the path, with its own configuration.

    Args:
        namespace: the user's, where Kubeflow serves several.

    Attributes:
        namespace: where it looks.
        problem: why it tells nothing, "" as long as it does.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace or NAMESPACE
        self.problem = "" if shutil.which("kubectl") else "kubectl is not installed here"

    def workflow(self, run_id: str) -> dict[str, Any] | None:
        """The workflow of a run; None where there is none any more, or `problem` says why it cannot be read."""
        labelled = quote(f"pipeline/runid={run_id}", safe="")
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{self.namespace}/workflows?labelSelector={labelled}"
        answer = self._get(path)
        return next(iter(json.loads(answer)["items"]), None) if answer else None

    def objects(self, kind: str, *options: str) -> list[dict[str, Any]] | None:
        """Objects of a kind, those of the namespace where they belong to one; None where it may not read them."""
        if self.problem:
            return None
        command = ["kubectl", "get", "--namespace", self.namespace, kind, *options, "--output=json", _PATIENCE]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return json.loads(done.stdout)["items"] if done.returncode == 0 else None

    def log(self, pod: str) -> str:
        """What a pod's step has printed so far; "" where the pod is gone."""
        return self._get(self._log_of(pod), lasting=False)

    @contextlib.contextmanager
    def following(self, pod: str) -> Iterator[Iterator[str]]:
        """The lines that a pod's step prints, as they come, until it ends."""
        command = ["kubectl", "get", "--raw", f"{self._log_of(pod)}&follow=true"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                yield iter(process.stdout)
            finally:
                process.terminate()

    def _log_of(self, pod: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?container=main"

    def _get(self, path: str, lasting: bool = True) -> str:
        """An answer of the API server, "" where there is none; where that is lasting, it is not asked again."""
        if self.problem:
            return ""
        command = ["kubectl", "get", "--raw", path, _PATIENCE]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout
        if lasting:
            self.problem = f"kubectl may not read it: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}"
        return ""
