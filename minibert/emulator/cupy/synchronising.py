"""When the host waits for the device.

A GPU computes while Python continues to launch kernels.  Reading a value back waits until all launched
work is done, and then the device waits for Python.  Nothing waits in the emulator, so it counts waits instead: see
`synchronisations`, by the name of the call, and `no_synchronisation`, inside which waiting is an error.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

synchronisations: Counter[str] = Counter()
forbidden = 0  # how many `no_synchronisation` we are inside


class SynchronisationError(RuntimeError):
    """The host would have waited for the device, where it must not."""


def synchronise(operation: str) -> None:
    """Records that in CuPy this operation waits for the device."""
    if forbidden:
        raise SynchronisationError(
            f"{operation} waits for the device; keep the result on the device or read it outside this step"
        )
    synchronisations[operation] += 1


def wait_for_event(operation: str) -> None:
    """Records a wait for one event, which is not forbidden: callers wait only for events that are long past."""
    synchronisations[operation] += 1


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Inside it, whatever waits for the device raises SynchronisationError."""
    global forbidden
    forbidden += 1
    try:
        yield
    finally:
        forbidden -= 1
