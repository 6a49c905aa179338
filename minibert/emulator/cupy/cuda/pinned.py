"""Emulates pinned (page-locked) host memory: only its copies to and from the device can overlap with kernels."""

from typing import Any

import numpy as np

from minibert.emulator.cupy.cuda.memory import BLOCK


class PinnedMemoryPointer(bytearray):
    """A block of pinned memory, from which np.frombuffer(block, dtype, count) makes an array."""

    @property
    def ptr(self) -> int:
        return np.frombuffer(self, np.uint8).ctypes.data

    def size(self) -> int:
        return len(self)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Allocate at least `size` bytes; like CuPy, rounds up, so callers of np.frombuffer must pass a count."""
    return PinnedMemoryPointer(-(-max(size, 1) // BLOCK) * BLOCK)


def is_pinned(array: Any) -> bool:
    """Return whether a host array is in pinned memory."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, PinnedMemoryPointer)
