"""Emulates CuPy's memory pool: tracks how many bytes a pool would hold, without pooling any memory."""

from typing import Any

BLOCK = 512  # bytes; sizes are rounded up to a multiple of this
TOTAL = 16 << 30  # bytes of memory on the emulated device


class OutOfMemoryError(MemoryError):
    """An array does not fit in memory: holds its size, the bytes in use, and the limit (0 if there is none)."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(size, total, limit)
        self._size, self._total, self._limit = size, total, limit

    def __str__(self) -> str:
        limit = f", limit set to: {self._limit:,} bytes" if self._limit else ""
        return f"Out of memory allocating {self._size:,} bytes (allocated so far: {self._total:,} bytes{limit})"


class MemoryPool:
    """The bookkeeping of a memory pool: how many bytes are in use, and how many are held, including freed ones.

    CuPy's pool keeps freed memory for reuse, because allocating from the driver stalls the device.
    """

    def __init__(self):
        self._in_use: int = 0
        self._held: int = 0
        self._limit: int = 0

    def _take(self, size: int) -> int:
        """Record an allocation of `size` bytes and return the rounded size, which must be passed to _give_back."""
        size = -(-size // BLOCK) * BLOCK
        if self._in_use + size > (self._limit or TOTAL):
            raise OutOfMemoryError(size, self._in_use, self._limit)
        self._in_use += size
        self._held = max(self._held, self._in_use)
        return size

    def _give_back(self, size: int) -> None:
        self._in_use -= size

    def used_bytes(self) -> int:
        return self._in_use

    def free_bytes(self) -> int:
        return self._held - self._in_use

    def total_bytes(self) -> int:
        """Return the number of bytes that the pool holds, in use or free."""
        return self._held

    def free_all_blocks(self, stream: Any = None) -> None:
        self._held = self._in_use

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """Set the limit, as a size in bytes or as a fraction of the device's memory; 0 removes it.

        Raises ValueError unless exactly one of the two is given and is valid.
        """
        if (size is None) == (fraction is None):
            raise ValueError("give either size or fraction")
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError(f"fraction is {fraction}; expected 0 to 1")
        self._limit = int(TOTAL * (fraction or 0)) if size is None else int(size)
        if self._limit < 0:
            raise ValueError(f"size is {size}; expected a number of bytes")

    def get_limit(self) -> int:
        return self._limit


pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    return pool
