import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
from disks import fill
from hypothesis import given
from hypothesis import strategies as st
from users import let_in, needs_root, run_as

from components.core.errors import UserError
from components.core.storage import digest_code, digest_json, digest_path, memo, state_dir


def folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_a_copy_has_its_originals_digest(tmp_path):
    original = folder(tmp_path / "a", {"x": b"1", "deep/y": b"2"})
    shutil.copytree(original, tmp_path / "b")
    assert digest_path(original) == digest_path(tmp_path / "b")


@given(content=st.binary(min_size=1, max_size=64), data=st.data())
def test_one_changed_byte_changes_the_digest(tmp_path_factory, content, data):
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] ^= 1
    root = tmp_path_factory.mktemp("digest")
    before = folder(root / "a", {"x": content})
    after = folder(root / "b", {"x": bytes(changed)})
    assert digest_path(before) != digest_path(after)


def test_a_renamed_file_changes_the_digest(tmp_path):
    assert digest_path(folder(tmp_path / "a", {"x": b"1"})) != digest_path(folder(tmp_path / "b", {"y": b"1"}))


def test_bytes_moved_between_files_change_the_digest(tmp_path):
    before = folder(tmp_path / "a", {"x": b"12", "y": b"3"})
    after = folder(tmp_path / "b", {"x": b"1", "y": b"23"})
    assert digest_path(before) != digest_path(after)


def test_code_is_its_sources_and_not_its_byte_code(tmp_path):
    package = folder(tmp_path / "package", {"step.py": b"x = 1"})
    before = digest_code(package)
    folder(package, {"__pycache__/step.pyc": b"junk"})
    assert digest_code(package) == before
    folder(package, {"step.py": b"x = 2"})
    assert digest_code(package) != before


def test_a_template_is_code_too(tmp_path):
    before = digest_code(folder(tmp_path / "a", {"step.py": b"x", "templates/page.html": b"1"}))
    assert digest_code(folder(tmp_path / "b", {"step.py": b"x", "templates/page.html": b"2"})) != before


def test_the_order_of_keys_does_not_count():
    assert digest_json({"a": 1, "b": [1, 2]}) == digest_json({"b": [1, 2], "a": 1})


def test_what_lies_behind_links_counts(tmp_path):
    elsewhere = folder(tmp_path / "elsewhere", {"deep/photo": b"1", "alone": b"2"})
    data = folder(tmp_path / "data", {"labels": b"x"})
    (data / "images").symlink_to(elsewhere / "deep")
    (data / "alone").symlink_to(elsewhere / "alone")
    before = digest_path(data)
    assert before == digest_path(folder(tmp_path / "copy", {"labels": b"x", "images/photo": b"1", "alone": b"2"}))
    folder(elsewhere, {"deep/photo": b"another"})
    assert digest_path(data) != before


def test_a_link_that_leads_nowhere_counts_by_its_name(tmp_path):
    data = folder(tmp_path / "data", {"x": b"1"})
    before = digest_path(data)
    (data / "broken").symlink_to("nowhere")
    assert digest_path(data) != before


@pytest.mark.parametrize("target", [".", "..", "../../other"])
def test_a_link_in_a_circle_is_refused(tmp_path, target):
    data = folder(tmp_path / "data", {"deep/x": b"1"})
    folder(tmp_path / "other", {"y": b"1"})
    (tmp_path / "other" / "back").symlink_to("../data")
    (data / "deep" / "link").symlink_to(target)
    with pytest.raises(UserError, match=r"The link .*(link|back) leads back to a folder that it lies in; remove it"):
        digest_path(data)


def test_two_links_to_one_folder_are_no_circle(tmp_path):
    data = folder(tmp_path / "data", {"x/y": b"1"})
    for name in ("a", "b"):
        (data / name).symlink_to("x")
    assert digest_path(data) == digest_path(folder(tmp_path / "copy", {f"{name}/y": b"1" for name in "xab"}))


@needs_root
def test_what_may_not_be_read_counts_by_its_name(tmp_path):
    data = folder(tmp_path / "data", {"file": b"1", "folder/x": b"2", "listed/x": b"3"})
    let_in(tmp_path / "data" / "x")
    (data / "file").chmod(0)
    (data / "folder").chmod(0)
    (data / "listed").chmod(0o444)
    said = run_as(65534, lambda: print(digest_path(data)))
    assert said.strip() == digest_json({"file": "", "folder/": "", "listed/x": ""})


PROCESS = """
import sys
from pathlib import Path
from components.core.storage import digest_path, memo

read = []
reads = memo._read
memo._read = lambda file, stamp: read.append(Path(file).name) or reads(file, stamp)
print(digest_path(Path(sys.argv[1])), *sorted(read))
"""


def digest_in_a_process(data):
    """The digest as another process finds it, and what it read for that."""
    done = subprocess.run([sys.executable, "-c", PROCESS, data], capture_output=True, text=True, check=True)
    digest, *read = done.stdout.split()
    return digest, read


@pytest.fixture
def large(tmp_path):
    """A folder that is worth remembering, last changed a while ago."""
    data = folder(tmp_path / "large", {"a": b"a" * (memo.MUCH // 2 + 1), "b": b"b" * (memo.MUCH // 2 + 1)})
    for file in data.iterdir():
        os.utime(file, (0, 0))
    wait_until_settled(data)
    return data


def wait_until_settled(data):
    """Wait until the last change of every file is long enough ago to be trusted."""
    newest = max(file.stat().st_ctime_ns for file in data.iterdir())
    while time.time_ns() < newest + 2_100_000_000:
        time.sleep(0.05)


def test_what_one_process_read_the_next_does_not_read_again(large):
    digest, read = digest_in_a_process(large)
    assert read == ["a", "b"]
    assert digest_in_a_process(large) == (digest, [])
    (large / "a").write_bytes(b"c" * (memo.MUCH // 2 + 1))
    os.utime(large / "a", (0, 0))  # the time of the last change says nothing
    changed, read = digest_in_a_process(large)
    assert (changed != digest and read == ["a", "b"]) or read == ["a"]


def test_what_was_changed_just_now_is_read_again(tmp_path):
    file = tmp_path / "file"
    for content in (b"1", b"2") * 20:  # within one tick of the clock that files' times are taken from
        file.write_bytes(content)
        assert digest_path(file) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("harm", ["garbage", "cut short", "locked", "folder", "full disk"])
def test_a_memo_that_is_harmed_costs_time_alone(large, harm, request, monkeypatch):
    database = state_dir() / "digests.sqlite"
    digest, _ = digest_in_a_process(large)
    if harm == "garbage":
        database.write_bytes(b"garbage" * 4096)
    elif harm == "cut short":
        database.write_bytes(database.read_bytes()[:5000])
    elif harm == "folder":
        database.unlink()
        database.mkdir()
    elif harm == "full disk":
        monkeypatch.setenv("GANFLOW_HOME", str(request.getfixturevalue("small_disk")))
        fill(state_dir() / "large")
    with contextlib.closing(sqlite3.connect(database)) if harm == "locked" else contextlib.nullcontext() as locker:
        if locker:
            locker.execute("BEGIN EXCLUSIVE")
        assert digest_in_a_process(large) == (digest, ["a", "b"])
    if harm in ("garbage", "cut short"):
        digest_in_a_process(large)
        assert digest_in_a_process(large) == (digest, [])
