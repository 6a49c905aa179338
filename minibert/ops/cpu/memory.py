"""The CPU backend's allocator: blocks of memory that are reused once no array refers to them.

A training step needs the same large arrays as the previous step.  The C library would return each of them to the
operating system when it is freed, and pay for it with page faults when it is needed again.
"""

import sys
import threading
from math import prod

import numpy as np

from minibert.base.arrays import DTypeLike

SMALLEST = 1 << 15  # bytes; smaller arrays come from NumPy
LINE = 64  # bytes: a cache line, to which every array is aligned
MOST_WASTE = 2  # a block serves arrays of at least half its size
FORGOTTEN = 4096  # requests (a few dozen steps) after which an unused block is freed


class Block:
    """A block of memory; every array made from it refers to `memory`, which is how we know whether it is free."""

    def __init__(self, size: int):
        step = 1 << max(size.bit_length() - 4, 6)  # few distinct sizes, so that batches of similar length share blocks
        self.size = -(-size // step) * step
        self.memory = np.empty(self.size + LINE, np.uint8)
        self.start = -self.memory.ctypes.data % LINE
        self.last_used = 0

    @property
    def free(self) -> bool:
        return sys.getrefcount(self.memory) == 2  # this Block's reference, and getrefcount's argument

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
        """Add a new block; free blocks that have not been used for long are dropped."""
        self.blocks = [b for b in self.blocks if b.last_used > self.requests - FORGOTTEN or not b.free]
        block = Block(size)
        self.blocks.append(block)
        self.blocks.sort(key=lambda b: b.size)
        return block

    @property
    def nbytes(self) -> int:
        """The total size of all blocks, in use or free."""
        return sum(block.size for block in self.blocks)


BUFFERS = Buffers()
empty = BUFFERS.empty


def zeros(shape: tuple[int, int], dtype: DTypeLike) -> np.ndarray:
    """An array [shape] of zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def contiguous(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays as the BLAS needs them: C-contiguous, all of one dtype.

    Raises TypeError for mixed dtypes, or for one that is neither float32 nor float64: a kernel would misread it.
    """
    types = {array.dtype.name for array in arrays}
    if len(types) > 1 or not types <= {"float32", "float64"}:
        raise TypeError(f"expected arrays that are all float32 or all float64, got {', '.join(sorted(types))}")
    return [np.ascontiguousarray(array) for array in arrays]
