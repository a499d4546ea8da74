import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
from proxy import proxy
from s3 import BUCKET, DENIED_KEY, DENIED_SECRET

from components.core.errors import UserError
from components.core.storage import digest_path, fetch
from components.core.storage.dataset import digest_listing

PIECE = 8 << 20
"""Bytes of a large object that one request asks for."""

CONTENTS = {
    "labels.csv": b"image,patient,label\n",
    "empty": b"",
    "images/ä b+c%20.mha": b"\0\1\2" * 1000,
    "images/deep/er/x": b"x",
    "large": b"large" * (2 * PIECE // 5) + b"the rest",
}


class Data:
    """A dataset on the server, of one kind of source.

    Attributes:
        uri: the source's.
    """

    def __init__(self, kind, s3, tmp_path):
        self.kind, self._client = kind, s3.client()
        self._prefix = f"{uuid.uuid4()}/data"
        self.uri = f"{kind}://{BUCKET}/{self._prefix}"
        self.original = tmp_path / "original"
        self.put(CONTENTS)

    def put(self, contents):
        """Make these the dataset; its digest."""
        for name, content in contents.items():
            (self.original / name).parent.mkdir(parents=True, exist_ok=True)
            (self.original / name).write_bytes(content)
            self.upload(name if self.kind == "s3" else key_of(content), content)
        self.digest = (
            digest_listing(self.uri)
            if self.kind == "s3"
            else self.put_manifest([{"md5": md5(content), "relpath": name} for name, content in contents.items()])
        )

    def put_manifest(self, listed):
        manifest = json.dumps(listed).encode()
        self.upload(f"{key_of(manifest)}.dir", manifest)
        return f"{md5(manifest)}.dir"

    def key(self, name):
        """Name of the object with a file's content."""
        return name if self.kind == "s3" else key_of(CONTENTS[name])

    def upload(self, key, content):
        self._client.put_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}", Body=content)

    def upload_in_parts(self, path, key):
        self._client.upload_file(str(path), BUCKET, f"{self._prefix}/{key}")

    def delete(self, key):
        self._client.delete_object(Bucket=BUCKET, Key=f"{self._prefix}/{key}")

    def fetch(self):
        return fetch(self.uri, self.digest)

    def is_whole(self):
        return digest_path(self.fetch()) == digest_path(self.original)


def md5(content):
    return hashlib.md5(content).hexdigest()


def key_of(content):
    return f"{md5(content)[:2]}/{md5(content)[2:]}"


