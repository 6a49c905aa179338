"""Host memory that the system never moves: only copies from there overlap with kernels."""

from typing import Any

import numpy as np

from minibert.emulator.cupy.cuda.memory import BLOCK


class PinnedMemoryPointer(bytearray):
    """Pinned memory: np.frombuffer(it, dtype, count) makes an array of it."""

    @property
    def ptr(self) -> int:
        return np.frombuffer(self, np.uint8).ctypes.data

    def size(self) -> int:
        return len(self)


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """At least that many bytes: CuPy rounds up too, so state how many elements you want of it."""
    return PinnedMemoryPointer(-(-max(size, 1) // BLOCK) * BLOCK)


def is_pinned(array: Any) -> bool:
    """Whether a host array is in pinned memory."""
    while isinstance(array, np.ndarray | memoryview):
        array = array.base if isinstance(array, np.ndarray) else array.obj
    return isinstance(array, PinnedMemoryPointer)
