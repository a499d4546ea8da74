"""What a command says when Ctrl-C or SIGTERM ends it."""

import contextlib
import os
import sys
from collections.abc import Iterator

from components.core.signals import INTERRUPTED, last_act

RESUMABLE = "interrupted; the same command goes on from the last checkpoints."

_sentences = ["interrupted."]


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """Whatever a signal ends within this context says so."""
    with last_act(_tell):
        yield


@contextlib.contextmanager
def interruptible(sentence: str) -> Iterator[None]:
    """What is told of a signal in this context; a KeyboardInterrupt, with which code ends by itself, is told too."""
    _sentences.append(sentence)
    try:
        yield
    except KeyboardInterrupt:
        print(_line(), end="", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    finally:
        _sentences.pop()


def _tell(_: int) -> None:
    with contextlib.suppress(OSError):  # nobody may be listening
        os.write(2, _line().encode())  # the stream may be in the middle of being written to


def _line() -> str:
    return f"ganflow: {_sentences[-1]}\n"
