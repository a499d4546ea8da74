"""Ctrl-C and SIGTERM: how a process of ganflow ends when it is told to.

Nothing is raised out of nowhere: an exception in the middle of an import may be swallowed by an extension, and one in a
C++ library's callback takes the process down. A signal ends the process from within its handler, after what was
registered as its last acts; code that can end by itself at a better moment, such as a training, asks for that.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

PREEMPTED = 75
"""Exit code after SIGTERM (EX_TEMPFAIL): a retry goes on from what was kept."""

_CODES = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: PREEMPTED}

_last_acts: list[Callable[[int], None]] = []
_waiting: list[list[int]] = []


def obey() -> None:
    """Obey Ctrl-C and SIGTERM from now on, even where whoever started this process had them ignored or blocked."""
    for number in _CODES:
        signal.signal(number, _handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CODES)


@contextlib.contextmanager
def last_act(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with the exit code if a signal ends the process within this context.

    SIGTERM, which otherwise would end the process without a word, is obeyed within it by whoever calls this from the
    main thread; Ctrl-C only where `obey` was called, since to others it is a KeyboardInterrupt.
    """
    with contextlib.ExitStack() as stack:
        if _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _handle))
        _last_acts.append(act)
        stack.callback(_last_acts.remove, act)
        yield


@contextlib.contextmanager
def deferred() -> Iterator[list[int]]:
    """A list that the exit code of the first signal is put into, instead of ending the process at once.

    Who asks for this looks at the list often, and then ends by `SystemExit(PREEMPTED)` or KeyboardInterrupt. A second
    Ctrl-C ends the process all the same.
    """
    with contextlib.ExitStack() as stack:
        if _is_main_thread():
            for number in _CODES:
                stack.callback(signal.signal, number, signal.signal(number, _handle))
        received: list[int] = []
        _waiting.append(received)
        stack.callback(_waiting.remove, received)
        yield received


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handle(number: int, _: object) -> None:
    code = _CODES[number]
    if _waiting and not (number == signal.SIGINT and code in _waiting[-1]):
        _waiting[-1].append(code)
        return
    while _last_acts:
        _last_acts.pop()(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it may be in the middle of being written to
            stream.flush()
    os._exit(code)
