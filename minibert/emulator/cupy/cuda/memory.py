"""Memory pools.  Nothing is pooled here: only what a pool would hold is tracked, so that its use can be tested."""

from typing import Any

BLOCK = 512  # bytes: sizes are rounded up to multiples of this
TOTAL = 16 << 30  # bytes of the emulated device


class OutOfMemoryError(MemoryError):
    """An array does not fit: its size, what is already in use, and the limit if there is one; all in bytes."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(size, total, limit)
        self._size, self._total, self._limit = size, total, limit

    def __str__(self) -> str:
        limit = f", limit set to: {self._limit:,} bytes" if self._limit else ""
        return f"Out of memory allocating {self._size:,} bytes (allocated so far: {self._total:,} bytes{limit})"


class MemoryPool:
    """Keeps what is freed, since allocating from the driver stalls the device."""

    def __init__(self):
        self._in_use: int = 0
        self._held: int = 0
        self._limit: int = 0

    def _take(self, size: int) -> int:
        """Allocate that many bytes; returns the handle to free them with."""
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
        """Bytes in use, or kept for the next array."""
        return self._held

    def free_all_blocks(self, stream: Any = None) -> None:
        self._held = self._in_use

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """One of the two: bytes, 0 for no limit; or a share of the device's memory.  Raises ValueError."""
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
