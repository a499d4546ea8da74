"""What the machine or the user's files refuse: told in one sentence, nothing lost, and the next start works."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from disks import fill
from users import let_in, needs_root, run_as

from components.core.contract import ComputeSection, Run, Section, step
from components.core.errors import UserError
from components.core.storage import digest_path, fetch


class Params(Section):
    how: str = ""


class TorchParams(ComputeSection):
    pass


def write_much(path, how):
    if how == "numpy":
        np.save(path, np.zeros(1 << 20))
    elif how == "safetensors":
        from safetensors.numpy import save_file

        save_file({"x": np.zeros(1 << 20)}, path)
    elif how == "SimpleITK":
        import SimpleITK as sitk

        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((1 << 10, 1 << 10))), f"{path}.mha")
    else:
        path.write_bytes(bytes(1 << 23))


@step
def write(params: Params, run: Run) -> None:
    (run.out / "text").write_text(params.how)
    if params.how:
        write_much(run.out / "large", params.how)


@step
def read(params: Params, run: Run, *, source: Path, more: list[Path]) -> None:
    (run.out / "text").write_text("read")
    for path in (source, *more):
        (path / "added").write_text("by another program")


@step
def read_locked(params: Params, run: Run, *, source: Path) -> None:
    (run.out / "text").write_text((source / "locked").read_text())


@step
def compute(params: TorchParams, run: Run) -> None:
    (run.out / "text").write_text(os.environ["CUBLAS_WORKSPACE_CONFIG"])


@pytest.mark.parametrize("how", ["Python", "numpy", "safetensors", "SimpleITK"])
def test_a_disk_that_a_step_fills_is_told_and_the_old_output_stays(small_disk, how):
    out = small_disk / "out"
    facts = write(Params(), out=out)
    with pytest.raises(
        UserError, match=r"^write found no room on the disk of \S*small-disk/.*; make room and run it again\.$"
    ):
        write(Params(how=how), out=out)
    assert [path.name for path in small_disk.iterdir()] == ["out"]
    assert digest_path(out) == facts["digest"]
    assert write(Params(), out=out) == facts


def test_a_full_disk_under_the_state_folder_is_told(small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("GANFLOW_HOME", str(small_disk / "home"))
    monkeypatch.setenv("GANFLOW_JOURNALS", str(small_disk / "home" / "journals"))
    fill(small_disk / "large")
    with pytest.raises(UserError, match=r"/home\S* (cannot be written to .*No space.*); make room"):
        write(Params(), out=tmp_path / "out")
    (small_disk / "large").unlink()
    write(Params(), out=tmp_path / "out")


@needs_root
@pytest.mark.parametrize("place", ["home", "out"])
def test_a_place_that_belongs_to_another_user_is_told(tmp_path, monkeypatch, place):
    for name in ("home", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755 if name == place else 0o777)
    monkeypatch.setenv("GANFLOW_JOURNALS", str(tmp_path / "home" / "journals"))
    let_in(tmp_path / "home")
    said = run_as(65534, lambda: write(Params(), out=tmp_path / "out" / "deep" / "out")).splitlines()[-1]
    assert "UserError" in said
    assert "Permission denied" in said
    assert str(tmp_path / place) in said


@needs_root
def test_an_input_that_may_not_be_read_is_told(tmp_path):
    for name in ("home", "journals", "source", "results"):
        (tmp_path / name).mkdir(mode=0o777)
        (tmp_path / name).chmod(0o777)
    (tmp_path / "source" / "locked").write_text("")
    (tmp_path / "source" / "locked").chmod(0)
    let_in(tmp_path / "home")
    run = lambda: read_locked(Params(), source=tmp_path / "source", out=tmp_path / "results" / "out")  # noqa: E731
    said = run_as(65534, run).splitlines()[-1]
    assert f"read_locked may not use {tmp_path}/source/locked (Permission denied)".replace("_", "-", 1) in said


def test_an_input_that_changes_while_it_is_read_is_told_and_the_output_is_not_kept(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="What source, more leads to changed while the step read it; run it again"):
        read(Params(), source=tmp_path / "a", more=[tmp_path / "b"], out=tmp_path / "results" / "out")
    assert list((tmp_path / "results").iterdir()) == []


def test_an_output_that_would_replace_an_input_is_refused_before_work_starts(tmp_path):
    (tmp_path / "data" / "hearts").mkdir(parents=True)
    (tmp_path / "data" / "hearts" / "image").write_text("")
    for out in ("data", "data/hearts", "data/hearts/out"):
        with pytest.raises(UserError, match="would replace the input"):
            read(Params(), source=tmp_path / "data" / "hearts", more=[], out=tmp_path / out)
    assert [path.name for path in (tmp_path / "data" / "hearts").iterdir()] == ["image"]


def test_local_data_that_changed_after_the_run_was_started_are_refused(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "image").write_text("1")
    digest = digest_path(source)
    assert fetch(str(source), digest) == source
    (source / "image").write_text("2")
    for change in (lambda: None, (source / "image").unlink, source.rmdir):
        change()
        with pytest.raises(UserError, match=r"data in .*source changed after the run was started; run it again"):
            fetch(str(source), digest)


@pytest.mark.parametrize(
    ("given", "used"), [(None, ":4096:8"), (":16:8", ":16:8"), (":4096:8", ":4096:8"), (":0:0", ":4096:8")]
)
def test_a_step_that_computes_has_what_determinism_on_cuda_needs(tmp_path, monkeypatch, given, used):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given or "")
    if given is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    compute(TorchParams(threads=1, seed=0), out=tmp_path / "out")
    assert (tmp_path / "out" / "text").read_text() == used


INTERRUPTED = """
from pathlib import PosixPath
import numpy as np
from components.data_prep.cohort import _write

class Interrupted(PosixPath):
    def __str__(self):
        raise KeyboardInterrupt

try:
    _write(Interrupted("image.mha"), np.zeros((4, 4), np.float32), 1.0)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_while_a_path_is_handed_to_simpleitk_is_no_segmentation_fault(tmp_path):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("interrupted\n", 0)
