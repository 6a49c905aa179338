"""How kernels are run: fast or checked, in which order, for how long, counted or not.

    with checking():                    watch every access: races, bounds, uninitialised memory ...
    with ordered("reverse"):            the last thread first
    with counting() as counts:          what decides speed on a GPU: sectors and bank conflicts
    with time_limit(seconds):           stop a launch that does not end

They can be nested; each holds for all launches inside.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from minibert.emulator.counters import Counts

ORDERS = ("forward", "reverse", "random")


@dataclass(frozen=True)
class Mode:
    checked: bool = False
    order: str = "forward"  # of threads and blocks
    seed: int = 0  # of the random order
    seconds: int = 600  # of computing time that a launch may take; 0: no limit
    counts: Counts | None = None  # where to count


mode = Mode()  # the one that holds


def current() -> Mode:
    """The mode in which a kernel launched now would run."""
    return mode


@contextmanager
def changed(**fields: Any) -> Iterator[Any]:
    global mode
    before = mode
    mode = replace(before, **fields)
    try:
        yield mode.counts
    finally:
        mode = before


def checking(on: bool = True) -> AbstractContextManager:
    """Watch every read and write of the kernels launched inside, and raise an error at the first mistake.

    Several times slower.  The errors are the subclasses of CudaError.
    """
    return changed(checked=on)


def ordered(order: str, seed: int = 0) -> AbstractContextManager:
    """Run the threads and blocks "forward", in "reverse", or in a "random" order that the seed decides.

    A right kernel gives the same result in each order.  Raises ValueError for another word.
    """
    if order not in ORDERS:
        raise ValueError(f"order {order!r}: expected one of {', '.join(ORDERS)}")
    return changed(order=order, seed=seed)


def time_limit(seconds: int) -> AbstractContextManager:
    """Stop launches that take more seconds of computing time with an EndlessError; 0: never."""
    return changed(seconds=seconds)


def counting() -> AbstractContextManager:
    """Count what decides speed on a GPU, of all kernels launched inside, which are checked as well: see counters.py."""
    return changed(checked=True, counts=Counts())
