"""Records the calls that would make the host wait for the device.

A GPU computes while Python continues to launch kernels.  Reading a value back makes the host wait until all launched
work is done, and then the device is idle until Python launches more.  In the emulator nothing waits; instead,
`synchronisations` counts the waits by name of the call, and inside `no_synchronisation` a wait is an error.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

synchronisations: Counter[str] = Counter()
forbidden = 0  # how many nested `no_synchronisation` contexts are active


class SynchronisationError(RuntimeError):
    """An operation inside `no_synchronisation` would have made the host wait for the device."""


def synchronise(operation: str) -> None:
    """Record an operation that waits for the device in CuPy; raises SynchronisationError where that is forbidden."""
    if forbidden:
        raise SynchronisationError(
            f"{operation} waits for the device; keep the result on the device or read it outside this step"
        )
    synchronisations[operation] += 1


def wait_for_event(operation: str) -> None:
    """Record a wait for one event, which is never forbidden: callers wait only for events that are long past."""
    synchronisations[operation] += 1


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Context manager: a wait for the device raises SynchronisationError inside it; a wait for an event is allowed."""
    global forbidden
    forbidden += 1
    try:
        yield
    finally:
        forbidden -= 1
