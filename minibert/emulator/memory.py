"""Allocates NumPy arrays that behave like GPU memory: aligned, guarded, and uninitialised until written.

`empty` makes such an array, and the emulator tracks which of its elements have been written.  Any other NumPy array can
be passed to a kernel too: it counts as initialised, and is copied to a guarded buffer for the launch (see staging.py).
"""

import bisect
import math
import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

ALIGNMENT = 256  # of allocations, in bytes, as with cudaMalloc
GUARD = 1024  # bytes before and after each array that belong to no array
POISON = 0xFF  # byte that fills uninitialised memory: NaN in floating-point types, -1 in signed integers


@dataclass
class Allocation:
    begin: int  # the address of the first byte
    bytes: int
    written: np.ndarray | None  # bool [bytes]: which bytes have been written; None if all have been

    @property
    def end(self) -> int:
        return self.begin + self.bytes


class Registry:
    """The live allocations, which can be looked up by any address inside them."""

    def __init__(self):
        self.begins: list[int] = []  # sorted
        self.allocations: dict[int, Allocation] = {}

    def add(self, owner: np.ndarray, begin: int, size: int) -> None:
        """Register an allocation, which is removed when `owner`, the array that holds its memory, is freed."""
        self.allocations[begin] = Allocation(begin, size, np.zeros(size, np.bool_))
        bisect.insort(self.begins, begin)
        weakref.finalize(owner, self.remove, begin).atexit = False

    def remove(self, begin: int) -> None:
        del self.allocations[begin]
        self.begins.remove(begin)

    def find(self, address: int) -> Allocation | None:
        """Return the allocation that contains an address, or None."""
        number = bisect.bisect_right(self.begins, address) - 1
        if number < 0:
            return None
        allocation = self.allocations[self.begins[number]]
        return allocation if address < allocation.end else None


registry = Registry()


def address_of(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]  # several times faster than array.ctypes.data


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = np.float32) -> np.ndarray:
    """Return a new, uninitialised array; in check mode, reading an element before it is written is an error."""
    dtype = np.dtype(dtype)
    size = math.prod(shape if isinstance(shape, tuple | list) else (shape,)) * dtype.itemsize
    buffer = np.full(size + 2 * GUARD + ALIGNMENT, POISON, np.uint8)
    offset = GUARD + -(address_of(buffer) + GUARD) % ALIGNMENT
    if size:
        registry.add(buffer, address_of(buffer) + offset, size)
    return np.ndarray(shape, dtype, buffer, offset)


def find_allocation(array: np.ndarray) -> Allocation | None:
    """Return the allocation that contains an array or view, or None if its memory was not allocated by `empty`."""
    return registry.find(address_of(array)) if array.size else None


def written_bytes(array: np.ndarray) -> np.ndarray | None:
    """Return a bool view [bytes of the array] of which bytes have been written; the array must be contiguous.

    Returns None if all bytes have been written or the array is not registered.
    """
    allocation = find_allocation(array)
    if allocation is None or allocation.written is None:
        return None
    start = address_of(array) - allocation.begin
    return allocation.written[start : start + array.nbytes]


def mark_initialised(array: np.ndarray) -> None:
    """Record that all elements of an array have been written; check mode does this itself for a kernel's writes."""
    allocation = find_allocation(array)
    if allocation is None or allocation.written is None:
        return
    low, high = np.lib.array_utils.byte_bounds(array)
    if high - low == array.nbytes:
        allocation.written[low - allocation.begin : high - allocation.begin] = True
        if array.nbytes == allocation.bytes:
            allocation.written = None
        return
    starts = np.zeros(array.shape, np.intp)  # the offset of each element from the beginning of the allocation
    for axis, (size, stride) in enumerate(zip(array.shape, array.strides, strict=True)):
        starts += (np.arange(size) * stride).reshape([-1 if other == axis else 1 for other in range(array.ndim)])
    starts += address_of(array) - allocation.begin
    for byte in range(array.itemsize):
        allocation.written[starts + byte] = True


def is_initialised(array: np.ndarray) -> np.ndarray:
    """Return a bool array of the same shape: which elements have been written (all, if the array is not registered)."""
    allocation = find_allocation(array)
    if allocation is None or allocation.written is None:
        return np.ones(array.shape, np.bool_)
    strides = (*array.strides, 1)
    offset = address_of(array) - allocation.begin
    bytes_written = np.ndarray((*array.shape, array.itemsize), np.bool_, allocation.written, offset, strides)
    return np.asarray(bytes_written.all(axis=-1))
