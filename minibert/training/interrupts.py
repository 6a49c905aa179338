"""Handling of Ctrl-C and SIGTERM: a run that is asked to stop saves first, then says how to resume."""

import signal
from typing import Any


class Stopped(KeyboardInterrupt):
    """Raised to stop a run at once, without saving; exit_code: the code that a shell reports for the signal."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


class StopRequest:
    """A context manager that records SIGINT and SIGTERM instead of letting them end the process.

    signal      None, or the number of the signal that arrived
    urgent      True while nothing needs saving: a signal then raises Stopped at once

    A second Ctrl-C always raises Stopped.
    """

    def __init__(self, how_to_resume: str):
        self.how_to_resume = how_to_resume
        self.signal: int | None = None
        self.urgent = True

    def __enter__(self) -> "StopRequest":
        self.before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, self.handle)
            except ValueError:  # not in the main thread, the only one that may handle signals
                pass
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def handle(self, number: int, _frame: Any) -> None:
        if self.urgent or (self.signal is not None and number == signal.SIGINT):
            raise Stopped(number, f"stopped by {signal.Signals(number).name}; resume with: {self.how_to_resume}")
        self.signal = number

    @property
    def exit_code(self) -> int:
        """The exit code that a shell reports for a program ended by the recorded signal."""
        return 128 + (self.signal or 0)
