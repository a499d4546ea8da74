import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.core.contract import KEEP_CHECKPOINTS, ComputeSection, Run, Section, comparing_step, step
from components.core.errors import UserError
from components.core.storage import digest_path
from components.core.storage.digest import MANIFEST
from components.core.telemetry import Record


class Params(Section):
    text: str


class TorchParams(ComputeSection):
    pass


@step
def write_text(params: Params, run: Run, *, source: Path, more: list[Path], fold: int) -> None:
    (run.out / "text").write_text(params.text + source.read_text() + str(fold))


@step
def draw(params: TorchParams, run: Run, *, optional: Path | None) -> None:
    import torch

    (run.out / "numbers").write_text(f"{torch.rand(3).tolist()} {run.seed} {torch.get_num_threads()}")


@step
def fail(params: Params, run: Run) -> None:
    (run.out / "half").write_text("written")
    raise UserError("This input is bad; mend it.")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_text("input")
    return path


def test_a_step_returns_its_fingerprint_and_its_outputs_digest(tmp_path, source):
    facts = write_text(Params(text="a"), source=source, more=[], fold=0, out=tmp_path / "out")
    assert facts["digest"] == digest_path(tmp_path / "out")
    assert (tmp_path / "out" / "text").read_text() == "ainput0"


def test_a_step_tells_where_it_writes(tmp_path, source):
    write_text(Params(text="a"), source=source, more=[], fold=0, out=tmp_path / "out")
    (journal,) = (tmp_path / "journals").glob("*/journal.db")
    tags = {name: value for event in Record(journal.parent).events("tags") for name, value in event.content.items()}
    assert tags["ganflow.out"] == str(tmp_path / "out")


def test_parameters_may_come_as_json(tmp_path, source):
    facts = [
        write_text(params, source=source, more=[], fold=0, out=tmp_path / "out")
        for params in (Params(text="a"), '{"text": "a"}')
    ]
    assert facts[0] == facts[1]


def test_the_fingerprint_hangs_on_parameters_inputs_and_arguments(tmp_path, source):
    def fingerprint(text="a", content="input", fold=0):
        source.write_text(content)
        return write_text(Params(text=text), source=source, more=[], fold=fold, out=tmp_path / "out")["fingerprint"]

    assert len({fingerprint(), fingerprint(text="b"), fingerprint(content="other"), fingerprint(fold=1)}) == 4
    assert fingerprint() == fingerprint()


def test_the_fingerprint_does_not_hang_on_where_inputs_lie(tmp_path, source):
    moved = tmp_path / "elsewhere"
    moved.write_text("input")
    facts = [
        write_text(Params(text="a"), source=path, more=more, fold=0, out=tmp_path / "out")
        for path, more in ((source, [source, moved]), (moved, [moved, source]))
    ]
    assert facts[0] == facts[1]


@comparing_step("variant")
def compare(params: TorchParams, run: Run, *, fold: int, variant: str) -> None:
    import torch

    (run.out / "numbers").write_text(f"{torch.rand(3).tolist()} {run.seed}")


def test_random_draws_hang_on_the_seed(tmp_path):
    for out in ("a", "b"):
        draw(TorchParams(threads=1, seed=0), out=tmp_path / out)
    draw(TorchParams(threads=1, seed=1), out=tmp_path / "c")
    drawn = [(tmp_path / out / "numbers").read_text() for out in "abc"]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0].endswith(" 1")


def test_what_is_compared_shares_its_draws(tmp_path):
    def drawn(fold, variant):
        compare(TorchParams(threads=1, seed=0), fold=fold, variant=variant, out=tmp_path / "out")
        return (tmp_path / "out" / "numbers").read_text()

    assert drawn(0, "one") == drawn(0, "other") != drawn(1, "one")


