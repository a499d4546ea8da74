"""A real Docker engine for tests: whether one answers, and the image that is built on it."""

import contextlib
from pathlib import Path

import docker
from filelock import FileLock

from pipelines.image import build_image
from pipelines.pipeline import CHECKOUT

IMAGE = "ganflow:test"


def why_not() -> str:
    """Why container tests cannot run here, "" where they can."""
    try:
        with_engine = docker.from_env()
        with_engine.ping()
    except docker.errors.DockerException:
        return "no Docker engine answers (DOCKER_HOST)"
    with_engine.close()
    return ""


def built_image(locks: Path) -> str:
    """The id of this checkout's image; of several workers one builds it, and the others find it in the cache.

    The image before it goes: each holds gigabytes, and nobody else would remove it."""
    with FileLock(locks / "image.lock"), contextlib.closing(docker.from_env()) as client:
        before = {image.id for image in client.images.list(IMAGE)}
        built = build_image(CHECKOUT, "", print, tag=IMAGE)
        for outdated in before - {built}:
            client.images.remove(outdated, force=True)
        return built
