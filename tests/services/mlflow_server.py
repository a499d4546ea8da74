"""A real MLflow server for tests, as a team has it: PostgreSQL, artifacts in S3, users with passwords."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from ports import free_port
from postgres import Postgres, postgres_server
from s3 import BUCKET, S3

USER, PASSWORD = "analyst", "a-long-enough-password"
"""Of somebody who may log runs and register models, and no more."""

_ADMIN, _ADMIN_PASSWORD = "admin", "another-long-password"

PREFIX = "mlflow"
"""Of the artifacts' keys in the bucket."""

_CONFIGURATION = """
[mlflow]
database_uri = {database}
default_permission = READ
admin_username = {user}
auth_cache_ttl_seconds = 60
"""


class MlflowServer:
    """A server that can be stopped and started again at its address.

    Attributes:
        url: its address; it answers to the name 127.0.0.1 only, not to localhost.
    """

    def __init__(self, folder: Path, postgres: Postgres, s3: S3) -> None:
        self._folder, self._s3 = folder, s3
        self._database = postgres.create("mlflow")
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        configuration = _CONFIGURATION.format(database=postgres.create("auth"), user=_ADMIN)
        (folder / "auth.ini").write_text(configuration)

    def environment(self) -> dict[str, str]:
        """The variables by which MLflow's client, and so ganflow, finds the server and is let in."""
        return {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {
            "app-name": "basic-auth",
            "host": "127.0.0.1",
            "port": self._port,
            "allowed-hosts": f"127.0.0.1:{self._port}",
            "workers": 2,
            "backend-store-uri": self._database,
            "artifacts-destination": f"s3://{BUCKET}/{PREFIX}",
        }
        command = [sys.executable, "-m", "mlflow", "server", "--serve-artifacts"]
        environment = {
            **os.environ,
            **self._s3.environment(),
            "MLFLOW_AUTH_CONFIG_PATH": str(self._folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": _ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of no use outside of this test",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes to start
        }
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in options.items())],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            time.sleep(0.1)

    def create_user(self) -> None:
        """Let `USER` in."""
        user = {"username": USER, "password": PASSWORD}
        administrator = (_ADMIN, _ADMIN_PASSWORD)
        requests.post(f"{self.url}/api/2.0/mlflow/users/create", json=user, auth=administrator).raise_for_status()

    def stop(self) -> None:
        """End the server at once, whatever it is at."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/health", timeout=5).ok
        return False


@contextlib.contextmanager
def mlflow_server(folder: Path, s3: S3) -> Iterator[MlflowServer]:
    """A running server over databases of its own; its log goes into `folder`."""
    with postgres_server() as postgres:
        server = MlflowServer(folder, postgres, s3)
        try:
            server.start()
            server.create_user()
            yield server
        finally:
            server.stop()
