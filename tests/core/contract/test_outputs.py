import json
import shutil
import subprocess
import sys

import pytest
from disks import fill
from hypothesis import given
from hypothesis import strategies as st
from users import let_in, needs_root, run_as

from components.core.contract.outputs import check_replaceable, replacing
from components.core.errors import UserError
from components.core.storage import digest_path
from components.core.storage.digest import MANIFEST


def write(out, content="new", name="text"):
    with replacing(out) as folder:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def content(folder):
    """Text by relative name, of everything but the manifest."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_what_ganflow_wrote_is_replaced_whole(tmp_path):
    write(tmp_path / "out", name="stale/file")
    write(tmp_path / "out")
    assert content(tmp_path) == {"out/text": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert content(tmp_path) == {"out/text": "new"}


def test_parents_are_made(tmp_path):
    write(tmp_path / "deep" / "er" / "out")
    assert content(tmp_path) == {"deep/er/out/text": "new"}


def test_a_folder_that_ganflow_did_not_make_is_refused_before_work_starts(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with (
        pytest.raises(UserError, match=r"out holds thesis\.tex, which this ganflow did not write"),
        replacing(tmp_path / "out"),
    ):
        pytest.fail("work began")
    assert content(tmp_path) == {"out/thesis.tex": "mine"}


@pytest.mark.parametrize("name", ["notes.txt", "deep/notes.txt"])
def test_a_file_that_a_user_added_to_an_output_is_named_and_kept(tmp_path, name):
    write(tmp_path / "out", "old", "deep/text")
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(UserError, match=f"out holds {name},"):
        write(tmp_path / "out")
    assert content(tmp_path / "out") == {"deep/text": "old", name: "mine"}


def test_a_link_that_a_user_added_to_an_output_is_named_and_kept(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="out holds link,"):
        write(tmp_path / "out")


def test_a_file_that_a_user_adds_while_a_step_runs_is_kept_and_so_is_the_steps_output(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(UserError, match=r"notes\.txt"), replacing(tmp_path / "out") as folder:
        (folder / "text").write_text("new")
        (tmp_path / "out" / "notes.txt").write_text("mine")
    assert content(tmp_path / "out") == {"text": "old", "notes.txt": "mine"}
    (tmp_path / "out" / "notes.txt").rename(tmp_path / "notes.txt")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "out"):
        raise ZeroDivisionError
    assert content(tmp_path) == {"out/text": "new", "notes.txt": "mine"}


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_link_or_a_file_is_refused_before_work_starts(tmp_path, kind):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    if kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to(elsewhere)
    if kind == "link":
        elsewhere.mkdir()
    with pytest.raises(UserError, match=f"which is a {kind.split()[-1]}; give a folder"):
        check_replaceable(out)


@pytest.mark.parametrize("out", ["raw", "raw/hearts", "raw/hearts/out", "link", "link/hearts", "new/../raw/hearts"])
def test_an_output_and_an_input_must_lie_apart(tmp_path, out):
    write(tmp_path / "raw" / "hearts")
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match=r"would replace the input|is a link"):
        check_replaceable(tmp_path / out, [tmp_path / "other", tmp_path / "raw" / "hearts"])
    check_replaceable(tmp_path / "raw" / "hearts2", [tmp_path / "raw" / "hearts"])


def test_a_mounted_disk_is_refused(small_disk):
    with pytest.raises(UserError, match="is a mounted disk"):
        check_replaceable(small_disk)


def test_the_manifest_is_the_same_wherever_an_output_is_made_and_counts_for_no_digest(tmp_path):
    for out in ("a", "b"):
        write(tmp_path / out)
    manifests = [(tmp_path / out / MANIFEST).read_bytes() for out in ("a", "b")]
    assert manifests[0] == manifests[1] == b'[\n "text"\n]\n'
    digest = digest_path(tmp_path / "a")
    (tmp_path / "a" / MANIFEST).unlink()
    assert digest_path(tmp_path / "a") == digest


def test_a_linked_output_of_dvcs_is_replaced_and_its_cache_is_not_written_to(tmp_path):
    write(tmp_path / "out", "old")
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("text", MANIFEST):
        (tmp_path / "out" / name).rename(cache / name)
        (tmp_path / "out" / name).symlink_to(cache / name)
    with replacing(tmp_path / "next") as folder:
        shutil.copytree(tmp_path / "out", folder, symlinks=True, dirs_exist_ok=True)
        (folder / "more").write_text("new")
    write(tmp_path / "out")
    assert (cache / "text").read_text() == "old"
    assert json.loads((cache / MANIFEST).read_text()) == ["text"]
    assert content(tmp_path / "out") == {"text": "new"}


def test_a_failure_leaves_the_old_output_alone(tmp_path):
    write(tmp_path / "out", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "out") as folder:
        (folder / "half").write_text("")
        raise ZeroDivisionError
    assert content(tmp_path) == {"out/text": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# Kills itself by SIGKILL before the system call of a number that would change something in the folder.
KILLED = """
import os, signal, sys
from pathlib import Path
from components.core.contract.outputs import replacing

