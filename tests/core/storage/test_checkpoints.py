import contextlib
import io
import os
import random
import signal
import time
import uuid
from functools import partial
from pathlib import Path

import pytest
import torch
from forks import processes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proxy import proxy
from s3 import BUCKET, DENIED_KEY, DENIED_SECRET

from components.core.errors import UserError
from components.core.storage import Checkpoints
from components.core.storage.checkpoints import GENERATIONS, SILENCE

LARGE = bytes(range(256)) * 65536
"""Read from S3 in pieces."""


@pytest.fixture(params=["own", "shared", "s3"])
def root(request, tmp_path, monkeypatch):
    """Where checkpoints go, of all kinds."""
    if request.param == "shared":
        monkeypatch.setenv("CHECKPOINT_URI", str(tmp_path / "kept"))
    if request.param == "s3":
        monkeypatch.setenv("CHECKPOINT_URI", s3_root(request.getfixturevalue("s3"), monkeypatch))
    return request.param


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The folder of the fingerprint f, which several machines mount."""
    monkeypatch.setenv("CHECKPOINT_URI", str(tmp_path / "kept"))
    return tmp_path / "kept" / "f"


@pytest.fixture
def own(tmp_path):
    """The folder of the fingerprint f in the state folder."""
    return tmp_path / "home" / "checkpoints" / "f"


@pytest.fixture
def on_s3(s3, monkeypatch):
    """The server, where checkpoints go."""
    monkeypatch.setenv("CHECKPOINT_URI", s3_root(s3, monkeypatch))
    return s3


def s3_root(s3, monkeypatch):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    return f"s3://{BUCKET}/{uuid.uuid4()}/checkpoints/"


def write(checkpoints, content, done=1, name="training"):
    checkpoints.write(name, done, lambda stream: stream.write(content))


def append(checkpoints, content, name="training"):
    checkpoints.append(name, lambda stream: stream.write(content))


def read(checkpoints, name="training"):
    """The state's bytes, and the parts' where there are any."""
    found = checkpoints.read(name, lambda stream: stream.read())
    return found and (found[0] if not found[1] else found)


def states(folder):
    """The files of states, the furthest last."""
    return sorted(folder.glob("*.state-*"), key=lambda path: path.name.partition(".state-")[2])


def age(folder, writer_of, seconds):
    """Make everything that the writer of one file wrote look older."""
    writer = writer_of.name.split(".")[-2]
    for path in folder.glob(f"*.{writer}.*"):
        changed = path.stat().st_mtime - seconds
        os.utime(path, (changed, changed))


def test_what_is_written_is_read_until_it_is_removed(root):
    checkpoints = Checkpoints("f")
    assert read(checkpoints) is None
    for done, content in enumerate((b"first", b"second", b"")):
        write(checkpoints, content, done)
        assert read(Checkpoints("f")) == content
    checkpoints.remove()
    assert read(Checkpoints("f")) is None


def test_parts_belong_to_the_states_written_after_them(root):
    checkpoints = Checkpoints("f")
    write(checkpoints, b"1", 1)
    for done in (2, 3):
        append(checkpoints, b"until %d" % done)
        write(checkpoints, b"%d" % done, done)
    assert read(Checkpoints("f")) == (b"3", [b"until 2", b"until 3"])


def test_names_and_fingerprints_keep_to_themselves(root):
    kept = {fingerprint: Checkpoints(fingerprint) for fingerprint in ("f", "ff")}
    for fingerprint, checkpoints in kept.items():
        for name in ("training", "restart-1.training"):
            write(checkpoints, f"{fingerprint} {name}".encode(), name=name)
    assert read(Checkpoints("f")) == b"f training"
    assert read(Checkpoints("f"), "restart-1.training") == b"f restart-1.training"
    kept["f"].remove()
    assert [read(Checkpoints(each), "restart-1.training") for each in kept] == [None, b"ff restart-1.training"]


def test_removing_nothing_is_no_error(root):
    Checkpoints("never written").remove()


def test_a_retry_removes_what_the_killed_execution_wrote(own):
    for done in range(3):
        killed = Checkpoints("f")
        append(killed, b"part")
        write(killed, b"old", done)
    (own / f"training.{'0' * 16}.partial").write_bytes(b"half a file")
    retry = Checkpoints("f")
    write(retry, b"new", 3)
    write(retry, b"newer", 4)
    assert len(list(own.iterdir())) == GENERATIONS
    retry.remove()
    assert not own.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(length=st.integers(0, 999))
def test_one_torn_at_any_length_falls_back_to_the_one_before(own, length):
    checkpoints = Checkpoints("f")
    write(checkpoints, b"good", 1)
    write(checkpoints, random.randbytes(1000), 2)
    newest = states(own)[-1]
    newest.write_bytes(newest.read_bytes()[:length])
    assert read(Checkpoints("f")) == b"good"
    checkpoints.remove()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(position=st.integers(0, 999), bit=st.integers(0, 7))
def test_a_single_wrong_bit_is_seen(own, position, bit):
    checkpoints = Checkpoints("f")
    write(checkpoints, b"good", 1)
    write(checkpoints, random.randbytes(1000), 2)
    newest = states(own)[-1]
    content = bytearray(newest.read_bytes())
    content[position] ^= 1 << bit
    newest.write_bytes(content)
    assert read(Checkpoints("f")) == b"good"
    checkpoints.remove()


def test_torch_itself_would_read_a_wrong_bit_as_a_weight(own):
    checkpoints = Checkpoints("f")
    weights = torch.arange(10_000)
    for done in (1, 2):
        checkpoints.write("training", done, lambda stream: torch.save({"weights": weights}, stream))
    newest = states(own)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    assert not torch.equal(torch.load(io.BytesIO(content))["weights"], weights)
    state, _ = Checkpoints("f").read("training", torch.load)
    assert torch.equal(state["weights"], weights)


@pytest.mark.parametrize("harm", ["torn", "gone"])
def test_a_state_whose_part_is_lost_falls_back_to_one_that_does_without(own, harm):
    checkpoints = Checkpoints("f")
    write(checkpoints, b"good", 1)
    append(checkpoints, b"the part")
    write(checkpoints, b"better", 2)
    (part,) = own.glob("*.part-*")
    part.write_bytes(b"the par") if harm == "torn" else part.unlink()
    assert read(Checkpoints("f")) == b"good"


def test_the_furthest_of_all_writers_is_read_and_a_torn_one_falls_back_to_another_writers(shared):
    ahead, behind = Checkpoints("f"), Checkpoints("f")
    write(ahead, b"ahead", 7)
    write(behind, b"behind", 5)
    assert read(Checkpoints("f")) == b"ahead"
    states(shared)[-1].write_bytes(b"")
    assert read(Checkpoints("f")) == b"behind"


def test_a_writer_that_is_done_leaves_a_living_ones_checkpoints(root):
    if root == "own":
        pytest.skip("there the contract lets one at a time work")
    slow, fast = Checkpoints("f"), Checkpoints("f")
    for done in (1, 2, 3):
        append(slow, b"slow's %d" % done)
        write(slow, b"slow %d" % done, done)
        write(fast, b"fast %d" % (done * 10), done * 10)
    fast.remove()
    assert read(Checkpoints("f")) == (b"slow 3", [b"slow's 1", b"slow's 2", b"slow's 3"])
    slow.remove()
    assert read(Checkpoints("f")) is None


@pytest.mark.parametrize("by", ["removing", "going on"])
def test_what_a_writer_left_who_is_silent_for_long_is_removed(shared, by):
    lost, alive = Checkpoints("f"), Checkpoints("f")
    append(lost, b"part")
    write(lost, b"lost", 1)
    age(shared, states(shared)[0], SILENCE + 10)
    write(alive, b"alive", 1)
    survivor = Checkpoints("f")
    if by == "going on":
        write(survivor, b"2", 2)
        write(survivor, b"3", 3)
    else:
        survivor.remove()
    assert b"lost" not in [path.read_bytes() for path in states(shared)]
    assert b"alive" in [path.read_bytes() for path in states(shared)]
    assert not list(shared.glob("*.part-*"))


def test_that_none_is_whole_any_more_is_told(shared, caplog):
    write(Checkpoints("f"), b"state", 1)
    (state,) = states(shared)
    state.write_bytes(b"other")
    assert read(Checkpoints("f")) is None
    assert "No checkpoint in" in caplog.text


def test_what_went_further_is_kept_however_silent_its_writer_is(shared):
    further, survivor = Checkpoints("f"), Checkpoints("f")
    write(further, b"further", 100)
    age(shared, states(shared)[0], 2 * SILENCE)
    for done in (1, 2, 3):
        write(survivor, b"%d" % done, done)
    assert read(Checkpoints("f")) == b"further"


def test_another_clock_does_not_make_a_living_writer_a_lost_one(shared, monkeypatch):
    slow, fast = Checkpoints("f"), Checkpoints("f")
    write(slow, b"slow", 1)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "time_ns", lambda: 2 * 10**18)
    fast.remove()
    assert read(Checkpoints("f")) == b"slow"


def test_files_that_are_not_checkpoints_are_left_alone(shared):
    shared.mkdir(parents=True)
    (shared / "notes.txt").write_text("mine")
    checkpoints = Checkpoints("f")
    write(checkpoints, b"content")
    checkpoints.remove()
    assert [path.name for path in shared.iterdir()] == ["notes.txt"]


def start(target, *arguments):
    """A process of this test's environment."""
    process = processes.Process(target=run, args=(dict(os.environ), target, *arguments))
    process.start()
    return process


