"""How kernels are run: fast or checked, in which order, for how long, counted or not.

    with checking():                    watch every access: races, bounds, uninitialised memory ...
    with ordered("reverse"):            the last thread first
    with counting() as counts:          what determines speed on a GPU: sectors and bank conflicts
    with time_limit(seconds):           stop a launch that does not end

They can be nested; each applies to all launches inside.
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
    seconds: int = 600  # of CPU time that a launch may take; 0: no limit
    counts: Counts | None = None  # where counts are added


mode = Mode()  # the current one


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
    """Watch every read and write of the kernels launched inside, and raise an error at the first bug.

    Several times slower.  The errors are the subclasses of CudaError.
    """
    return changed(checked=on)


def ordered(order: str, seed: int = 0) -> AbstractContextManager:
    """Run the threads and blocks in "forward", "reverse", or "random" order, the last determined by the seed.

    A correct kernel gives the same result in each order.  Raises ValueError for any other order.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}; expected one of {', '.join(ORDERS)}")
    return changed(order=order, seed=seed)


def time_limit(seconds: int) -> AbstractContextManager:
    """Stop launches that take more than `seconds` of CPU time with an EndlessError; 0: never."""
    return changed(seconds=seconds)


def counting() -> AbstractContextManager:
    """Count what determines speed on a GPU, for all kernels launched inside, which are checked too: see counters.py."""
    return changed(checked=True, counts=Counts())
