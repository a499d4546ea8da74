"""Ctrl-C and SIGTERM: how a process of ganflow ends when it is told to.

Nothing is raised out of nowhere: an exception in the middle of an import may be swallowed by an extension, and one in a
C++ library's callback takes the process down. A signal ends the process from within its handler, after what was
registered as its last acts; code that can end by itself at a better moment, such as a training, asks for that.
"""

import atexit
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

_last_acts: dict[object, Callable[[int], None]] = {}
_waiting: dict[int, list[int]] = {}
_ending: list[int] = []


def _forget() -> None:
    """What a process registered is no business of its forks."""
    for registered in (_last_acts, _waiting, _ending):
        registered.clear()


os.register_at_fork(after_in_child=_forget)


def obey() -> None:
    """Obey Ctrl-C and SIGTERM from now on, even where whoever started this process had them ignored or blocked."""
    for number in _CODES:
        signal.signal(number, _handle)
        # While Python ends it restores the default, by which a second Ctrl-C took the exit code along.
        atexit.register(signal.signal, number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _CODES)


@contextlib.contextmanager
def last_act(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with the exit code if a signal ends the process within this context, the latest registered one first.

    It runs in the middle of whatever the main thread does, so it waits for no lock that this may hold; what it raises
    is lost. A child process that is forked within this context does not inherit it.

    SIGTERM, which otherwise would end the process without a word, is obeyed within it by whoever calls this from the
    main thread; Ctrl-C only where `obey` was called, since to others it is a KeyboardInterrupt.
    """
    with contextlib.ExitStack() as stack:
        if _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _handle))
        key = object()
        _last_acts[key] = act
        stack.callback(_last_acts.pop, key, None)
        yield


@contextlib.contextmanager
def deferred() -> Iterator[list[int]]:
    """A list that the exit code of the first signal is put into, instead of ending the process at once.

    Who asks for this looks at the list often, and then ends by `SystemExit(PREEMPTED)` or KeyboardInterrupt; a signal
    that nobody looked at takes effect when the context ends. A second Ctrl-C ends the process all the same. In other
    threads than the main one nothing is deferred.
    """
    received: list[int] = []
    if not _is_main_thread():
        yield received
        return
    try:
        with contextlib.ExitStack() as stack:
            for number in _CODES:
                stack.callback(signal.signal, number, signal.signal(number, _handle))
            _waiting[id(received)] = received
            stack.callback(_waiting.pop, id(received), None)
            yield received
    except (KeyboardInterrupt, SystemExit):
        received.clear()
        raise
    finally:
        for number, code in _CODES.items():
            if code in received:
                signal.raise_signal(number)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _handle(number: int, _: object) -> None:
    code = _CODES[number]
    waiting = next(reversed(_waiting.values()), None)
    if _ending:
        if number == signal.SIGINT:
            os._exit(code)
    elif waiting is None or (number == signal.SIGINT and code in waiting):
        _end(code)
    else:
        waiting.append(code)


def _end(code: int) -> None:
    _ending.append(code)
    while _last_acts:
        with contextlib.suppress(BaseException):  # the others' turn comes all the same
            _last_acts.popitem()[1](code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # it may be in the middle of being written to
            stream.flush()
    os._exit(code)
