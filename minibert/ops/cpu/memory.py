"""Where the arrays of the CPU backend come from: blocks of memory that are used again once no array refers to them.

A training step asks for the same large arrays as the step before.  The C library would give each of them back to the
system when it is freed, and pay for it anew in page faults.
"""

import sys
import threading
from math import prod

import numpy as np

from minibert.base.arrays import DTypeLike

SMALLEST = 1 << 15  # bytes; smaller arrays come from NumPy
LINE = 64  # bytes: a line of the cache, where every array starts
MOST_WASTE = 2  # a block serves arrays of at least half its size
FORGOTTEN = 4096  # requests (a few dozen steps) after which an unused block is freed


class Block:
    """Some memory; every array that is made from it refers to `memory`, which is how we know whether it is free."""

    def __init__(self, size: int):
        step = 1 << max(size.bit_length() - 4, 6)  # in few sizes, so that batches of almost the same length share them
        self.size = -(-size // step) * step
        self.memory = np.empty(self.size + LINE, np.uint8)
        self.start = -self.memory.ctypes.data % LINE
        self.last_used = 0

    @property
    def free(self) -> bool:
        return sys.getrefcount(self.memory) == 2  # this Block's, and the argument of getrefcount

    def array(self, shape: tuple[int, ...], dtype: DTypeLike, size: int) -> np.ndarray:
        return self.memory[self.start : self.start + size].view(dtype).reshape(shape)


class Buffers:
    """All blocks, by ascending size."""

    def __init__(self):
        self.blocks: list[Block] = []
        self.requests = 0
        self.lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """An array [shape] with arbitrary contents; C-contiguous."""
        dtype = np.dtype(dtype)
        size = prod(shape) * dtype.itemsize
        if size < SMALLEST:
            return np.empty(shape, dtype)
        with self.lock:
            self.requests += 1
            block = self.find(size) or self.add(size)
            block.last_used = self.requests
            return block.array(shape, dtype, size)

    def find(self, size: int) -> Block | None:
        """The smallest free block that is large enough and not much too large."""
        for block in self.blocks:
            if size <= block.size <= MOST_WASTE * size and block.free:
                return block
        return None

    def add(self, size: int) -> Block:
        """A new block; those that were not wanted for long go."""
        self.blocks = [b for b in self.blocks if b.last_used > self.requests - FORGOTTEN or not b.free]
        block = Block(size)
        self.blocks.append(block)
        self.blocks.sort(key=lambda b: b.size)
        return block

    @property
    def nbytes(self) -> int:
        """All memory that is held, taken or free."""
        return sum(block.size for block in self.blocks)


BUFFERS = Buffers()
empty = BUFFERS.empty


def zeros(shape: tuple[int, int], dtype: DTypeLike) -> np.ndarray:
    """An array [shape] of zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def contiguous(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays as the BLAS takes them: rows one after the other, all of one type.

    Raises TypeError for types that differ, or are neither float32 nor float64: a kernel would misread them.
    """
    types = {array.dtype.name for array in arrays}
    if len(types) > 1 or not types <= {"float32", "float64"}:
        raise TypeError(f"expected arrays that are all float32 or all float64, got {', '.join(sorted(types))}")
    return [np.ascontiguousarray(array) for array in arrays]