out, dies_at, calls = Path(sys.argv[1]), int(sys.argv[2]), 0
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "open"}

def count(event, arguments):
    global calls
    writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
    if event in CHANGES and (event != "open" or writes) and str(out.parent) in str(arguments[0]) or event == "os.rmdir":
        calls += 1
        if calls == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
with replacing(out) as folder:
    for name in ("a", "b"):
        (folder / name).write_text("new")
print(calls)
"""


def start(program, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options
    )


def test_killed_at_any_line_the_next_start_finds_the_old_output_or_the_new_one_whole(tmp_path):
    out, old, new = tmp_path / "out", {"old": "old"}, {"a": "new", "b": "new"}
    found = []
    for dies_at in range(1, 100):
        shutil.rmtree(out, ignore_errors=True)
        write(out, "old", "old")
        process = start(KILLED, out, dies_at)
        finished = process.communicate()[0]
        with pytest.raises(ZeroDivisionError), replacing(out):
            found.append(content(out))
            raise ZeroDivisionError
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        if finished:
            break
    assert found[0] == old and found[-1] == new
    assert all(each in (old, new) for each in found)
    assert found == sorted(found, key=lambda each: each == new)
    assert len(found) > 8


ENDED = """
import signal, sys
from pathlib import Path
from components.core.contract.outputs import replacing
from components.core.signals import obey

out, ends_at, events = Path(sys.argv[1]), int(sys.argv[2]), 0

def count(event, arguments):
    global events
    if arguments and str(out.parent) in str(arguments[0]):
        events += 1
        if events == ends_at:
            signal.raise_signal(signal.SIGINT)

obey()
sys.addaudithook(count)
with replacing(out) as folder:
    (folder / "a").write_text("new")
"""


def test_ended_by_a_signal_at_any_line_it_leaves_nothing_beside_the_output(tmp_path):
    write(tmp_path / "out")
    for ends_at in range(1, 100):
        process = start(ENDED, tmp_path / "out", ends_at)
        process.communicate()
        assert [path.name for path in tmp_path.iterdir()] == ["out"], ends_at
        if process.returncode == 0:
            break
        assert process.returncode == 130
    assert ends_at > 8


HOLDS = """
import sys
from pathlib import Path
from components.core.contract.outputs import replacing

with replacing(Path(sys.argv[1])) as folder:
    (folder / "text").write_text(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    processes = [start(HOLDS, tmp_path / "out", number, stdin=subprocess.PIPE) for number in range(2)]
    for process in processes:
        process.stdout.readline()
    assert len(list(tmp_path.iterdir())) == 2
    processes[0].kill()
    processes[0].wait()
    write(tmp_path / "out")
    assert len(list(tmp_path.iterdir())) == 2
    processes[1].communicate()
    assert content(tmp_path) == {"out/text": "1"}
    processes[0].communicate()


RACES = """
import sys
from pathlib import Path
from components.core.contract.outputs import replacing

sys.stdin.read(1)
for _ in range(20):
    with replacing(Path(sys.argv[1])) as folder:
        for name in "abc":
            (folder / name).write_text(sys.argv[2])
"""


def test_processes_that_swap_one_output_at_once_lose_nothing(tmp_path):
    processes = [start(RACES, tmp_path / "out", number, stdin=subprocess.PIPE) for number in range(4)]
    for process in processes:
        process.stdin.write("x")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert set(content(tmp_path / "out")) == set("abc")
    assert len(set(content(tmp_path / "out").values())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@given(names=st.sets(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=40)))
def test_any_file_name_is_known_again(tmp_path_factory, names):
    names = {name for name in names if name not in (".", "..", MANIFEST)}
    out = tmp_path_factory.mktemp("names") / "out"
    for _ in range(2):
        with replacing(out) as folder:
            for name in names:
                (folder / name).write_text("")
    check_replaceable(out)
    assert set(content(out)) == names


def test_a_full_disk_is_told_in_a_sentence_and_the_old_output_stays(small_disk):
    out = small_disk / "out"
    write(out, "old")
    with (
        pytest.raises(UserError, match=r"cannot be written to .*out \(No space left on device\); make room"),
        replacing(out) as folder,
    ):
        fill(folder / "large")
    assert content(small_disk) == {"out/text": "old"}
    write(out)
    assert content(small_disk) == {"out/text": "new"}


@needs_root
@pytest.mark.parametrize(("mode", "sentence"), [(0o755, "Permission denied"), (0o1777, "is another user's")])
def test_a_folder_that_may_not_be_written_to_is_told_before_work_starts(tmp_path, mode, sentence):
    def work():
        with replacing(tmp_path / "out"):
            print("work began")

    write(tmp_path / "out", "old")
    let_in(tmp_path)
    tmp_path.chmod(mode)
    printed = run_as(65534, work)
    assert "work began" not in printed
    assert "UserError" in printed.splitlines()[-1]
    assert sentence in printed.splitlines()[-1]
    assert content(tmp_path) == {"out/text": "old"}
