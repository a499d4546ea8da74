import os
import random
import signal
import subprocess
import sys
import time

import pytest

BEGIN = """
import os, signal, sys, threading, time
from components.core.signals import INTERRUPTED, PREEMPTED, deferred, last_act, obey

def say(word):
    print(word, flush=True)

def wait():
    say("ready")
    while True:
        time.sleep(0.01)

"""

IMPORTS = """
obey()
say("ready")
import numpy, scipy.stats, SimpleITK, PIL.Image, sqlite3, pydantic, safetensors
say("imported")
while True:
    signal.pause()
"""


def start(program, **options):
    """A process that runs `program` and has said that it is ready."""
    process = subprocess.Popen([sys.executable, "-c", BEGIN + program], stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "ready\n"
    return process


def end(process, *numbers):
    """What a process says until its end, and its exit code, after signals."""
    for number in numbers:
        process.send_signal(number)
    said = process.stdout.read().split()  # communicate would not have what readline has read ahead
    return said, process.wait()


def ignoring():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def heeding():
    """As a terminal starts a process, whoever started the tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def blocking():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


@pytest.mark.parametrize("inherited", [None, ignoring, blocking])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_ends_a_process_whoever_started_it(inherited, number, code):
    assert end(start("obey(); wait()", preexec_fn=inherited), number) == ([], code)


def interrupt_imports(times):
    for _ in range(times):
        process = start(IMPORTS, preexec_fn=ignoring)
        time.sleep(random.uniform(0, 0.8))
        said, code = end(process, signal.SIGINT)
        assert code == 130
        assert said in ([], ["imported"])


def test_ctrl_c_while_modules_are_imported_is_not_lost():
    interrupt_imports(8)


@pytest.mark.slow
def test_ctrl_c_while_modules_are_imported_is_never_lost():
    interrupt_imports(int(os.environ.get("INTERRUPTS", "40")))


def test_the_latest_registered_act_comes_first_and_one_that_fails_keeps_no_other_from_its_turn():
    program = """
def fail(code):
    say("fails")
    sys.exit(1)

def act(code):
    say(code)

with last_act(act), last_act(fail), last_act(act):
    with last_act(fail):
        pass
    wait()
"""
    assert end(start(program), signal.SIGTERM) == (["75", "fails", "75"], 75)


def test_without_obey_ctrl_c_stays_a_keyboard_interrupt():
    program = """
try:
    with last_act(lambda code: say("acted")):
        wait()
except KeyboardInterrupt:
    say("interrupted")
"""
    assert end(start(program, preexec_fn=heeding), signal.SIGINT) == (["interrupted"], 0)


def test_sigterm_is_as_it_was_when_a_last_act_is_over():
    program = """
with last_act(lambda code: say("acted")):
    pass
wait()
"""
    assert end(start(program), signal.SIGTERM) == ([], -signal.SIGTERM)


def test_a_fork_does_not_do_its_parents_last_acts():
    program = """
obey()
reader, writer = os.pipe()
with last_act(lambda code: say("acted")), deferred() as received:
    if (child := os.fork()) == 0:
        say("ready")
        os.write(writer, b"x")
        time.sleep(60)
    os.read(reader, 1)
    os.kill(child, signal.SIGTERM)
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert end(start(program)) == (["75"], 0)


@pytest.mark.parametrize(("second", "said"), [("SIGTERM", ["acting", "acted"]), ("SIGINT", ["acting"])])
def test_of_second_signals_ctrl_c_alone_cuts_last_acts_short(second, said):
    program = f"""
def act(code):
    say("acting")
    signal.raise_signal(signal.{second})
    say("acted")

obey()
with last_act(act):
    wait()
"""
    assert end(start(program), signal.SIGINT) == (said, 130)


DEFERS = """
obey()
with last_act(lambda code: say("acted")):
    with deferred() as received:
        say("ready")
        while not received:
            time.sleep(0.01)
        say(received[0])
        while os.environ.get("STUBBORN"):
            time.sleep(0.01)
        if os.environ.get("LOOKS"):
            sys.exit(received[0])
    say("went on")
"""


def test_a_deferred_signal_is_told_to_who_asked_for_it(monkeypatch):
    monkeypatch.setenv("LOOKS", "1")
    assert end(start(DEFERS), signal.SIGTERM) == (["75"], 75)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_deferred_signal_that_nobody_obeyed_takes_effect_afterwards(number, code):
    assert end(start(DEFERS), number) == ([str(code), "acted"], code)


def test_a_second_ctrl_c_is_not_deferred(monkeypatch):
    monkeypatch.setenv("STUBBORN", "1")
    process = start(DEFERS)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "130\n"
    assert end(process, signal.SIGINT) == (["acted"], 130)


def test_the_end_of_an_inner_deferral_leaves_the_outer_one_in_force():
    program = """
obey()
with deferred() as outer:
    with deferred() as inner:
        pass
    say("ready")
    while not outer:
        time.sleep(0.01)
    say(outer[0])
"""
    assert end(start(program), signal.SIGTERM) == (["75"], 75)


def test_another_thread_defers_nothing():
    program = """
def defer():
    with deferred() as received:
        time.sleep(60)

obey()
threading.Thread(target=defer, daemon=True).start()
wait()
"""
    assert end(start(program), signal.SIGTERM) == ([], 75)


def test_what_was_printed_before_is_not_lost():
    program = """
obey()
say("ready")
sys.stdout.write("said")
signal.raise_signal(signal.SIGINT)
"""
    assert end(start(program)) == (["said"], 130)


def test_a_signal_to_a_process_that_has_ended_but_for_python_changes_no_exit_code():
    program = """
import atexit, signal, sys
from components.core.signals import obey
atexit.register(signal.raise_signal, signal.SIGINT)  # the last to be called
obey()
sys.exit(3)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 3