def run(environment, target, *arguments):
    os.environ.clear()  # it is that of the test in which the first process was started
    os.environ.update(environment)
    target(*arguments)


def hammer(seconds):
    """Write, read and remove; what is read must be whole, and as far as what was written."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        checkpoints = Checkpoints("f")
        for done in range(random.randint(1, 10)):
            append(checkpoints, b"part")
            write(checkpoints, b"%04d" % done * 5000, done)
            state, parts = checkpoints.read("training", lambda stream: stream.read())
            assert len(state) == 20_000 and state[:4] * 5000 == state and int(state[:4]) >= done
            assert parts == [b"part"] * (int(state[:4]) + 1)
        checkpoints.remove()


def test_sixteen_writers_of_one_fingerprint_read_whole_states_and_never_less_than_their_own(shared):
    writers = [start(hammer, 3) for _ in range(16)]
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 16
    assert not shared.exists()


def write_on(conn, done):
    """Write states of growing number until killed, and tell of each that is written."""
    checkpoints = Checkpoints("f")
    while True:
        done += 1
        if done % 3 == 0:
            append(checkpoints, random.randbytes(3000))
        state = {"done": done, "weights": torch.ones(9999)}
        checkpoints.write("training", done, partial(torch.save, state))
        conn.send(done)


def last_done():
    """By the furthest checkpoint."""
    (content, _) = Checkpoints("f").read("training", lambda stream: stream.read())
    return torch.load(io.BytesIO(content))["done"]


def test_a_writer_killed_at_any_moment_leaves_all_that_it_had_said_to_be_written(own):
    done = 0
    for _ in range(20):
        ours, theirs = processes.Pipe(duplex=False)
        writer = start(write_on, theirs, done)
        theirs.close()
        done = ours.recv()
        time.sleep(random.uniform(0, 0.03))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        with contextlib.suppress(EOFError):
            while True:
                done = ours.recv()
        assert last_done() in (done, done + 1)
        done = last_done()
    Checkpoints("f").remove()
    assert not own.exists()


def test_one_that_is_replaced_while_it_is_read_is_read_in_its_next_version(root, monkeypatch):
    checkpoints = Checkpoints("f")
    write(checkpoints, b"1", 1)
    reader = Checkpoints("f")
    listed = reader._folder.list

    def list_then_replace():
        found = list(listed())
        for done in (2, 3, 4):
            write(checkpoints, b"%d" % done, done)
        monkeypatch.setattr(reader._folder, "list", listed)
        return found

    monkeypatch.setattr(reader._folder, "list", list_then_replace)
    assert read(reader) == b"4"


def test_one_that_is_replaced_again_and_again_is_never_taken_for_none(root, monkeypatch):
    checkpoints = Checkpoints("f")
    write(checkpoints, b"0", 0)
    reader = Checkpoints("f")
    listed, done = reader._folder.list, iter(range(1, 1000))

    def list_then_replace():
        found = list(listed())
        for number in (next(done), next(done)):
            write(checkpoints, b"next", number)
        return found

    monkeypatch.setattr(reader._folder, "list", list_then_replace)
    with pytest.raises(UserError, match="replaced faster than they are read: another machine computes the same"):
        read(reader)


def test_a_full_disk_is_a_sentence_and_what_was_there_stays(small_disk, monkeypatch):
    monkeypatch.setenv("GANFLOW_HOME", str(small_disk))
    folder = small_disk / "checkpoints" / "f"
    checkpoints = Checkpoints("f")
    write(checkpoints, b"good", 1)
    before = sorted(folder.iterdir())
    for save in (partial(torch.save, torch.zeros(3_000_000)), lambda stream: stream.write(bytes(12_000_000))):
        for act in (partial(checkpoints.write, "training", 2, save), partial(checkpoints.append, "training", save)):
            with pytest.raises(
                UserError, match=r"cannot be written in .*/f \(No space left on device\): mend that, or"
            ):
                act()
    assert sorted(folder.iterdir()) == before
    assert read(Checkpoints("f")) == b"good"
    write(checkpoints, b"better", 2)
    assert read(Checkpoints("f")) == b"better"


def test_what_cannot_be_read_is_no_missing_checkpoint(own):
    write(Checkpoints("f"), b"content")
    (path,) = own.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match=r"cannot be read in .*/f \(Is a directory\)"):
        read(Checkpoints("f"))


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHECKPOINT_URI", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written in .*file/f \(File exists\)"):
        write(Checkpoints("f"), b"content")


def test_an_error_of_what_is_saved_is_not_told_as_the_disks(own):
    with pytest.raises(RuntimeError, match="no state"):
        Checkpoints("f").write("training", 1, lambda stream: exec('raise RuntimeError("no state")'))
    assert not list(own.iterdir())


def resident_peak():
    """MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3


