"""Runs an answer so that nothing in it escapes: endless loops, exits, interrupts and threads end with the check.

An answer runs in a thread of its own, where its SystemExit or KeyboardInterrupt is an error like any other, and where
an exception can be raised from outside when its time is over.  What cannot be stopped in this way is a single call of C
code, such as sum(itertools.count()) or os._exit(): that takes a process of its own.
"""

import contextvars
import ctypes
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SECONDS = 20.0  # that an answer may take for all cases together
GRACE = 0.5  # seconds in which the threads that an answer has left behind may end
PATIENCE = 5.0  # seconds in which a thread that has to end is interrupted again and again


class OutOfTime(SystemExit):
    """Raised in a thread whose time is over: `except Exception` lets it pass, and it ends the thread silently."""


def run_limited(function: Callable[[], Any], seconds: float | None = None) -> bool:
    """Call a function that keeps its results itself; stop it after `seconds` (SECONDS), and stop its threads.

    Returns whether it ended by itself.  Raises LeftThreads if it ended, but threads that it started did not, and
    KeyboardInterrupt when the user interrupts: then, too, the function is stopped.
    """
    context, errors, ended = contextvars.copy_context(), [], threading.Event()

    def call() -> None:
        try:
            context.run(function)
        except BaseException as error:  # it belongs to the caller's thread, not to this one
            errors.append(error)
        ended.set()

    worker = threading.Thread(target=call, name="answer", daemon=True)
    with noted_threads(worker) as started:
        try:
            worker.start()
            in_time = wait_for(ended.is_set, SECONDS if seconds is None else seconds)
        finally:
            if not ended.is_set():
                stop([worker])
            left = [] if wait_for(lambda: not running(started), GRACE) else running(started)
            stop(left)
    if in_time and errors:
        raise errors[0]
    if in_time and left:
        raise LeftThreads(f"{len(left)} threads")
    return in_time


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition holds, at most some seconds.  Returns whether it holds.

    No thread is joined: in Python 3.11, a join that the user interrupts marks a running thread as ended.
    """
    deadline, pause = time.monotonic() + seconds, 0.0002
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(0.02, 2 * pause)
    return True


class LeftThreads(Exception):
    """An answer returned, but threads that it started went on."""


@contextmanager
def noted_threads(worker: threading.Thread) -> Iterator[list[threading.Thread]]:
    """The threads that a thread starts in the `with` block, and those that they start."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def noting(self: threading.Thread) -> None:
        if threading.current_thread() in (worker, *started):
            self.daemon = True  # one that cannot be stopped must not keep Python from ending
            started.append(self)
        start(self)

    threading.Thread.start = noting  # type: ignore[method-assign]
    try:
        yield started
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


def running(threads: Sequence[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threads if thread.is_alive()]


def stop(threads: Sequence[threading.Thread]) -> None:
    """Raise OutOfTime in threads until they end; an answer may catch it, so more than once."""
    deadline = time.monotonic() + PATIENCE
    while (alive := running(threads)) and time.monotonic() < deadline:
        for thread in alive:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(OutOfTime))
        time.sleep(0.01)
