"""A training whose container is taken away, and with it the disk, goes on in another from its checkpoint on S3."""

import re
import shutil
import time

import pytest
from s3 import BUCKET

from components.core.storage import digest_path
from components.core.training import PREEMPTED
from components.data_prep.step import acquire, prepare_digits
from components.gan_training.digits_step import train_gan
from pipelines.pipeline import find

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # it may wait for the image to be built

SETTINGS = ["digits.acquire.source=bundled", "digits.gan.iterations=400", "digits.gan.checkpoint_seconds=0.1"]
PREFIX = "containers/"
KILLED = 128 + 9


@pytest.fixture
def params():
    return find("digits").load("smoke", SETTINGS)


@pytest.fixture
def digits(params, tmp_path):
    acquire(params.acquire, out=tmp_path / "raw")
    prepare_digits(params.prepare, raw=tmp_path / "raw", out=tmp_path / "digits")
    return tmp_path / "digits"


@pytest.fixture
def start(engine, image, s3, digits, tmp_path):
    """Starts the training in a new container, with nothing of what an earlier one had but S3."""
    begun = []

    def run():
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        out.chmod(0o777)
        settings = [word for each in SETTINGS for word in ("--set", each)]
        command = ["ganflow", "step", "digits", "train-gan", "--profile", "smoke", *settings]
        given = [f"data={digits}", "label=6", "replicate=0", f"out={out}/generator"]
        container = engine.containers.run(
            image,
            [*command, *given],
            detach=True,
            init=True,
            read_only=True,
            tmpfs={"/tmp": ""},
            network_mode="host",
            volumes={str(digits): {"bind": str(digits), "mode": "ro"}, str(out): {"bind": str(out), "mode": "rw"}},
            environment={
                **s3.environment(),
                "CHECKPOINT_URI": f"s3://{BUCKET}/{PREFIX}",
                "GANFLOW_JOURNALS": "/tmp/journals",  # nobody delivers them
            },
        )
        begun.append(container)
        return container

    yield run
    for container in begun:
        container.remove(force=True)


def states(s3):
    """The checkpoints on S3: whose, and after how many steps."""
    listed = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=PREFIX).get("Contents", [])
    found = [re.search(r"\.([0-9a-f]{16})\.state-(\d{12})-", each["Key"]) for each in listed]
    return {(each[1], int(each[2])) for each in found if each}


def test_a_container_ended_then_another_killed_and_the_third_ends_with_the_same_bytes(
    s3, start, params, digits, tmp_path
):
    done, writers = 0, set()
    for ending, exit_code in (("SIGTERM", PREEMPTED), ("SIGKILL", KILLED)):
        container = start()
        while not (new := {each for each in states(s3) if each[0] not in writers}):
            container.reload()
            assert container.status in ("created", "running"), container.logs().decode()
            time.sleep(0.02)
        assert min(steps for _, steps in new) > done  # it goes on there
        container.kill(ending)
        assert container.wait()["StatusCode"] == exit_code, container.logs().decode()
        done, writers = max(steps for _, steps in states(s3)), {writer for writer, _ in states(s3)}
        assert 0 < done < params.gan.iterations

    last = start()
    assert last.wait()["StatusCode"] == 0, last.logs().decode()
    assert {writer for writer, _ in states(s3)} == writers  # for a while the two might still be at it

    train_gan(params.gan, data=digits, label="6", replicate=0, out=tmp_path / "alone")
    assert digest_path(tmp_path / "out" / "generator") == digest_path(tmp_path / "alone")
