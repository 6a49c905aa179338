"""Nothing that an answer does escapes: it ends, and so do its threads, and the session goes on."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from minibert.exercises import EXERCISES, judge, limits
from minibert.exercises.exercise import RIGHT, WRONG

right = EXERCISES["softmax"].solution


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.15)
    monkeypatch.setattr(limits, "GRACE", 0.05)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def endless(scores):
    while True:
        pass


def endless_and_catching(scores):
    while True:
        try:
            np.exp(scores)
        except Exception:
            pass


def endless_and_catching_everything(scores):
    def step():
        try:
            np.exp(scores)
        except:  # noqa: E722
            pass

    while True:
        step()


def endless_in_a_later_case(scores):
    while scores.shape[1] == 1:
        pass
    return right(scores)


@pytest.mark.parametrize(
    "answer", [endless, endless_and_catching, endless_and_catching_everything, endless_in_a_later_case]
)
def test_a_loop_that_never_ends_is_ended(answer, short):
    began = time.monotonic()
    verdict = judge("softmax", answer)
    assert verdict.state == WRONG and "does not end within the time limit" in verdict.text
    assert ("with one key" in verdict.text) == (answer is endless_in_a_later_case)
    assert time.monotonic() - began < limits.SECONDS + limits.PATIENCE


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_what_ends_a_program_is_an_error_like_any_other(error):
    def softmax(scores):
        raise error("enough")

    text = judge("softmax", softmax).text
    assert f"raises {error.__name__} in its line" in text and "enough" in text
    assert ("leave out sys.exit" in text) == (error is SystemExit)


def test_sys_exit_without_a_message():
    assert "raises SystemExit in its line" in judge("softmax", lambda scores: sys.exit()).text


def test_threads_that_end_are_allowed():
    def softmax(scores):
        found = []
        thread = threading.Thread(target=lambda: found.append(right(scores)))
        thread.start()
        thread.join()
        return found[0]

    assert judge("softmax", softmax).state == RIGHT


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("daemon", [False, True])
def test_threads_that_go_on_are_ended(daemon, short):
    def softmax(scores):
        if scores.shape == (3, 5):
            threading.Thread(target=endless, args=(scores,), daemon=daemon).start()
        return right(scores)

    verdict = judge("softmax", softmax)
    assert verdict.state == WRONG and "threads that go on" in verdict.text


def test_threads_of_others_go_on(short):
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    judge("softmax", endless)
    assert other.is_alive()
    done.set()
    other.join()


def test_the_users_own_interrupt_stops_the_check_at_once():
    code = """
import signal, threading, time
from minibert.exercises import check
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background is begun with it ignored
threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
def softmax(scores):
    while True:
        pass
began = time.monotonic()
try:
    check("softmax", softmax)
except KeyboardInterrupt:
    took = time.monotonic() - began
    print("interrupted", took < 10, [thread.name for thread in threading.enumerate() if thread.name == "answer"])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["interrupted", "True", "[]"], result.stderr
