"""Journals: what they hold, and how they end."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.core.errors import UserError
from components.core.telemetry import Journal, Record, activities, environment_tags, is_alive, tracking_uri
from components.core.telemetry.record import Event


@pytest.fixture(autouse=True)
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of journals that nobody delivers."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "GANFLOW_PARENT_RUN", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path / "journals"))
    return tmp_path / "journals"


def open_journal(**given):
    contents = {"params": {}, "arguments": {}, "fingerprint": "f" * 64, "inputs": {}}
    return Journal.open("train-egan", **contents | given)


def events(journal: Journal, *kinds: str) -> list[Event]:
    with contextlib.closing(Record(journal.folder)) as record:
        return record.events(*(kinds or ("params", "tags", "metrics", "dataset", "artifact", "end")))


def start_of(journal: Journal) -> dict:
    with contextlib.closing(Record(journal.folder)) as record:
        return record.start


def tags_of(journal: Journal) -> dict[str, str]:
    return events(journal, "tags")[0].content


def test_events_stand_in_the_order_of_logging():
    with open_journal() as journal:
        journal.metrics({"loss": 0.5}, 0)
        journal.history([{"loss": 0.25}, {"loss": 0.125}], first=1)
        journal.output("d" * 64)
    _, _, one, two, tags, end = events(journal)
    assert start_of(journal)["step"] == "train-egan"
    assert one.points() == [("loss", 0.5, one.time, 0)]
    assert two.points() == [("loss", 0.25, two.time, 1), ("loss", 0.125, two.time, 2)]
    assert tags.content == {"ganflow.output": "d" * 64}
    assert (end.kind, end.content["status"]) == ("end", "FINISHED")
    assert start_of(journal)["time"] <= one.time <= end.time


ROWS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.floats(width=64), min_size=1), max_size=5)


@given(rows=ROWS, repeats=st.sampled_from([1, 700]), first=st.integers(0, 10**9))
@settings(max_examples=30)
def test_a_history_is_kept_point_for_point(tmp_path_factory, rows, repeats, first):
    journal = Journal(tmp_path_factory.mktemp("journals"), {"step": "x"})
    rows = rows * repeats
    times = [1_700_000_000_000 + 7 * place for place in range(len(rows))]
    journal.history(rows, first, times)
    found = sorted((point for event in events(journal, "metrics") for point in event.points()), key=repr)
    told = [(name, value, times[i], first + i) for i, row in enumerate(rows) for name, value in row.items()]
    assert repr(found) == repr(sorted(told, key=repr))  # NaN is not equal to NaN
    journal.discard()


def test_parameters_are_flat_and_the_name_tells_the_arguments():
    with open_journal(params={"a": {"b": 1}, "c": [1, 2]}, arguments={"fold": 0, "label": "patient"}) as journal:
        (params,) = events(journal, "params")
    assert start_of(journal)["name"] == "train-egan fold=0 label=patient"
    assert params.content == {"a.b": "1", "c": "[1, 2]", "fold": "0", "label": "patient"}
    assert tags_of(journal)["ganflow.argument.label"] == "patient"


def test_inputs_are_tagged_by_digest_however_many():
    digests = [f"{number:064x}" for number in range(250)]
    with open_journal(inputs={"images": "a" * 64, "generators": digests, "mask": None}) as journal:
        tags = tags_of(journal)
    assert tags["ganflow.input.images"] == "a" * 64
    names = ["ganflow.input.generators", "ganflow.input.generators.2", "ganflow.input.generators.3"]
    assert ",".join(tags[name] for name in names).split(",") == digests
    assert "ganflow.input.mask" not in tags


def test_the_runners_facts_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DVC_STAGE", "refine@0")
    monkeypatch.setenv("GANFLOW_IMAGE", "sha256:12")
    monkeypatch.setenv("MLFLOW_RUN_ID", "run")
    monkeypatch.setenv("GANFLOW_PARENT_RUN", "parent")
    monkeypatch.setenv("KFP_RETRY_INDEX", "1")
    with open_journal() as journal:
        start, tags = start_of(journal), tags_of(journal)
    assert (tags["DVC_STAGE"], tags["ganflow.image"]) == ("refine@0", "sha256:12")
    assert tags["ganflow.attempt"] == "2"
    assert (start["run_id"], start["parent"]) == ("run", "parent")


def test_an_error_ends_the_run_as_failed_with_its_sentence():
    with pytest.raises(ValueError), open_journal() as journal:
        raise ValueError("too\nfew images")
    assert events(journal)[-1].content == {"status": "FAILED", "error": "too few images"}


@pytest.mark.parametrize("reason", [SystemExit(75), KeyboardInterrupt()])
def test_a_stop_from_outside_ends_the_run_as_killed(reason: BaseException):
    with pytest.raises(type(reason)), open_journal() as journal:
        raise reason
    assert events(journal)[-1].content["status"] == "KILLED"


def test_a_journal_is_alive_as_long_as_it_is_open():
    with open_journal() as journal:
        assert is_alive(journal.folder)
    assert not is_alive(journal.folder)


def test_a_killed_step_is_dead_even_where_its_forked_child_lives_on(journals: Path):
    code = (
        "import os, time\n"
        "from components.core.telemetry.journal import Journal, journals_dir\n"
        "journal = Journal(journals_dir(), {'step': 'x', 'name': 'x'})\n"
        "if os.fork() == 0:\n"
        "    print(os.getpid(), journal.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    step = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child, folder = step.stdout.readline().split()
    try:
        assert is_alive(Path(folder))
        step.kill()
        step.wait()
        assert not is_alive(Path(folder))
    finally:
        os.kill(int(child), signal.SIGKILL)
        step.stdout.close()


def test_pictures_become_png():
    grey = np.array([[-1.0, 0.0], [1.0, 2.0]])
    colour = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    with open_journal() as journal:
        journal.image("samples/grey", grey)
        journal.image("colour", colour)
        artifacts = journal.folder / "artifacts"
        assert np.asarray(Image.open(artifacts / "samples" / "grey.png")).tolist() == [[0, 128], [255, 255]]
        assert np.array_equal(np.asarray(Image.open(artifacts / "colour.png")), colour)
        assert [event.content["path"] for event in events(journal, "artifact")] == ["samples/grey.png", "colour.png"]


def test_artifacts_are_copied_as_they_are_now(tmp_path: Path):
    plots = tmp_path / "plots"
    plots.mkdir()
    (plots / "loss.csv").write_text("1")
    with open_journal() as journal:
        journal.artifact(plots)
        journal.artifact(plots / "loss.csv", folder="tables")
        (plots / "loss.csv").write_text("2")
        artifacts = journal.folder / "artifacts"
        assert (artifacts / "plots" / "loss.csv").read_text() == "1"
        assert (artifacts / "tables" / "loss.csv").read_text() == "1"


def test_progress_is_seen_while_the_step_lives(journals: Path):
    with open_journal(arguments={"fold": 2}) as journal:
        journal.progress(1, 10)
        (seen,) = activities(journals)
        assert (seen.step, seen.name, seen.done, seen.total) == ("train-egan", "train-egan fold=2", 1, 10)
    assert activities(journals) == []


def test_progress_is_kept_twice_a_second_at_most_and_at_the_end():
    with open_journal() as journal:
        writes = set()
        for done in range(1000):
            journal.progress(done, 1000)
            writes.add((journal.folder / "progress.json").read_text())
        assert len(writes) < 100
        journal.progress(1000, 1000)
        assert json.loads((journal.folder / "progress.json").read_text())["done"] == 1000


def test_a_metric_name_that_mlflow_would_refuse_is_refused_at_once():
    with open_journal() as journal, pytest.raises(ValueError, match="größe"):
        journal.metrics({"größe": 1.0}, 0)


def test_without_a_courier_there_is_no_run_to_log_models_into():
    with open_journal() as journal, pytest.raises(UserError, match="does not answer; start it"):
        journal.run_id(seconds=0)


def test_the_default_store_is_a_file_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert tracking_uri() == "http://mlflow:5000"


def test_importing_tracking_is_cheap():
    code = (
        "import sys, components.core.telemetry.courier; print(*{'mlflow', 'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"


def test_journals_sort_by_age(journals: Path):
    made = []
    for _ in range(3):
        with open_journal() as journal:
            made.append(journal.folder)
        time.sleep(0.001)
    assert sorted(made) == made


@pytest.mark.parametrize(("revision", "dirty"), [("0123abc", "false"), ("0123abc-dirty", "true")])
def test_in_an_image_a_run_is_tagged_with_the_commit_that_the_image_was_built_from(monkeypatch, revision, dirty):
    monkeypatch.setenv("GANFLOW_REVISION", revision)
    tags = environment_tags()
    assert (tags["mlflow.source.git.commit"], tags["ganflow.git.dirty"]) == ("0123abc", dirty)
