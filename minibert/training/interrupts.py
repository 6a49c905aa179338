"""Handling of Ctrl-C, SIGTERM and SIGHUP: a run that is asked to stop saves first, then says how to resume."""

import errno
import os
import signal
from typing import Any

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
NUMBERS = [signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP else [])]


class Stopped(KeyboardInterrupt):
    """Raised to stop a run at once, without saving; exit_code: the code that a shell reports for the signal."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """A context manager that records SIGINT, SIGTERM and SIGHUP instead of letting them end the process.

    SIGHUP stays ignored where it is, as under nohup.

    signal      None, or the number of the signal that arrived
    urgent      True while nothing needs saving: a signal then raises Stopped at once

    A second Ctrl-C raises Stopped as well.  Once Stopped has been raised, further signals are ignored.
    """

    def __init__(self, how_to_resume: str):
        self.how_to_resume = how_to_resume
        self.signal: int | None = None
        self.urgent = True
        self.raised = False

    def __enter__(self) -> "StopRequest":
        self.before = {}
        for number in NUMBERS:
            if number == HANGUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            try:
                self.before[number] = signal.signal(number, self.handle)
            except ValueError:  # not in the main thread, the only one that may handle signals
                pass
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, _frame: Any) -> None:
        if number == HANGUP:
            leave_terminal()
        if self.raised:
            return
        if self.urgent or (self.signal is not None and number == signal.SIGINT):
            self.raised = True
            raise Stopped(number, f"stopped by {signal.Signals(number).name}; resume with: {self.how_to_resume}")
        self.signal = number

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports for a program ended by the recorded signal."""
        return 128 + (self.signal or 0)


def leave_terminal() -> None:
    """Discard what is printed from now on if the terminal is gone, since printing to it is an error."""
    for stream in (1, 2):
        try:
            os.ttyname(stream)
        except OSError as error:
            if error.errno == errno.EIO:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