@pytest.fixture
def environment(s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture(params=["s3", "dvc+s3"])
def data(request, s3, environment, tmp_path):
    """A dataset of either kind."""
    return Data(request.param, s3, tmp_path)


@pytest.fixture
def on_s3(s3, environment, tmp_path):
    return Data("s3", s3, tmp_path)


@pytest.fixture
def on_dvc(s3, environment, tmp_path):
    return Data("dvc+s3", s3, tmp_path)


@pytest.fixture
def line(s3, monkeypatch, environment):
    """The line to the server, to be harmed."""
    with proxy(s3.endpoint) as harmful:
        monkeypatch.setenv("AWS_ENDPOINT_URL", harmful.endpoint)
        yield harmful


def nothing_under_a_final_name(tmp_path):
    return all(path.name.startswith(".") for path in (tmp_path / "home" / "data").glob("*"))


def test_a_local_folder_is_taken_as_it_is(tmp_path):
    assert fetch(str(tmp_path), digest_path(tmp_path)) == tmp_path


def test_what_is_fetched_has_the_same_bytes_and_is_fetched_once(data, monkeypatch):
    assert data.is_whole()
    assert data.fetch().name == data.digest
    assert [path.name for path in data.fetch().parent.iterdir() if not path.name.endswith(".lock")] == [data.digest]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert data.is_whole()


def test_neighbours_of_a_prefix_are_not_in_it(on_s3):
    on_s3.upload("../data2/x".replace("../data2", "more"), b"")
    assert "more/x" not in [path.name for path in on_s3.original.rglob("*")]


def test_two_processes_that_fetch_at_once_both_have_it(data):
    code = f"from components.core.storage import fetch; print(fetch({data.uri!r}, {data.digest!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert told == {str(data.fetch())}
    assert data.is_whole()


def test_a_killed_fetch_goes_on_with_the_files_that_are_there(data, line, tmp_path):
    line.pause = 0.02
    code = f"from components.core.storage import fetch; fetch({data.uri!r}, {data.digest!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    partial = tmp_path / "home" / "data" / f".{data.digest}.partial"
    while not ((partial / "labels.csv").exists() and list(partial.glob("large.*"))):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert nothing_under_a_final_name(tmp_path)
    line.pause = 0
    written = (partial / "labels.csv").stat().st_mtime_ns
    assert data.is_whole()
    assert (data.fetch() / "labels.csv").stat().st_mtime_ns == written


def test_a_full_disk_is_told_and_with_room_the_next_attempt_goes_on(data, small_disk, monkeypatch):
    monkeypatch.setenv("GANFLOW_HOME", str(small_disk))
    with pytest.raises(UserError, match=r"written to .*small-disk/data \(No space left on device\); make room"):
        data.fetch()
    assert not (small_disk / "data" / data.digest).exists()
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    assert data.is_whole()


def test_a_server_that_goes_away_in_the_middle_is_told_and_the_next_attempt_goes_on(data, line, tmp_path):
    line.meanwhile(PIECE, lambda: line.cut(times=10_000, after=0))
    with pytest.raises(UserError, match=r"does not answer; check AWS_ENDPOINT_URL|keeps breaking while .* run again"):
        data.fetch()
    assert nothing_under_a_final_name(tmp_path)
    line.cut(times=0, after=0)
    assert data.is_whole()


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_an_object_that_is_harmed_while_it_is_fetched_makes_no_dataset(on_s3, line, tmp_path, change):
    line.meanwhile(
        PIECE // 2, lambda: on_s3.delete("large") if change == "removed" else on_s3.upload("large", bytes(2 * PIECE))
    )
    with pytest.raises(UserError, match="changed after the pipeline was submitted; submit it again"):
        on_s3.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_an_object_that_goes_from_a_dvc_remote_while_it_is_fetched_is_named(on_dvc, line, tmp_path):
    line.meanwhile(PIECE // 2, lambda: on_dvc.delete(on_dvc.key("large")))
    with pytest.raises(UserError, match=f"lacks the object .*/{on_dvc.key('large')}; run `dvc push`"):
        on_dvc.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_another_user_reads_what_was_fetched(data, monkeypatch):
    if os.geteuid():
        pytest.skip("only root can be another user")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("GANFLOW_HOME", folder)
        data.fetch()
        code = (
            "import os; from components.core.storage import digest_path; import components.core.storage.dataset as d;"
            "os.setuid(65534); from pathlib import Path;"
            f"print(digest_path(d.fetch_dataset({data.uri!r}, {data.digest!r}, Path({folder!r}, 'data'))))"
        )
        told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told.strip() == digest_path(data.original)


def test_a_connection_cut_in_the_middle_is_taken_up(data, line):
    line.cut(times=4, after=900_000)
    assert data.is_whole()
    assert line.cuts == 0


def test_a_line_that_stays_broken_is_told_and_the_next_attempt_goes_on(data, line, tmp_path):
    line.cut(times=10_000, after=PIECE // 16)
    with pytest.raises(UserError, match=r"keeps breaking while .* run again to go on"):
        data.fetch()
    assert nothing_under_a_final_name(tmp_path)
    line.cut(times=0, after=0)
    assert data.is_whole()


@pytest.mark.parametrize("content", [b"image,patient", b"rest"], ids=["small", "large"])
def test_a_byte_flipped_on_the_way_is_fetched_again(data, line, content):
    line.swap(1, content, b"?" + content[1:])
    assert data.is_whole()
    assert line.swaps == 0


@pytest.mark.parametrize("content", [b"image,patient", b"rest"], ids=["small", "large"])
def test_bytes_that_keep_being_flipped_are_an_error_and_no_dataset(data, line, tmp_path, content):
    line.swap(1000, content, b"?" + content[1:])
    with pytest.raises(UserError, match=r"(labels.csv|large) is damaged: .*upload it anew"):
        data.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_an_object_uploaded_in_parts_is_checked_too(on_s3, line, tmp_path):
    on_s3.upload_in_parts(on_s3.original / "large", "large")
    on_s3.digest = digest_listing(on_s3.uri)
    line.swap(1, b"rest", b"?est")
    assert on_s3.is_whole()
    assert line.swaps == 0


@pytest.mark.parametrize("size", [1, 99, 100, 101, 200, 1000])
def test_an_etag_of_parts_is_the_md5_of_their_md5s(size, tmp_path):
    from components.core.storage.download import checksum

    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    parts = [hashlib.md5(content[start : start + 100]).digest() for start in range(0, size, 100)]
    assert checksum(tmp_path / "x", 100) == f"{md5(b''.join(parts))}-{len(parts)}"


def test_keys_that_are_denied_are_told(data, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", DENIED_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", DENIED_SECRET)
    with pytest.raises(UserError, match=r"denies access .* check AWS_ACCESS_KEY_ID"):
        data.fetch()


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_data_that_changed_after_submission_is_not_taken(on_s3, tmp_path, change):
    match change:
        case "changed":
            on_s3.upload("labels.csv", b"other")
        case "added":
            on_s3.upload("new", b"")
        case "removed":
            on_s3.delete("empty")
    with pytest.raises(UserError, match=f"The data at {on_s3.uri} changed after the pipeline was submitted; submit it"):
        on_s3.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_an_object_that_goes_while_its_fellows_are_fetched_is_not_left_out(on_s3, line, tmp_path):
    line.swap(2, b"labels.csv", b"lobels.csv")  # listed, and not there
    on_s3.digest = digest_listing(on_s3.uri)
    with pytest.raises(UserError, match="changed after the pipeline was submitted"):
        on_s3.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_an_empty_prefix_is_an_error(on_s3):
    with pytest.raises(UserError, match=r"There is nothing below .*/none; check the address"):
        digest_listing(f"{on_s3.uri}/none")


@pytest.mark.parametrize("name", ["large", "labels.csv"])
def test_an_object_missing_from_a_dvc_remote_is_named(on_dvc, tmp_path, name):
    on_dvc.delete(on_dvc.key(name))
    with pytest.raises(UserError, match=f"lacks the object .*/{on_dvc.key(name)}; run `dvc push`"):
        on_dvc.fetch()
    assert nothing_under_a_final_name(tmp_path)


@pytest.mark.parametrize("name", ["large", "labels.csv"])
def test_an_object_damaged_in_a_dvc_remote_is_no_dataset(on_dvc, tmp_path, name):
    on_dvc.upload(on_dvc.key(name), b"?" + CONTENTS[name][1:])
    with pytest.raises(UserError, match=f"{name} is damaged: the object .*/{on_dvc.key(name)} has not the content"):
        on_dvc.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_a_manifest_that_is_missing_damaged_or_none_is_told(on_dvc):
    for content, message in ((None, "lacks the object"), (b"[]", "manifest .* is damaged")):
        manifest = f"{on_dvc.digest[:2]}/{on_dvc.digest[2:]}"
        on_dvc.delete(manifest) if content is None else on_dvc.upload(manifest, content)
        with pytest.raises(UserError, match=message):
            on_dvc.fetch()
    for listed in (
        {},
        1,
        [1],
        [{"relpath": "a"}],
        [{"relpath": 1, "md5": md5(b"")}],
        [{"relpath": "a", "md5": "../.."}],
    ):
        with pytest.raises(UserError, match="is no manifest of DVC"):
            fetch(on_dvc.uri, on_dvc.put_manifest(listed) if listed != {} else on_dvc.put_manifest({"a": 1}))


OUTSIDE = ["../x", "/etc/x", "a/../../x", "..", ".", "", "a//b", "a/", "a\\..\\x", "C:\\x", "x\0y", "x" * 300, "\ud800"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_manifests_names_cannot_leave_the_folder(on_dvc, tmp_path, name):
    before = {path for path in tmp_path.rglob("*") if "home" not in path.parts}
    digest = on_dvc.put_manifest([{"relpath": name, "md5": md5(b"x")}])
    with pytest.raises(UserError, match="is no name within a folder; rename it"):
        fetch(on_dvc.uri, digest)
    assert {path for path in tmp_path.rglob("*") if "home" not in path.parts} == before
    assert nothing_under_a_final_name(tmp_path)


@pytest.mark.parametrize("names", [["a", "a"], ["a/b", "a"], ["a", "a/b/c"]])
def test_a_manifests_names_cannot_stand_in_each_others_way(on_dvc, names):
    digest = on_dvc.put_manifest([{"relpath": name, "md5": md5(b"x")} for name in names])
    with pytest.raises(UserError, match=r"two files named 'a'|'a' as a file and as a folder"):
        fetch(on_dvc.uri, digest)


@pytest.mark.parametrize("name", [b"../../.csv", b"/abels.csv", b"a/../b.csv", b"a\\.bels.cs"])
def test_a_listings_names_cannot_leave_the_folder(on_s3, line, tmp_path, name):
    line.swap(2, b"labels.csv", name)
    on_s3.digest = digest_listing(on_s3.uri)
    with pytest.raises(UserError, match="is no name within a folder; rename it"):
        on_s3.fetch()
    assert nothing_under_a_final_name(tmp_path)


def test_links_among_what_was_left_are_not_followed(on_dvc, tmp_path):
    files = tmp_path / "home" / "data" / f".{on_dvc.digest}.partial"
    files.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (files / "images").symlink_to(tmp_path / "elsewhere")
    (files / "labels.csv").symlink_to(tmp_path / "victim")
    assert on_dvc.is_whole()
    assert not (tmp_path / "victim").exists()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("source", "digest"),
    [("ftp://host/x", "0" * 64), (f"s3://{BUCKET}/x", "../../x"), (f"dvc+s3://{BUCKET}/x", "0" * 31 + "/.dir")],
)
def test_other_sources_and_digests_are_refused(source, digest):
    with pytest.raises(UserError, match="Data cannot be fetched from"):
        fetch(source, digest)


def test_a_state_folder_that_cannot_be_written_is_told(on_dvc, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANFLOW_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written to .* set GANFLOW_HOME"):
        on_dvc.fetch()


def test_no_git_is_needed(on_dvc, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert not any((parent / ".git").exists() for parent in Path.cwd().parents)
    assert on_dvc.is_whole()
