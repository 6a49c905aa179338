"""Context managers that set how kernels run: checked or not, counted or not, in which order, and for how long.

    with checking():                    check every access for races, bounds, uninitialised memory and other bugs
    with ordered("reverse"):            run the last thread first
    with counting() as counts:          count what determines speed on a GPU: sectors and bank conflicts
    with time_limit(seconds):           stop a launch that exceeds the limit

They can be nested; each applies to all launches in its `with` block.
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
    order: str = "forward"  # in which threads and blocks run: one of ORDERS
    seed: int = 0  # for the random order
    seconds: int = 600  # the limit on a launch's CPU time; 0 for no limit
    counts: Counts | None = None  # the object to which each launch adds its counts; None if nothing is counted


mode = Mode()  # the current mode


def current() -> Mode:
    """Return the mode in which a kernel launched now would run."""
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
    """Check every read and write of the kernels launched in the `with` block, and raise an error at the first bug.

    The errors are subclasses of CudaError.  Check mode is several times slower than fast mode.
    """
    return changed(checked=on)


def ordered(order: str, seed: int = 0) -> AbstractContextManager:
    """Run threads and blocks in "forward", "reverse" or "random" order; the seed determines the random order.

    A correct kernel gives the same result in every order.  Raises ValueError for any other order.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}; expected one of {', '.join(ORDERS)}")
    return changed(order=order, seed=seed)


def time_limit(seconds: int) -> AbstractContextManager:
    """Raise EndlessError in launches that take more than `seconds` of CPU time; 0 sets no limit."""
    return changed(seconds=seconds)


def counting() -> AbstractContextManager:
    """Run kernels in check mode and count their memory sectors and bank conflicts: see counters.py."""
    return changed(checked=True, counts=Counts())
