"""A process beside a run in containers: it ends them when the run says so, and when the run is gone, however it went.

It reads words from the run, a line each, and lives until there is nobody left to write any.
"""

import contextlib
import sys
import threading

import docker
from docker.errors import APIError

RUN_LABEL = "ganflow.run"
"""Label of a run's containers."""

STOP, KILL = "stop", "kill"
"""Words of the run: with time for checkpoints, or without."""

STOP_SECONDS = 120
"""How long a container that shall stop may take to write its checkpoint."""


def stop(run: str, seconds: int) -> None:
    """Stop a run's containers, all at once, and kill those that live on after some seconds."""
    with contextlib.closing(docker.from_env(timeout=seconds + 60)) as client:
        containers = client.containers.list(filters={"label": f"{RUN_LABEL}={run}"}, ignore_removed=True)
        for container in containers if seconds else ():
            with contextlib.suppress(APIError):  # it has ended
                container.kill("SIGTERM")
        for container in containers:
            with contextlib.suppress(APIError):
                container.stop(timeout=seconds)


def remove(run: str) -> None:
    """Remove a run's containers, running or not, until the engine has none left of those it was asked for."""
    with contextlib.closing(docker.from_env()) as client:
        filters = {"label": f"{RUN_LABEL}={run}"}
        while containers := client.containers.list(all=True, filters=filters, ignore_removed=True):
            for container in containers:
                with contextlib.suppress(APIError):
                    container.remove(force=True)


def main() -> None:
    """Obey the run on standard input until it closes; then nothing of the run shall be left."""
    run, hurried = sys.argv[1], False
    for word in map(str.strip, sys.stdin):
        hurried = word == KILL
        threading.Thread(target=stop, args=(run, 0 if hurried else STOP_SECONDS), daemon=True).start()
    stop(run, 0 if hurried else STOP_SECONDS)
    remove(run)


if __name__ == "__main__":
    main()
