"""What container tests share; they skip where no engine answers."""

import contextlib

import docker
import pytest
from engine import built_image, why_not


@pytest.fixture(scope="session")
def engine():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with contextlib.closing(docker.from_env()) as client:
        yield client


@pytest.fixture(scope="session")
def image(engine, tmp_path_factory):
    """The id of this checkout's image."""
    return built_image(tmp_path_factory.getbasetemp().parent)


@pytest.fixture
def in_container(engine, image):
    """What a command prints in a container of the image: no network, a read-only root file system, no capabilities."""

    def run(*command):
        hardened = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
        given = {"network_mode": "none", "tmpfs": {"/tmp": ""}, "remove": True}
        return engine.containers.run(image, list(command), **hardened, **given).decode()

    return run
