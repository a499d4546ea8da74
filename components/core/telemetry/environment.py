"""What the environment says: where journals lie, which MLflow they are for, who runs which code."""

import contextlib
import getpass
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.storage import state_dir

DIRTY = "-dirty"
"""Follows the commit in an image's revision where the checkout had changed since."""

# Passwords may hold slashes and @: what follows a user and a colon goes up to the last @ of the word.
_USER_INFO = re.compile(r"(?<=://)(?:[^\s/@]*:\S*|[^\s/@]+)@")
_PASSWORD = re.compile(r"(?<=[?&])([\w-]*(?:password|token|secret|key|signature))=[^&\s\"']+", re.IGNORECASE)


def journals_dir() -> Path:
    """The folder of journals: `$GANFLOW_JOURNALS` (who sets it delivers them), else in the state folder."""
    given = os.environ.get("GANFLOW_JOURNALS")
    return Path(given).absolute() if given else state_dir() / "journals"


def tracking_uri() -> str:
    """Where runs belong: `$MLFLOW_TRACKING_URI`, else MLflow's default, `mlflow.db` in the current folder.

    SQLite paths are made absolute, so that they mean the same to a child in another folder.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else f"sqlite:///{Path(path).absolute()}"


def shown(text: str) -> str:
    """A URI, or a text with some in it, without the users and passwords that they may hold."""
    return _PASSWORD.sub(r"\1=…", _USER_INFO.sub("", text)) if "@" in text or "=" in text else text


def without_secrets(value: Any) -> Any:
    """A JSON value whose texts are `shown`."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {key: without_secrets(each) for key, each in value.items()}
    return [without_secrets(each) for each in value] if isinstance(value, list | tuple) else value


def in_pod() -> bool:
    """Whether this is a Kubernetes pod, whose disk goes when its step ends."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def environment_tags() -> dict[str, str]:
    """Who runs which code where, as far as it can be known."""
    tags = {"ganflow.pid": str(os.getpid()), "mlflow.source.name": "ganflow", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container's user may have no name
        tags["mlflow.user"] = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    for tag, variable in (("DVC_STAGE", "DVC_STAGE"), ("ganflow.image", "GANFLOW_IMAGE")):
        if variable in os.environ:
            tags[tag] = os.environ[variable]
    if retry := os.environ.get("KFP_RETRY_INDEX"):  # Kubeflow's, from 0
        tags["ganflow.attempt"] = str(int(retry) + 1)
    return {**tags, **_git_tags()}


def _git_tags() -> dict[str, str]:
    """Commit of the code, as the image or else the checkout knows it, and whether it was changed since; else {}."""
    revision = os.environ.get("GANFLOW_REVISION", "unknown")
    commit = revision.removesuffix(DIRTY)
    dirty = commit != revision
    if commit == "unknown":
        try:
            commit, dirty = _checkout()
        except (OSError, subprocess.CalledProcessError):
            return {}
    return {"mlflow.source.git.commit": commit, "ganflow.git.dirty": str(dirty).lower()}


def _checkout() -> tuple[str, bool]:
    """The checkout's commit, and whether its files were changed since."""
    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    done = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    commit = next(line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid "))
    return commit, not all(line.startswith("#") for line in lines)
