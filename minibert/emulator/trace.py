"""Traces of a launch: the reads and writes of its threads, as the runtime records them and as Python lists them."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

MOST_RECORDS = 1_000_000


class Record(ctypes.Structure):
    """One read or write as the runtime records it; the fields must match `Record` in runtime/trace.h."""

    _fields_ = [
        ("block", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
        ("argument", ctypes.c_int32),
        ("bytes", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("element_bytes", ctypes.c_uint64),
        ("counter", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("writes", ctypes.c_int32),
        ("atomic", ctypes.c_int32),
    ]


@dataclass(frozen=True)
class Access:
    """One element that a thread read or wrote.

    block, thread  the indices of the block and the thread, as (x, y, z)
    space          "global" or "shared"
    action         "read" or "write"; an atomic operation is a write
    array          the position of the array among the arguments, or the name of the shared array ("dynamic" for
                   dynamic shared memory)
    element        the index of the element in the flattened array; in dynamic shared memory, the index counts units
                   of the size of the access
    line           the line number in the source, or None if it is unknown
    atomic         whether the access was an atomic operation
    """

    block: tuple[int, int, int]
    thread: tuple[int, int, int]
    space: str
    action: str
    array: int | str
    element: int
    line: int | None
    atomic: bool = False


def read_records(
    records: Sequence[Record],
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    lines: dict[int, list[tuple[str, int]]],
) -> list[Access]:
    """Convert the runtime's records to a list of accesses, one for each element that a record covers, in order.

    grid, block: the sizes of the launch.  lines: program counter -> [(file, line), ...], from source_lines.py.
    """
    accesses = []
    for record in records:
        unit = record.element_bytes or record.bytes
        space, array = ("shared", "dynamic") if record.argument < 0 else ("global", record.argument)
        array = record.name.decode() if record.name else array
        where: list = lines.get(record.counter) or [(None, None)]
        accesses += [
            Access(
                position(record.block, grid),
                position(record.thread, block),
                space,
                "write" if record.writes else "read",
                array,
                element,
                where[0][1],
                bool(record.atomic),
            )
            for element in range(record.offset // unit, -(-(record.offset + record.bytes) // unit))
        ]
    return accesses


def position(number: int, size: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the index (x, y, z) of a block or thread, given its linear number and the grid or block size."""
    return number % size[0], number // size[0] % size[1], number // (size[0] * size[1])
