"""Counts memory sectors and bank conflicts of each source line, which determine a kernel's memory speed on a GPU.

    with emulator.counting() as counts:
        kernel(grid, block, arguments)
    counts["scale"].sectors, counts["scale"].least_sectors, counts["scale"].bank_conflicts
    print(counts)

Global memory is read and written in sectors of 32 bytes.  An access is coalesced if a warp touches no more sectors than
are needed to hold its bytes.  Shared memory serves a warp in one turn (two for eight bytes per lane, four for sixteen)
if its lanes use different banks or the same word; each further turn is a bank conflict.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field


class Count(ctypes.Structure):
    """The counts of one instruction; the fields must match `Count` in runtime/counters.h."""

    _fields_ = [
        ("counter", ctypes.c_uint64),
        ("accesses", ctypes.c_uint64),
        ("transfers", ctypes.c_uint64),
        ("least", ctypes.c_uint64),
        ("is_shared", ctypes.c_int32),
        ("writes", ctypes.c_int32),
    ]


@dataclass
class LineCount:
    """The counts of one source line for one memory space and action.

    accesses: the number of accesses, each by a whole warp.  transfers: sectors of global memory or turns of shared
    memory.  least: the minimum number of transfers for these accesses.
    """

    file: str | None
    line: int | None
    space: str  # "global" or "shared"
    action: str  # "read" or "write"
    accesses: int = 0
    transfers: int = 0
    least: int = 0


@dataclass
class KernelCounts:
    """The counts of one kernel, summed over all its launches."""

    launches: int = 0
    by_line: dict[tuple, LineCount] = field(default_factory=dict)

    @property
    def lines(self) -> list[LineCount]:
        return sorted(self.by_line.values(), key=lambda count: (count.file or "", count.line or 0, count.action))

    def total(self, space: str, what: str) -> int:
        return sum(getattr(count, what) for count in self.by_line.values() if count.space == space)

    @property
    def sectors(self) -> int:
        """The number of sectors of global memory touched, each counted once per access by a warp."""
        return self.total("global", "transfers")

    @property
    def least_sectors(self) -> int:
        """The minimum number of sectors for the bytes accessed."""
        return self.total("global", "least")

    @property
    def turns(self) -> int:
        """The number of turns that shared memory took to serve the warps."""
        return self.total("shared", "transfers")

    @property
    def least_turns(self) -> int:
        """The minimum number of turns: as if no two lanes accessed different words of a bank."""
        return self.total("shared", "least")

    @property
    def bank_conflicts(self) -> int:
        """The number of bank conflicts: turns of shared memory beyond the minimum."""
        return self.turns - self.least_turns


class Counts(dict):
    """A dictionary from kernel name to KernelCounts; str() formats it as a table of source lines."""

    def add(self, kernel: str, counts: Sequence[Count], lines: dict[int, list[tuple[str, int]]]) -> None:
        """Add the counts of a launch, one per instruction; lines: program counter -> [(file, line), ...]."""
        total = self.setdefault(kernel, KernelCounts())
        total.launches += 1
        for count in counts:
            where: list = lines.get(count.counter) or [(None, None)]
            file, line = where[0]
            space, action = "shared" if count.is_shared else "global", "write" if count.writes else "read"
            of_line = total.by_line.setdefault((file, line, space, action), LineCount(file, line, space, action))
            of_line.accesses += count.accesses
            of_line.transfers += count.transfers
            of_line.least += count.least

    def __str__(self) -> str:
        rows = []
        for name, kernel in self.items():
            rows.append(f"{name}: {kernel.launches} launches")
            for count in kernel.lines:
                unit = "sectors" if count.space == "global" else "turns"
                rows.append(
                    f"  {count.file}:{count.line}  {count.space} {count.action}: {count.accesses} warp "
                    f"accesses, {count.transfers} {unit} (minimum possible: {count.least})"
                )
        return "\n".join(rows)
