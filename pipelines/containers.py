"""Runs tasks in containers of this machine's Docker engine: not as root, on a root file system that is read-only."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psutil
from docker.types import DeviceRequest
from kfp import local
from kfp.local import docker_task_handler

from components.core.errors import UserError
from components.core.storage import state_dir
from components.core.telemetry import journals_dir, tracking_uri
from pipelines import guard
from pipelines.guard import KILL, RUN_LABEL, STOP
from pipelines.image import engine, find_image
from pipelines.pipeline import REGISTERS
from pipelines.subprocesses import Subprocesses

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

HANDED_OVER = ("AWS_", "GANFLOW_", "MLFLOW_", "OMP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "LOGNAME")
"""Beginnings of the names of environment variables that tasks are given, in upper or lower case."""


FINGERPRINT = re.compile("[0-9a-f]{64}")
"""The name of a folder of checkpoints."""


class Containers:
    """Tasks are containers of one image; Ctrl-C, SIGTERM and the end of the run stop them with time for a checkpoint.

    The state folder is mounted at its own path, the raw data read-only at theirs, and services on this machine are
    reached at 127.0.0.1. A user who is not root has containers that run as that user; root's run as the image's user,
    to whom is given what ganflow keeps in the state folder and at CHECKPOINT_URI, but no folder that somebody made.

    A SQLite store is a file of this machine: steps that register models in it run beside the containers.

    Args:
        reference: of the image: its name, digest or id; the one built last where none is given.

    Raises:
        UserError: no engine answers, or it has no such image, or that image would run as root; on getting ready, the
            containers' user may not write to the folder at CHECKPOINT_URI.
    """

    def __init__(self, reference: str | None) -> None:
        with engine() as client:
            image = find_image(client, reference)
            self._has_gpus = "nvidia" in client.info()["Runtimes"]
        self.image = reference if reference and "@sha256:" in reference else image.id
        self._user = _user(image)
        self._run_id = uuid.uuid4().hex
        self._stopping = threading.Event()
        self._here = Subprocesses()
        self._mounts: dict[str, dict[str, str]] = {}

    @contextlib.contextmanager
    def ready(self, data: Path | None) -> Iterator[local.DockerRunner]:
        """Ready for tasks, which are given the environment of this moment, and `data`, a folder, to read."""
        environment = {name: value for name, value in os.environ.items() if name.upper().startswith(HANDED_OVER)}
        environment |= {"GANFLOW_IMAGE": self.image, "GANFLOW_HOME": str(state_dir())}
        folders = [state_dir(), journals_dir()]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            _give(folder, self._user)
        if checkpoints := os.environ.get("CHECKPOINT_URI"):
            if "://" not in checkpoints:
                folders.append(Path(checkpoints).absolute())
                checkpoints = str(folders[-1])
                give_checkpoints(folders[-1], self._user)
            environment["CHECKPOINT_URI"] = checkpoints
        self._mounts = {str(folder): {"bind": str(folder), "mode": "rw"} for folder in folders}
        if data:
            self._mounts[str(data)] = {"bind": str(data), "mode": "ro"}
        uid, gid = self._user
        self._docker = local.DockerRunner(
            user=f"{uid}:{gid}",
            read_only=True,
            tmpfs={"/tmp": ""},
            shm_size=psutil.virtual_memory().total // 2,  # as much as Linux gives a process outside
            init=True,  # hands SIGTERM on to the step
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            network_mode="host",
            device_requests=[DeviceRequest(count=-1, capabilities=[["gpu"]])] if self._has_gpus else [],
            labels={RUN_LABEL: self._run_id},
            environment=environment,
        )
        with (
            self._here.ready(data),
            self._guarding() as self._guard,
            patch.object(docker_task_handler, "run_docker_container", self._run),
        ):
            yield self._docker

    def runner_of(self, step: str) -> local.DockerRunner | local.SubprocessRunner:
        """What executes a step's tasks."""
        here = step.startswith(REGISTERS) and tracking_uri().startswith("sqlite:")
        return self._here.runner_of(step) if here else self._docker

    def terminate(self) -> None:
        """Stop the run's containers, without waiting for them."""
        self._stopping.set()
        self._here.terminate()
        self._tell(STOP)

    def kill(self) -> None:
        """End the run's containers at once."""
        self._here.kill()
        self._tell(KILL)

    def _tell(self, word: str) -> None:
        os.write(self._guard.stdin.fileno(), f"{word}\n".encode())

    @contextlib.contextmanager
    def _guarding(self) -> Iterator[subprocess.Popen[bytes]]:
        """The process that ends the containers; its session is its own, so that no signal to the run reaches it."""
        command = [sys.executable, "-m", guard.__name__, self._run_id]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            yield process

    def _run(self, client: "DockerClient", image: str, command: list[str], volumes: Any, **settings: Any) -> int:
        """A task's container, from start to end; its exit code.

        It stands in for a function of `kfp.local` (2.17), which looks for no image by its id, and takes a container
        that ended before its log was read for one that succeeded.
        """
        container = client.containers.run(self.image, command, detach=True, volumes=self._mounts, **settings)
        try:
            if self._stopping.is_set():
                self._tell(STOP)
            for line in _lines(container.logs(stream=True)):
                print(line)
            return container.wait()["StatusCode"]
        finally:
            container.remove(force=True)


def _user(image: "Image") -> tuple[int, int]:
    """User and group of the containers: who runs this, or, where that is root, the image's."""
    if os.getuid():
        return os.getuid(), os.getgid()
    uid, _, gid = image.attrs["Config"]["User"].partition(":")
    if not (uid.isdigit() and gid.isdigit() and int(uid)):
        raise UserError(f"The image {image.id} does not say UID:GID of a user other than root; build it anew.")
    return int(uid), int(gid)


def _give(folder: Path, user: tuple[int, int]) -> None:
    """Make a folder and what is in it a user's own, which only root can do and only root must."""
    if os.getuid():
        return
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # a journal that was delivered meanwhile
            os.chown(path, *user, follow_symlinks=False)


def give_checkpoints(folder: Path, user: tuple[int, int]) -> None:
    """Make the checkpoints in a folder a user's own, and the folder itself where it is made now.

    Raises:
        UserError: it is somebody's already, and the user may not write to it.
    """
    uid, gid = user
    try:
        folder.mkdir(parents=True)
        os.chown(folder, uid, gid)
    except FileExistsError:
        pass
    facts = folder.stat()
    bits = facts.st_mode >> (6 if facts.st_uid == uid else 3 if facts.st_gid == gid else 0)
    if bits & 0o3 != 0o3:
        raise UserError(
            f"The containers run as the user {uid}, who may not write to CHECKPOINT_URI={folder}; "
            f"`chown {uid}:{gid} {folder}` or choose another folder."
        )
    for path in folder.iterdir():
        if FINGERPRINT.fullmatch(path.name):
            _give(path, user)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """What a container prints, by line."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")
