"""Arrays as in a GPU's memory: aligned, guarded, and full of garbage until something is written.

`empty` makes such an array; for these, check mode knows which elements were written.  Any other NumPy array can be
passed to a kernel too: it counts as written, and is copied to a guarded buffer for the launch (see staging.py).
"""

import bisect
import math
import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

ALIGNMENT = 256  # of allocations, as with cudaMalloc
GUARD = 1024  # bytes before and after each array, which belong to none
POISON = 0xFF  # fills uninitialised memory: NaN in floating-point types, -1 in integers


@dataclass
class Allocation:
    begin: int  # its address
    bytes: int
    written: np.ndarray | None  # bool [bytes]: which were written; None if all were

    @property
    def end(self) -> int:
        return self.begin + self.bytes


class Registry:
    """The allocations that are alive, by address."""

    def __init__(self):
        self.begins: list[int] = []  # sorted
        self.allocations: dict[int, Allocation] = {}

    def add(self, owner: np.ndarray, begin: int, size: int) -> None:
        """owner: the array that holds the memory; the allocation is removed when it is freed."""
        self.allocations[begin] = Allocation(begin, size, np.zeros(size, np.bool_))
        bisect.insort(self.begins, begin)
        weakref.finalize(owner, self.remove, begin).atexit = False

    def remove(self, begin: int) -> None:
        del self.allocations[begin]
        self.begins.remove(begin)

    def find(self, address: int) -> Allocation | None:
        """The allocation that contains an address."""
        number = bisect.bisect_right(self.begins, address) - 1
        if number < 0:
            return None
        allocation = self.allocations[self.begins[number]]
        return allocation if address < allocation.end else None


registry = Registry()


def address_of(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # several times faster than array.ctypes.data


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
    """A new, uninitialised array: in check mode, reading an element before it is written is an error."""
    dtype = np.dtype(dtype)
    size = math.prod(shape if isinstance(shape, tuple | list) else (shape,)) * dtype.itemsize
    buffer = np.full(size + 2 * GUARD + ALIGNMENT, POISON, np.uint8)
    offset = GUARD + -(address_of(buffer) + GUARD) % ALIGNMENT
    if size:
        registry.add(buffer, address_of(buffer) + offset, size)
    return np.ndarray(shape, dtype, buffer, offset)


def find_allocation(array: np.ndarray) -> Allocation | None:
    """The allocation that contains an array or a view; None if it was not made by `empty`."""
    return registry.find(address_of(array)) if array.size else None


def written_bytes(array: np.ndarray) -> np.ndarray | None:
    """bool [bytes of the array]: which were written.  A view; None if all were, or the array is not registered.

    The array must be contiguous.
    """
    allocation = find_allocation(array)
    if allocation is None or allocation.written is None:
        return None
    start = address_of(array) - allocation.begin
    return allocation.written[start : start + array.nbytes]


def mark_initialised(array: np.ndarray) -> None:
    """Records that all elements of an array were written, by something other than a checked kernel."""
    allocation = find_allocation(array)
    if allocation is None or allocation.written is None:
        return
    low, high = np.lib.array_utils.byte_bounds(array)
    if high - low == array.nbytes:
        allocation.written[low - allocation.begin : high - allocation.begin] = True
        if array.nbytes == allocation.bytes:
            allocation.written = None
        return
    starts = np.zeros(array.shape, np.intp)  # of each element, from the allocation's beginning
    for axis, (size, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        starts += (np.arange(size) * stride).reshape([-1 if other == axis else 1 for other in range(array.ndim)])
    starts += address_of(array) - allocation.begin
    for byte in range(array.itemsize):
        allocation.written[starts + byte] = True


def is_initialised(array: np.ndarray) -> np.ndarray:
    """bool, of the array's shape: which elements were written; all of them if the array is not registered."""
    allocation = find_allocation(array)
    if allocation is None or allocation.written is None:
        return np.ones(array.shape, np.bool_)
    strides = (*array.strides, 1)
    offset = address_of(array) - allocation.begin
    bytes_written = np.ndarray((*array.shape, array.itemsize), np.bool_, allocation.written, offset, strides)
    return np.asarray(bytes_written.all(axis=-1))
