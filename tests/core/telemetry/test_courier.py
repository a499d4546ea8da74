"""Couriers and what goes wrong for one journal: the others' delivery, what is told, what stays on disk."""

import contextlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deliveries import all_runs, deliver, left, open_journal, points, the_run, wait_until
from mlflow import MlflowClient
from ports import free_port
from users import let_in, needs_root, run_as

from components.core.errors import UserError
from components.core.telemetry import Journal, Record, activities, journals_dir, shown
from components.core.telemetry.courier import KEEP_DAYS, SET_ASIDE, Courier
from components.core.telemetry.tracking import open_pipeline_run

pytestmark = pytest.mark.usefixtures("home")

PASSWORD = "correct-horse"


def finish(**given) -> Path:
    """The journal of a step that is over."""
    with open_journal(**given) as journal:
        journal.metrics({"loss": 1.0}, 0)
    return journal.folder


def age(folder: Path, days: float) -> None:
    then = time.time() - 86400 * days
    for path in folder.iterdir():
        os.utime(path, (then, then))


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What couriers logged, of the level of an error."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


class TestEachForItself:
    @pytest.mark.parametrize("damage", [b"", b"\0" * 4096, b"garbage" * 1000])
    def test_a_journal_that_a_power_cut_tore_is_set_aside_and_holds_up_nobody(self, journals, caplog, damage):
        finish(arguments={"number": 1})
        torn = finish(arguments={"number": 2})
        (torn / "journal.db").write_bytes(damage)
        (torn / "artifacts").mkdir()
        age(torn, days=1)
        deliver(journals)
        assert [run.data.params["number"] for run in all_runs()] == ["1"]
        assert [path.name for path in (journals / SET_ASIDE).iterdir()] == [torn.name]
        assert len([line for line in words(caplog) if "cannot be read" in line]) == 1
        caplog.clear()
        deliver(journals)
        assert words(caplog) == []

    def test_a_journal_with_a_page_torn_is_set_aside_and_holds_up_nobody(self, journals):
        finish(arguments={"number": 1})
        torn = finish(arguments={"number": 2})
        with (torn / "journal.db").open("r+b") as stream:
            stream.seek(4096)
            stream.write(os.urandom(4096))
        deliver(journals)
        assert [run.data.params["number"] for run in all_runs()] == ["1"]
        assert left(journals) == []

    def test_a_step_killed_before_its_journal_began_leaves_nothing(self, journals):
        folder = journals / "0-00000000"
        folder.mkdir(parents=True)
        for name in ("step.lock", "progress.json"):
            (folder / name).write_text("{}")
        age(folder, days=1)
        deliver(journals)
        assert not folder.exists()

    def test_folders_of_others_among_the_journals_stay(self, journals):
        theirs = [journals / name / "file" for name in ("photos", ".git", "set-aside/thesis")]
        for file in theirs:
            file.parent.mkdir(parents=True)
            file.touch()
            age(file.parent, days=400)
        deliver(journals)
        deliver(journals)
        assert all(file.exists() for file in theirs)

    def test_an_error_with_a_secret_between_quotes_is_delivered(self, journals):
        with pytest.raises(RuntimeError), open_journal():
            raise RuntimeError('cannot open "http://host/x?token=abc" now')
        deliver(journals)
        assert the_run().data.tags["ganflow.error"] == 'cannot open "http://host/x?token=…" now'

    def test_a_deleted_experiment_is_told_as_such_once_and_served_when_it_is_restored(
        self, journals, monkeypatch, caplog
    ):
        client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        gone = client.create_experiment("gone")
        client.delete_experiment(gone)
        older = finish(arguments={"number": 1})
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "gone")
        newer = finish(arguments={"number": 2})
        for _ in range(2):
            deliver(journals)
        assert not older.exists()
        assert left(journals) == [newer]
        (told,) = words(caplog)
        assert "trash: restore it there, or name another experiment" in told
        assert "away" not in told
        client.restore_experiment(gone)
        deliver(journals)
        assert len(points(client.search_runs([gone])[0], "loss")) == 1

    def test_an_experiment_deleted_under_a_run_loses_nothing(self, journals):
        client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        experiment = client.create_experiment("ganflow")
        with Courier(journals), open_journal() as journal:
            journal.run_id()
            client.delete_experiment(experiment)
            journal.history([{"loss": float(step)} for step in range(100)], first=0)
        assert left(journals) == [journal.folder]
        client.restore_experiment(experiment)
        deliver(journals)
        assert len(points(the_run(), "loss")) == 100

    def test_artifacts_that_cannot_be_stored_hold_up_no_other_journal(self, home, journals, monkeypatch):
        monkeypatch.setattr("components.core.telemetry.courier.GRACE_SECONDS", 0.5)
        (home / "note.txt").write_text("kept")
        (home / "file").write_text("")
        MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).create_experiment("broken", f"{home}/file/artifacts")
        finish(arguments={"number": 1})
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "broken")
        with open_journal(arguments={"number": 2}) as broken:
            broken.metrics({"loss": 1.0}, 0)
            broken.artifact(home / "note.txt")
        deliver(journals)
        assert {run.data.params["number"]: run.info.status for run in all_runs()} == dict.fromkeys("12", "FINISHED")
        assert all(run.data.metrics == {"loss": 1.0} for run in all_runs())
        assert left(journals) == [broken.folder]

    def test_who_waits_for_a_run_that_mlflow_refuses_hears_why_and_of_no_other(self, journals, monkeypatch):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        with Courier(journals), open_journal() as refused:
            with pytest.raises(UserError, match=r"refuses: Run with id=0+ not found"):
                refused.run_id()
            monkeypatch.delenv("MLFLOW_RUN_ID")
            with open_journal() as journal:
                assert journal.run_id()

    def test_what_nobody_could_deliver_goes_after_some_months(self, journals, monkeypatch, caplog):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        kept, old = finish(), finish()
        age(kept, KEEP_DAYS - 1)
        age(old, KEEP_DAYS + 1)
        deliver(journals)
        assert left(journals) == [kept]
        assert any("could not be delivered for 91 days and is removed" in line for line in words(caplog))

    def test_and_earlier_where_it_is_much_the_oldest_first(self, journals, monkeypatch):
        monkeypatch.setattr("components.core.telemetry.courier.KEEP_BYTES", 150_000)
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        folders = [finish() for _ in range(4)]
        for folder in folders:
            (folder / "artifacts").mkdir()
            (folder / "artifacts" / "large").write_bytes(bytes(50_000))
            age(folder, days=10)
        age(folders[0], days=1)
        deliver(journals)
        assert sorted(left(journals)) == [folders[0], *folders[2:]]

    def test_the_rest_of_a_journal_whose_remover_was_killed_goes(self, journals):
        folder = finish()
        hidden = folder.with_name(f".{folder.name}")
        folder.rename(hidden)
        (hidden / "journal.db").unlink()
        deliver(journals)
        assert not hidden.exists()
        assert all_runs() == []