def write_200_mb(conn):
    weights = torch.ones(50_000_000)
    before = resident_peak()
    Checkpoints("f").write("training", 1, partial(torch.save, weights))
    conn.send(resident_peak() - before)


def test_memory_does_not_hold_a_checkpoint_twice(own):
    ours, theirs = processes.Pipe(duplex=False)
    start(write_200_mb, theirs).join()
    assert ours.recv() < 50


def test_a_large_checkpoint_comes_back_whole(on_s3):
    write(Checkpoints("f"), LARGE)
    assert read(Checkpoints("f")) == LARGE


def test_a_connection_cut_in_the_middle_is_taken_up_where_it_broke(on_s3, monkeypatch):
    content = bytes(range(256)) * 8192
    write(Checkpoints("f"), content)
    with proxy(on_s3.endpoint) as harmful:
        monkeypatch.setenv("AWS_ENDPOINT_URL", harmful.endpoint)
        harmful.cut(times=3, after=600_000)
        assert read(Checkpoints("f")) == content
        assert harmful.cuts == 0


def test_a_connection_that_only_breaks_is_given_up_with_a_sentence(on_s3, monkeypatch):
    write(Checkpoints("f"), bytes(100_000))
    with proxy(on_s3.endpoint) as harmful:
        monkeypatch.setenv("AWS_ENDPOINT_URL", harmful.endpoint)
        harmful.cut(times=100, after=2000)
        with pytest.raises(UserError, match=r"keeps breaking while .*/f/training\..* is read; run again to go on"):
            read(Checkpoints("f"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": DENIED_KEY, "AWS_SECRET_ACCESS_KEY": DENIED_SECRET}, "denies access .* AWS_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "denies access .*InvalidAccessKeyId.* check AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "denies access .*SignatureDoesNotMatch"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "127.0.0.1:1 does not answer; check AWS_ENDPOINT_URL",
        ),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "check AWS_ENDPOINT_URL"),
        ({"CHECKPOINT_URI": "s3://no-such-bucket/x"}, "has no bucket no-such-bucket; create it"),
        ({"CHECKPOINT_URI": "s3://"}, "An S3 address reads s3://bucket/prefix"),
        ({"CHECKPOINT_URI": "s3://key:secret@bucket/x"}, "^An S3 address .* keys come from the environment"),
        ({"CHECKPOINT_URI": "ftp://host/x"}, "Checkpoints cannot be kept at ftp://host/x/f; set CHECKPOINT_URI to"),
    ],
)
def test_what_is_set_wrongly_is_told_in_a_sentence(on_s3, monkeypatch, changes, message):
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    for act in (
        lambda: read(Checkpoints("f")),
        lambda: write(Checkpoints("f"), b"x"),
        lambda: Checkpoints("f").remove(),
    ):
        with pytest.raises(UserError, match=message):
            act()


def test_without_keys_it_says_which_variables_to_set(on_s3, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no keys for s3://.*; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        read(Checkpoints("f"))
