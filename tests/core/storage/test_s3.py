import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from proxy import proxy
from s3 import BUCKET
from s3transfer.manager import TransferConfig

from components.core.errors import UserError
from components.core.storage import s3 as s3_module
from components.core.storage.s3 import CONNECTIONS, Absent, Changed, S3Folder

PIECE = 8 << 20
"""Bytes of a large object that one request asks for."""

OLD, NEW = b"old!" * (3 * PIECE // 4), b"new?" * (3 * PIECE // 4) + b"more"
SHORTER = b"less"


@pytest.fixture
def uri(s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    return f"s3://{BUCKET}/{uuid.uuid4()}"


@pytest.fixture
def folder(uri):
    return S3Folder(uri)


@pytest.fixture
def line(s3, uri, monkeypatch):
    """The line to the server, to be harmed."""
    with proxy(s3.endpoint) as harmful:
        monkeypatch.setenv("AWS_ENDPOINT_URL", harmful.endpoint)
        yield harmful


@pytest.fixture
def put(folder, tmp_path):
    """Makes some bytes the object `x`."""

    def upload(content):
        (tmp_path / "original").write_bytes(content)
        folder.upload(tmp_path / "original", "x")

    return upload


@pytest.fixture(params=["read", "download"])
def take(request, line, uri, tmp_path):
    """Takes the object `x` through the line: its bytes, None where there is none."""
    through = S3Folder(uri)

    def download():
        try:
            through.download("x", tmp_path / "copy")
        except Absent:
            return None
        return (tmp_path / "copy").read_bytes()

    return download if request.param == "download" else lambda: through.read("x")


@pytest.mark.parametrize("content", [b"", b"small", NEW], ids=["empty", "small", "large"])
def test_what_is_put_there_is_listed_and_taken_until_it_is_deleted(folder, put, take, content):
    assert take() is None
    put(OLD)
    put(content)
    assert take() == content
    assert [(entry.name, entry.size) for entry in folder.list()] == [("x", len(content))]
    assert abs(folder.list()[0].modified - datetime.now(UTC)) < timedelta(minutes=1)
    folder.delete(["x", "x"])
    assert take() is None
    assert folder.list() == []


@pytest.mark.parametrize("after", [0, 1_000_000, PIECE + 1_000_000])
def test_an_object_that_is_replaced_while_it_is_read_is_read_in_one_version(put, take, line, after):
    put(OLD)
    line.meanwhile(after, lambda: put(NEW))
    assert take() in (OLD, NEW)


def test_nothing_is_left_of_a_longer_version_after_a_break(put, take, line):
    put(OLD)

    def replace():
        put(SHORTER)
        line.cut(times=1, after=0)

    line.meanwhile(4_000_000, replace)
    assert take() == SHORTER


def test_an_object_that_is_replaced_all_the_time_is_told_from_none(put, take, line, tmp_path):
    versions = iter(range(100))

    def replace():
        put(OLD[:PIECE] + b"%d" % next(versions))
        line.meanwhile(PIECE // 2, replace)

    replace()
    with pytest.raises(Changed, match=r"/x was replaced while it was read; run again when nobody writes it"):
        take()
    assert issubclass(Changed, UserError)
    assert not (tmp_path / "copy").exists()


def test_an_object_that_vanishes_while_it_is_read_is_none(folder, put, take, line):
    put(OLD)
    line.meanwhile(1_000_000, lambda: folder.delete(["x"]))
    assert take() is None


def test_only_the_version_asked_for_is_downloaded(folder, put, tmp_path):
    put(OLD)
    (old,) = folder.list()
    folder.download("x", tmp_path / "copy", old.etag)
    put(NEW)
    with pytest.raises(Changed):
        folder.download("x", tmp_path / "copy", old.etag)
    assert (tmp_path / "copy").read_bytes() == OLD
    with pytest.raises(Absent):
        folder.download("y", tmp_path / "copy", old.etag)


def test_many_large_objects_at_once_do_not_wait_for_each_other(uri, monkeypatch, tmp_path):
    monkeypatch.setattr(s3_module, "TransferConfig", partial(TransferConfig, multipart_chunksize=1 << 16))
    (tmp_path / "large").write_bytes(OLD[:PIECE])
    folder = S3Folder(uri)
    with ThreadPoolExecutor(2 * CONNECTIONS) as pool:
        names = [
            str(number) for number in range(2 * CONNECTIONS)
        ]  # together more pieces than boto3's queue has room for
        list(pool.map(lambda name: folder.upload(tmp_path / "large", name), names))
        list(pool.map(lambda name: folder.download(name, tmp_path / name), names))
    assert {(tmp_path / name).read_bytes() for name in names} == {OLD[:PIECE]}


def test_a_large_file_is_uploaded_in_parts_so_that_there_is_no_largest(folder, put):
    put(NEW)
    assert folder.list()[0].etag.endswith("-4")


@pytest.mark.parametrize("after", [0, 600, 1200, 1800])
def test_a_killed_upload_leaves_what_was_there_or_the_new_content(folder, put, line, uri, tmp_path, after):
    put(OLD)
    (tmp_path / "new").write_bytes(NEW)
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib; from components.core.storage.s3 import S3Folder;"
            f"S3Folder({uri!r}).upload(pathlib.Path({str(tmp_path / 'new')!r}), 'x')",
        ]
    )
    line.meanwhile(after, process.kill)  # in the middle of the answers, of which the last says that it is done
    process.wait()
    assert folder.read("x") in (OLD, NEW)
    assert after or folder.read("x") == OLD


def test_a_line_that_breaks_while_a_file_is_uploaded_is_told(put, line, uri, tmp_path):
    put(OLD)
    (tmp_path / "new").write_bytes(NEW)
    through = S3Folder(uri)
    line.cut(times=10_000, after=0)
    with pytest.raises(UserError, match=r"does not answer; check AWS_ENDPOINT_URL"):
        through.upload(tmp_path / "new", "x")


def test_a_file_that_cannot_be_written_is_the_callers_to_tell(folder, put, small_disk):
    put(OLD)
    with pytest.raises(OSError, match="No space left"):
        folder.download("x", small_disk / "x")
    assert not list(small_disk.iterdir())
