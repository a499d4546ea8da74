"""The image that steps run in: built from a checkout, pushed to a registry, known by its digest."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import UserError
from components.core.telemetry import DIRTY

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

TAG = "ganflow:latest"
"""What the image built last is called on its engine."""

DOCKERFILE = Path("infra", "docker", "Dockerfile")


@contextlib.contextmanager
def engine() -> Iterator["DockerClient"]:
    """A client of the Docker engine that the environment names (DOCKER_HOST).

    Raises:
        UserError: none answers.
    """
    import docker

    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise UserError(f"No Docker engine answers; start one or set DOCKER_HOST ({error}).") from error
    with contextlib.closing(client):
        yield client


def find_image(client: "DockerClient", reference: str | None) -> "Image":
    """The engine's image of that name, digest or id; the one built last where none is given.

    Raises:
        UserError: the engine has no such image.
    """
    import docker

    try:
        return client.images.get(reference or TAG)
    except docker.errors.ImageNotFound:
        name = reference or TAG
        raise UserError(
            f"The Docker engine has no image {name}; build it with `ganflow image build` or `docker pull` it."
        ) from None


def revision(checkout: Path) -> str:
    """The commit of a checkout, marked where the checkout has changed since; "unknown" outside of Git."""
    try:
        commit = _git(checkout, "rev-parse", "HEAD")
        return commit + DIRTY if _git(checkout, "status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def build_image(checkout: Path, torch_index: str, tell: Callable[[str], None], *, tag: str = TAG) -> str:
    """Build the image of a checkout; its id.

    Args:
        torch_index: index in which to look for torch beside PyPI, such as PyTorch's of CPU builds.
        tell: takes each line of the engine's log, and what the image takes.
        tag: what the image is called on the engine.

    Raises:
        UserError: there is no engine, or the build failed.
    """
    arguments = {"REVISION": revision(checkout), "TORCH_INDEX": torch_index}
    with engine() as client:
        log = client.api.build(
            path=str(checkout), dockerfile=str(DOCKERFILE), buildargs=arguments, tag=tag, forcerm=True, decode=True
        )
        _follow(log, "The image could not be built", tell)
        image = client.images.get(tag)
    tell(f"The image takes {image.attrs['Size'] / 1e9:.1f} GB.")
    return image.id


def push_image(reference: str | None, name: str, tell: Callable[[str], None]) -> str:
    """Push an image to a registry; the reference by digest, `name@sha256:…`, that pipelines are given.

    Args:
        reference: of the image on the engine; the one built last where none is given.
        name: registry, repository and perhaps a tag, such as registry.example.org/team/ganflow:0.1.0.
        tell: takes each line of the engine's log.

    Raises:
        UserError: there is no engine or no such image, or the registry refuses.
    """
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(name)
    with engine() as client:
        find_image(client, reference).tag(repository, tag)
        log = client.api.push(repository, tag or "latest", stream=True, decode=True)
        facts = _follow(log, f"{repository} does not take the image", tell)
    return f"{repository}@{facts['Digest']}"


def _follow(log: Iterator[dict[str, Any]], failure: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """Hand an engine's log on, line by line; the facts at its end."""
    import docker

    facts: dict[str, Any] = {}
    try:
        for entry in log:
            if "error" in entry:
                raise UserError(f"{failure}: {' '.join(entry['error'].split())}")
            facts |= entry.get("aux", {})
            if "progress" not in entry and (line := entry.get("stream") or entry.get("status", "")).strip():
                tell(line.rstrip())
    except docker.errors.APIError as error:
        raise UserError(f"{failure}: {error.explanation}") from error
    return facts


def _git(checkout: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=checkout, check=True, capture_output=True, text=True)
    return done.stdout.strip()
