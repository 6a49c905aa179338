"""The CPU backend's memory allocator, which reuses blocks of memory once no array refers to them.

A training step needs large arrays of the same sizes as the previous step.  Without this allocator, the C library would
return their memory to the operating system each time, and allocating it again would cause page faults.
"""

import sys
import threading
from math import prod

import numpy as np

from minibert.base.arrays import DTypeLike

SMALLEST = 1 << 15  # bytes; smaller arrays are allocated by NumPy
LINE = 64  # bytes: a cache line, to which every array is aligned
MOST_WASTE = 2  # a block is used only for arrays of at least half its size
FORGOTTEN = 4096  # number of requests (a few dozen steps) after which an unused block is freed


class Block:
    """A block of memory, which is free if no array refers to its `memory`; every array made from the block does."""

    def __init__(self, size: int):
        step = 1 << max(size.bit_length() - 4, 6)  # few distinct sizes, so that similar batches can share blocks
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
    """The allocator: all blocks of memory, in ascending order of size."""

    def __init__(self):
        self.blocks: list[Block] = []
        self.requests = 0
        self.lock = threading.Lock()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        """A C-contiguous array of the given shape and dtype, with arbitrary contents."""
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
        """The smallest free block of at least `size` and at most MOST_WASTE * size bytes; None if there is none."""
        for block in self.blocks:
            if size <= block.size <= MOST_WASTE * size and block.free:
                return block
        return None

    def add(self, size: int) -> Block:
        """Add a new block, and drop free blocks that have not been used in the last FORGOTTEN requests."""
        self.blocks = [b for b in self.blocks if b.last_used > self.requests - FORGOTTEN or not b.free]
        block = Block(size)
        self.blocks.append(block)
        self.blocks.sort(key=lambda b: b.size)
        return block

    @property
    def nbytes(self) -> int:
        """The total size of all blocks in bytes, both in use and free."""
        return sum(block.size for block in self.blocks)


BUFFERS = Buffers()
empty = BUFFERS.empty


def zeros(shape: tuple[int, int], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros with the given shape and dtype."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def contiguous(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays in the form that the BLAS requires, C-contiguous and all of one dtype; copied only if necessary.

    Raises TypeError for mixed dtypes, or for a dtype other than float32 and float64, which a kernel would misread.
    """
    types = {array.dtype.name for array in arrays}
    if len(types) > 1 or not types <= {"float32", "float64"}:
        raise TypeError(f"expected arrays that are all float32 or all float64, got {', '.join(sorted(types))}")
    return [np.ascontiguousarray(array) for array in arrays]
