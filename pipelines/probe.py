"""What a pod on a cluster sees: `python -m pipelines.probe REPORT VARIABLE...`, as `ganflow doctor --cluster` runs it.

It is placed like a task, looks at what tasks depend on, and says it in a line of its log. Its first attempt then fails
on purpose: whether there is a second one is what Kubeflow's API server must be told (infra/kubernetes).
"""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import requests

from components.core.errors import UserError
from components.core.signals import PREEMPTED
from components.core.storage import Checkpoints

MARK = "ganflow-probe: "
"""What the line begins with."""

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 10


def main(report: str, *variables: str) -> int:
    """Look, and say what was seen.

    Args:
        report: the file of the task's output, which Kubeflow's launcher keeps after the last attempt.
        variables: names of the environment that a task needs.

    Returns:
        The exit code.
    """
    attempt = int(os.environ.get("KFP_RETRY_INDEX", "0"))  # the launcher's environment: container.go, retryIndexEnv
    seen = {
        "attempt": attempt,
        "user": os.getuid(),
        "missing": [name for name in variables if not os.environ.get(name)],
        "checkpoints": _checkpoints(),
        "mlflow": _mlflow(),
        "pod": _pod(),
    }
    print(MARK + json.dumps(seen), flush=True)
    path = Path(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(seen, indent=1))
    return 0 if attempt else PREEMPTED


def _checkpoints() -> str:
    """What is wrong with the place of checkpoints, "" where one was written, read and removed."""
    checkpoints = Checkpoints(f"doctor-{secrets.token_hex(8)}")
    try:
        checkpoints.write("probe", 1, lambda file: file.write(b"probe"))
        found = checkpoints.read("probe", lambda file: file.read())
        checkpoints.remove()
    except UserError as error:
        return str(error)
    return "" if found and found[0] == b"probe" else "what was written there is not what is read"


def _mlflow() -> str:
    """What is wrong with MLflow as Kubeflow's plugin names it to tasks, "" where it tells of this task's run."""
    address, run = os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("MLFLOW_RUN_ID")
    if not address or not run:
        return "Kubeflow's plugin tells tasks of no MLflow"
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    try:
        answer = requests.get(
            f"{address}/api/2.0/mlflow/runs/get", {"run_id": run}, auth=(user, password), timeout=_SECONDS
        )
    except requests.RequestException as error:
        return f"{address} does not answer ({type(error).__name__})"
    return "" if answer.ok else f"{address} refuses {user or 'a task without a user'} ({answer.status_code})"


def _pod() -> dict[str, Any] | None:
    """How this pod may end, by Kubernetes' own word; None where that may not be read."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    try:
        namespace, token = ((_ACCOUNT / name).read_text() for name in ("namespace", "token"))
        answer = requests.get(
            f"https://{host}:{port}/api/v1/namespaces/{namespace}/pods/{os.environ['KFP_POD_NAME']}",
            headers={"Authorization": f"Bearer {token}"},
            verify=str(_ACCOUNT / "ca.crt"),
            timeout=_SECONDS,
        )
        answer.raise_for_status()
        pod = answer.json()
    except (OSError, KeyError, requests.RequestException):
        return None
    (main,) = (each for each in pod["spec"]["containers"] if each["name"] == "main")
    return {
        "grace_seconds": pod["spec"]["terminationGracePeriodSeconds"],
        "hook": "preStop" in main.get("lifecycle", {}),
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