class TestPasswords:
    @pytest.mark.parametrize(
        ("told", "public"),
        [
            ("http://me:secret@host/x", "http://host/x"),
            ("http://me:se@cret@host:5000", "http://host:5000"),
            ("url: http://me@host failed, and s3://key:secret@host/a@b", "url: http://host failed, and s3://b"),
            ("postgresql://me:pa/ss@host/db", "postgresql://host/db"),
            ("postgresql://host/db?password=secret&x=1", "postgresql://host/db?password=…&x=1"),
            ("https://host/x?a=1&access_token=secret", "https://host/x?a=1&access_token=…"),
            ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
            ("sqlite:////me@work/mlflow.db", "sqlite:////me@work/mlflow.db"),
        ],
    )
    def test_are_not_shown(self, told, public):
        assert shown(told) == public

    def test_are_nowhere_on_disk(self, home, monkeypatch):
        monkeypatch.delenv("GANFLOW_JOURNALS")
        monkeypatch.setattr("components.core.telemetry.journal.DELIVERY_SECONDS", 0)
        uri = f"http://me:{PASSWORD}@127.0.0.1:{free_port()}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(UserError), open_journal(arguments={"source": f"{uri}/data"}) as journal:
            journal.dataset("cohort", "0" * 32, f"{uri}/cohort", {"images": 1})
            journal.warn(f"{uri} is slow")
            wait_until(lambda: "to be tried again" in log.read_text() if (log := find_log(home)) else False)
            raise UserError(f"{uri} is down")
        assert left(journals_dir()) == [journal.folder]
        files = [path for path in home.rglob("*") if path.is_file()]
        assert {"journal.db", f"courier-{os.getuid()}.log"} <= {path.name for path in files}
        for path in files:
            with contextlib.suppress(FileNotFoundError):  # SQLite's, which a courier has just removed
                assert PASSWORD.encode() not in path.read_bytes(), path

    def test_a_journal_is_its_users_alone(self, journals):
        assert finish().stat().st_mode & 0o077 == 0


def find_log(home: Path) -> Path | None:
    return next(iter((home / "journals").glob("courier-*.log")), None)


@needs_root
class TestTwoUsers:
    """A state folder that two users of a group share."""

    GROUP, USERS = 4000, (4001, 4002)

    @pytest.fixture(autouse=True)
    def shared(self, home, journals, monkeypatch):
        for path in (home, *home.iterdir()):
            os.chown(path, -1, self.GROUP)
        home.chmod(0o2770)
        (home / "mlflow.db").chmod(0o660)
        let_in(home)
        monkeypatch.setenv("HOME", str(home))
        deliver(journals.with_name("warm"))  # what it imports must have been imported
        shutil.rmtree(journals.with_name("warm"))

    def test_each_delivers_what_is_theirs(self, home, journals):
        def step():
            finish(arguments={"number": os.getuid()})
            assert len(left(journals)) == 1, "theirs, if not delivered, cannot be seen"
            deliver(journals)

        for user in self.USERS:
            assert run_as(user, step, groups=[self.GROUP]) == ""
        assert {run.data.params["number"] for run in all_runs()} == set(map(str, self.USERS))

    def test_what_is_anothers_is_left_alone(self, journals):
        first, second = self.USERS
        assert run_as(first, finish, groups=[self.GROUP]) == ""
        assert run_as(second, lambda: deliver(journals), groups=[self.GROUP]) == ""
        assert run_as(second, lambda: print(activities(journals)), groups=[self.GROUP]) == "[]\n"
        assert all_runs() == []
        deliver(journals)  # root does
        assert len(all_runs()) == 1


