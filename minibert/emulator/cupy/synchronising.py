"""When the host waits for the device.

A GPU computes while Python goes on to launch the next kernels.  Whoever reads a number back waits until all that was
launched is done, and then the device waits for Python.  Nothing waits in the emulator, so it counts instead: see
`synchronisations`, by the name of what was called, and `no_synchronisation`, inside which it is an error.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

synchronisations: Counter[str] = Counter()
forbidden = 0  # how many `no_synchronisation` we are inside


class SynchronisationError(RuntimeError):
    """The host would have waited for the device, where it must not."""


def synchronise(operation: str) -> None:
    """Notes that in CuPy this operation waits for the device."""
    if forbidden:
        raise SynchronisationError(
            f"{operation} waits for the device: keep the result there, or read it outside of this step"
        )
    synchronisations[operation] += 1


def wait_for_event(operation: str) -> None:
    """Notes a wait for one event, which is not forbidden: those who wait for an event chose one that is long over."""
    synchronisations[operation] += 1


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """What waits for the device inside raises SynchronisationError."""
    global forbidden
    forbidden += 1
    try:
        yield
    finally:
        forbidden -= 1
