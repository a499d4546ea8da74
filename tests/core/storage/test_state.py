import errno
import fcntl
import os
import stat

import pytest
from users import let_in, needs_root, run_as

from components.core.errors import UserError
from components.core.storage.state import make_folder, open_shared, refusal, state_dir

GROUP, FIRST, SECOND = 4000, 4001, 4002


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A state folder that belongs to one user."""
    path = tmp_path / "home"
    path.mkdir()
    os.chown(path, FIRST, GROUP)
    monkeypatch.setenv("GANFLOW_HOME", str(path))
    let_in(path)
    return path


def use():
    os.close(open_shared(make_folder(state_dir() / "locks" / "deep") / "lock"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@needs_root
def test_two_users_share_a_state_folder_that_their_group_may_write_to(home):
    home.chmod(0o2770)
    for uid in (FIRST, SECOND, FIRST):
        assert run_as(uid, use, groups=[GROUP]) == ""
    assert (mode(home / "locks" / "deep"), mode(home / "locks" / "deep" / "lock")) == (0o2775, 0o664)


@needs_root
def test_what_is_not_shared_is_told_with_whose_it_is_and_what_to_do(home):
    home.chmod(0o755)
    assert run_as(FIRST, use) == ""
    assert mode(home / "locks" / "deep" / "lock") == 0o644
    for removed in ("", "locks/deep/lock", "locks/deep", "locks"):
        if removed:
            path = home / removed
            path.rmdir() if path.is_dir() else path.unlink()
        said = run_as(SECOND, use).splitlines()[-1]
        assert "cannot be written to (Permission denied); set GANFLOW_HOME to a folder of your own" in said
        assert f"or let user {FIRST} share it: chmod -R g+rwXs {home}" in said


def test_what_lies_in_a_folder_like_tmp_is_not_open_to_everybody(tmp_path):
    tmp_path.chmod(0o1777)
    assert not mode(make_folder(tmp_path / "home")) & 0o022


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(UserError, match=r"home cannot be written to \(File exists\); make room there, or set"):
        make_folder(tmp_path / "home" / "locks")


def test_a_full_disk_is_told(small_disk):
    assert "(No space left on device); make room there" in str(
        refusal(small_disk / "new", OSError(errno.ENOSPC, "No space left on device"))
    )


def test_a_lock_file_can_be_locked(tmp_path):
    first, second = (open_shared(tmp_path / "lock") for _ in range(2))
    fcntl.flock(first, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(first)
    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(second)