class TestAFullDisk:
    @pytest.fixture
    def disk(self, small_disk, monkeypatch):
        monkeypatch.setenv("GANFLOW_JOURNALS", str(small_disk / "journals"))
        return small_disk

    def fill(self, disk: Path, leave: int) -> None:
        """Fill a disk up, but for so many bytes."""
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as stream:
            try:
                while True:
                    stream.write(bytes(4096))
            except OSError:
                pass
        os.truncate(ballast, max(0, ballast.stat().st_size - leave))

    def test_ends_a_step_with_a_sentence_wherever_it_strikes_and_loses_nothing_that_was_told(self, disk):
        finished = 0
        for pages in (0, 1, 2, 4, 6, 8, 10, 12, 16, 24, 40, 60):
            told = []
            self.fill(disk, 4096 * pages)
            try:
                with open_journal(arguments={"number": pages}) as journal:
                    for step in range(20):
                        journal.metrics({"loss": float(step)}, step)
                        told.append((step, float(step)))
                    journal.artifact(Path(__file__))
                finished += 1
            except UserError as error:
                assert "cannot be written to" in str(error)
                assert "make room there, or set GANFLOW_HOME to another folder" in str(error)
            (disk / "ballast").unlink()
            deliver(disk / "journals")
            found = [run for run in all_runs() if run.data.params.get("number") == str(pages)]
            assert len(found) <= 1
            assert not told or sorted(points(found[0], "loss")) == told
        assert 0 < finished < 12

    def test_keeps_no_journal_from_being_delivered_and_removed(self, disk):
        with pytest.raises(UserError, match="make room there"), Courier(disk / "journals"), open_journal() as journal:
            journal.history([{"loss": float(step)} for step in range(3000)], first=0)
            self.fill(disk, leave=0)
        assert len(points(the_run(), "loss")) == 3000
        assert left(disk / "journals") == []


DIE_AFTER_CREATING = """
import os, signal
from components.core.telemetry.tracking import Store, open_pipeline_run

create = Store.open_run

def die(self, start):
    create(self, start)
    os.kill(os.getpid(), signal.SIGKILL)

Store.open_run = die
open_pipeline_run("cardiac", "cardiac", {}, {})
"""


def test_a_pipeline_run_whose_process_dies_as_it_is_created_does_not_run_for_ever(journals):
    done = subprocess.run([sys.executable, "-c", DIE_AFTER_CREATING])
    assert done.returncode == -signal.SIGKILL
    assert the_run().info.status == "RUNNING"
    deliver(journals)
    assert the_run().info.status == "KILLED"


def test_a_pipeline_run_that_is_refused_leaves_nothing(home, journals, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    with pytest.raises(UserError, match="refuses: No Experiment with id=77"):
        open_pipeline_run("cardiac", "cardiac", {}, {})
    assert left(journals) == []


LOG_UNTIL_KILLED = """
import os, random, signal, threading, time
from components.core import signals
from components.core.telemetry import Journal

def kill():
    time.sleep(random.random() / 20)
    os.kill(os.getpid(), signal.SIGTERM)

signals.obey()
with Journal.open("x", {}, {}, "f" * 64, {}) as journal:
    threading.Thread(target=kill).start()
    step = 0
    while True:
        journal.history([{"loss": float(step)}] * 3, step)
        journal.progress(step, 10**9)
        journal.tags({"step": str(step)})
        step += 3
"""


@pytest.mark.parametrize("attempt", range(5))
def test_a_signal_in_the_middle_of_anything_ends_the_run_as_killed(journals, attempt):
    done = subprocess.run([sys.executable, "-c", LOG_UNTIL_KILLED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (75, "")
    (folder,) = left(journals)
    with contextlib.closing(Record(folder)) as record:
        assert record.events("metrics", "tags", "end")[-1].content == {"status": "KILLED", "error": ""}
        assert len(record.events("end")) == 1


def test_closing_twice_ends_a_run_once(journals):
    with open_journal() as journal:
        journal.close("KILLED")
    with sqlite3.connect(journal.folder / "journal.db") as connection:
        assert connection.execute("SELECT count(*) FROM event WHERE kind = 'end'").fetchone() == (1,)
    assert isinstance(journal, Journal)
