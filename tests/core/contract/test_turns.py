import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.core.contract import Run, Section, registering_step, step
from components.core.contract.turns import turn
from components.core.errors import UserError
from components.core.storage import digest_path, state_dir
from components.core.telemetry.record import FILE, Record

# A step that says when it begins, and goes on when the file "go" is there.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from components.core.contract import Run, Section, step
from components.core.errors import UserError
from components.core.signals import obey

class Params(Section):
    text: str

@step
def slow(params: Params, run: Run) -> None:
    os.write(2, b"computing\\n")
    (run.out / "text").write_text(params.text)
    while not Path("go").exists():
        time.sleep(0.01)
    if Path("fail").exists():
        Path("fail").unlink()
        raise UserError("This failed.")

outs = sys.argv[1:]
children = []
for out in outs:
    if (child := os.fork()) == 0:
        obey()
        try:
            facts = slow(Params(text="a"), out=out)
            os.write(1, f"{out} {facts['digest']}\\n".encode())
        except UserError as error:
            os.write(1, f"{error}\\n".encode())
        finally:
            os._exit(0)
    children.append(child)
    os.write(1, f"{child}\\n".encode())
for child in children:
    os.waitpid(child, 0)
"""

WAITING = "Another process executes the same step on the same inputs; waiting for its result."


class Crowd:
    """Processes that execute the same step at once, in one folder, each with an `out` of its own name.

    Attributes:
        pids: theirs.
        told: what they wrote to stderr until now.
    """

    def __init__(self, folder, outs):
        self.folder = folder
        # Alone in its folder: what lies beside a step's file counts as its code, so it would grow with what is written.
        program = folder.with_name(f"{folder.name}-program") / "slow.py"
        program.parent.mkdir(exist_ok=True)
        program.write_text(PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, str(program), *outs],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pids = [int(self.process.stdout.readline()) for _ in outs]
        self.told = []
        self._reader = threading.Thread(target=lambda: self.told.extend(self.process.stderr))
        self._reader.start()

    def wait_until(self, computing, waiting):
        deadline = time.monotonic() + 120
        while (self.count("computing"), self.count(WAITING)) != (computing, waiting):
            assert time.monotonic() < deadline, self.told
            time.sleep(0.02)

    def count(self, words):
        """How often they said that; their lines may lie in one another."""
        return "".join(self.told).count(words)

    def computing(self):
        """The process that holds the lock."""
        (lock,) = locks()
        inode = f":{lock.stat().st_ino} "
        held = next(line for line in Path("/proc/locks").read_text().splitlines() if inode in line and "->" not in line)
        return int(held.split()[4])

    def go(self):
        """Let the step end; what the processes say of how it went."""
        (self.folder / "go").touch()
        said = sorted(self.process.stdout)
        self.process.wait()
        self._reader.join()
        return said


def locks():
    return list((state_dir() / "locks").iterdir())


def journals_with(tag):
    found = 0
    for path in Path(os.environ["GANFLOW_JOURNALS"]).glob(f"*/{FILE}"):
        with contextlib.closing(Record(path.parent)) as record:
            found += any(tag in event.content for event in record.events("tags"))
    return found


@pytest.mark.parametrize("same_out", [False, True])
def test_of_sixteen_writers_of_one_fingerprint_one_computes_and_all_find_its_result(tmp_path, same_out):
    outs = ["out" if same_out else f"out-{number:02}" for number in range(16)]
    crowd = Crowd(tmp_path, outs)
    crowd.wait_until(computing=1, waiting=15)
    assert crowd.go() == [f"{out} {digest_path(tmp_path / out)}\n" for out in outs]
    assert crowd.count("computing") == 1
    assert {(tmp_path / out / "text").read_text() for out in outs} == {"a"}
    assert journals_with("ganflow.reused") == 15
    assert journals_with("ganflow.output") == 16
    assert locks() == []


def test_when_the_one_that_computes_is_killed_the_next_computes(tmp_path):
    crowd = Crowd(tmp_path, ["a", "b", "c"])
    crowd.wait_until(computing=1, waiting=2)
    os.kill(crowd.computing(), signal.SIGKILL)
    crowd.wait_until(computing=2, waiting=2)
    assert len(crowd.go()) == 2
    assert crowd.count("computing") == 2
    assert sum((tmp_path / out).exists() for out in "abc") == 2
    assert locks() == []


def test_when_the_one_that_computes_fails_the_next_computes(tmp_path):
    (tmp_path / "fail").touch()
    crowd = Crowd(tmp_path, ["a", "b", "c"])
    crowd.wait_until(computing=1, waiting=2)
    assert "This failed.\n" in crowd.go()
    assert crowd.count("computing") == 2
    assert sum((tmp_path / out).exists() for out in "abc") == 2
    assert locks() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_who_waits_and_who_computes(tmp_path, number):
    crowd = Crowd(tmp_path, ["a", "b"])
    crowd.wait_until(computing=1, waiting=1)
    for pid in crowd.pids:
        os.kill(pid, number)
    assert crowd.go() == []
    assert crowd.count("computing") <= 2  # the second may have got the turn before it was told to end
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("go", "home", "journals")] == []


class Params(Section):
    text: str


@step
def count(params: Params, run: Run) -> None:
    (run.out / "text").write_text(params.text)
    with Path(params.text).open("a") as log:
        log.write("x")


def test_who_comes_later_computes_as_ever(tmp_path):
    for _ in range(2):
        count(Params(text=str(tmp_path / "log")), out=tmp_path / "out")
    assert (tmp_path / "log").read_text() == "xx"


@pytest.mark.parametrize("change", ["none", "changed", "removed", "note"])
def test_a_result_that_is_not_what_was_noted_any_more_is_not_taken(tmp_path, capsys, change):
    first, found = tmp_path / "first", []

    def wait():
        with turn("f" * 64, tmp_path / "second") as mine:
            found.append(mine.digest)

    first.mkdir()
    (first / "text").write_text("a")
    digest = digest_path(first)
    second = threading.Thread(target=wait, daemon=True)
    with turn("f" * 64, first) as mine:
        second.start()
        while WAITING not in capsys.readouterr().err:
            time.sleep(0.02)
        mine.note("no digest" if change == "note" else digest)
        if change == "changed":
            (first / "text").write_text("b")
        elif change == "removed":
            shutil.rmtree(first)
    second.join(60)
    assert found == ([digest] if change == "none" else [None])
    assert (tmp_path / "second").exists() == (change == "none")
    assert locks() == []


def test_a_lock_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    state_dir().mkdir()
    (state_dir() / "locks").write_text("")
    with pytest.raises(UserError, match=r"locks cannot be written to \(File exists\)"):
        count(Params(text=str(tmp_path / "log")), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_a_registering_step_every_execution_counts(tmp_path):
    """What it changes lies elsewhere, perhaps on another server."""
    registry = []

    class Params(Section):
        pass

    @registering_step
    def enter(params: Params, run: Run) -> None:
        registry.append(threading.current_thread().name)
        (run.out / "entered").touch()

    def execute(out):
        enter(Params(), out=tmp_path / out)

    with turn(fingerprint_of(enter, Params()), tmp_path / "a"):
        waiting = threading.Thread(target=execute, args=["b"], name="second")
        waiting.start()
        time.sleep(0.5)
    waiting.join()
    execute("c")
    assert registry == ["second", threading.current_thread().name]


def fingerprint_of(called, params):
    return called.fingerprint(params, {}, {})
