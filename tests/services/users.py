"""Other users of this machine: what a function does when one of them calls it."""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def run_as(uid: int, function: Callable[[], object], groups: Sequence[int] = ()) -> str:
    """What a function prints (the text of what it raises, too) when a fork of this process runs it as another user.

    What it imports must have been imported: this Python may lie where nobody else may read.
    """
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            for stream in (1, 2):
                os.dup2(writer, stream)
            sys.stdout = sys.stderr = os.fdopen(writer, "w")
            os.setgroups(list(groups))
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            function()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        printed = stream.read()
    os.waitpid(child, 0)
    return printed


def let_in(folder: Path) -> None:
    """Let other users reach a folder of pytest's."""
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
