"""A trainer whose machine is taken away, and with it the disk, goes on elsewhere from its checkpoint on S3."""

import os
import signal
import time

import pytest
from forks import processes
from s3 import BUCKET
from trainers import execute

from components.core.storage import digest_path
from components.core.training import PREEMPTED
from components.data_prep.step import acquire, prepare_digits
from pipelines.pipeline import find


@pytest.fixture
def digits(tmp_path):
    params = find("digits").load("smoke", ["digits.acquire.source=bundled"])
    acquire(params.acquire, out=tmp_path / "raw")
    prepare_digits(params.prepare, raw=tmp_path / "raw", out=tmp_path / "digits")
    return tmp_path / "digits"


def checkpoints(s3):
    """The names of the files on S3."""
    found = s3.client().list_objects_v2(Bucket=BUCKET, Prefix="preempted/").get("Contents", [])
    return {each["Key"].rpartition("/")[2] for each in found}


def steps_done(s3):
    """How far the checkpoint on S3 is; 0 without one."""
    return max((int(name.partition(".state-")[2][:12]) for name in checkpoints(s3) if ".state-" in name), default=0)


def test_a_trainer_ended_then_killed_each_time_on_an_empty_disk_ends_with_the_same_bytes(s3, digits, tmp_path):
    settings = ["digits.gan.iterations=200", "digits.gan.checkpoint_seconds=0.1"]
    params = find("digits").load("smoke", settings).gan.model_dump_json()
    on_s3 = s3.environment() | {"CHECKPOINT_URI": f"s3://{BUCKET}/preempted"}

    def start(home, **environment):
        given = {"data": digits, "label": "6", "replicate": 0, "out": tmp_path / home / "out"}
        arguments = ("gan", params, given, tmp_path / home)
        process = processes.Process(target=execute, args=arguments, kwargs=environment)
        process.start()
        return process

    alone = start("alone")
    alone.join()
    assert alone.exitcode == 0

    done = 0
    for home, ending, exit_code in (("first", signal.SIGTERM, PREEMPTED), ("second", signal.SIGKILL, -signal.SIGKILL)):
        process = start(home, **on_s3)
        while steps_done(s3) <= done:
            assert process.is_alive()
            time.sleep(0.02)
        os.kill(process.pid, ending)
        process.join()
        assert process.exitcode == exit_code
        assert steps_done(s3) > done
        done = steps_done(s3)

    left = checkpoints(s3)
    last = start("third", **on_s3)
    last.join()
    assert last.exitcode == 0
    assert digest_path(tmp_path / "third" / "out") == digest_path(tmp_path / "alone" / "out")
    assert checkpoints(s3) == left  # for ten minutes the two might still be at it