def test_edited_code_draws_what_it_drew_before(tmp_path, monkeypatch):
    draw(TorchParams(threads=1, seed=0), out=tmp_path / "before")
    monkeypatch.setattr(type(draw), "code_digest", lambda step: "edited")
    draw(TorchParams(threads=1, seed=0), out=tmp_path / "after")
    before, after = ((tmp_path / out / "numbers").read_text() for out in ("before", "after"))
    assert before == after


def test_a_failed_step_leaves_nothing_and_keeps_the_old_output(tmp_path):
    out = tmp_path / "results" / "out"
    draw(TorchParams(threads=1, seed=0), out=out)
    old = (out / "numbers").read_text()
    with pytest.raises(UserError):
        fail(Params(text=""), out=out)
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "numbers").read_text() == old


def test_a_finished_step_replaces_the_old_output_whole(tmp_path, source):
    out = tmp_path / "out"
    draw(TorchParams(threads=1, seed=0), out=out)
    write_text(Params(text="a"), source=source, more=[], fold=0, out=out)
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, "text"]


def test_a_missing_input_is_named(tmp_path, source):
    with pytest.raises(UserError, match=r"Input not found: .*nowhere"):
        write_text(Params(text="a"), source=tmp_path / "nowhere", more=[], fold=0, out=tmp_path / "out")


def test_missing_unknown_and_mistyped_arguments_are_named(tmp_path, source):
    with pytest.raises(UserError, match="takes no folds, needs fold"):
        write_text(Params(text="a"), source=source, more=[], folds=0, out=tmp_path / "out")
    with pytest.raises(UserError, match=r"fold: .*integer.*'x'"):
        write_text(Params(text="a"), source=source, more=[], fold="x", out=tmp_path / "out")


def test_other_code_than_the_runner_filed_is_refused(tmp_path, source):
    given = {"source": source, "more": [], "fold": 0, "out": tmp_path / "out"}
    write_text(Params(text="a"), code=write_text.code_digest(), **given)
    with pytest.raises(UserError, match="not what the pipeline was built with: run the pipeline again"):
        write_text(Params(text="a"), code="another", **given)


STEP_FILE = """
from pathlib import Path
from components.core.contract import Section
from components.core.contract import Run, step

class Params(Section):
    text: str

@step
def shout(params: Params, run: Run) -> None:
    (run.out / "text").write_text(params.text.upper())

if __name__ == "__main__":
    print(shout(Params(text="a"), out="out")["fingerprint"])
"""


def test_a_changed_line_of_code_changes_the_fingerprint(tmp_path):
    def fingerprint(package: str, code: str) -> str:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "shout.py").write_text(code)
        done = subprocess.run(
            [sys.executable, "shout.py"],
            cwd=folder,
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    same, copied, changed = (
        fingerprint(name, code)
        for name, code in (("a", STEP_FILE), ("b", STEP_FILE), ("c", STEP_FILE.replace("upper", "lower")))
    )
    assert same == copied != changed


def test_a_step_that_is_done_stays_done_where_its_checkpoints_cannot_be_removed(tmp_path, source, monkeypatch, capfd):
    def refuse(_):
        raise UserError("S3 denies this.")

    monkeypatch.setattr("components.core.storage.Checkpoints.remove", refuse)
    write_text(Params(text="a"), source=source, more=[], fold=0, out=tmp_path / "out")
    assert "warning: The checkpoints stay behind: S3 denies this." in capfd.readouterr().err


@step
def keep_state(params: Params, run: Run) -> None:
    run.checkpoints.write("training", 1, lambda file: file.write(b"state"))
    (run.out / "text").write_text(params.text)


@pytest.mark.parametrize("kept", [False, True])
def test_a_step_that_is_done_leaves_its_checkpoints_only_to_a_runner_that_removes_them(tmp_path, monkeypatch, kept):
    monkeypatch.setenv("CHECKPOINT_URI", str(tmp_path / "checkpoints"))
    if kept:
        monkeypatch.setenv(KEEP_CHECKPOINTS, "true")
    keep_state(Params(text="a"), out=tmp_path / "out")
    assert bool(list(tmp_path.glob("checkpoints/*/training.*"))) == kept
