"""A list of what each thread of a small launch reads and writes."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

MOST_RECORDS = 1_000_000


class Record(ctypes.Structure):
    """As in runtime/trace.h."""

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

    block, thread  as (x, y, z)
    space          "global" or "shared"
    action         "read" or "write"; an atomic operation is a write
    array          the number of the argument, or the name of the shared array ("dynamic" for dynamic shared memory)
    element        its index in the flattened array; in dynamic shared memory, in units of
                   what was read or written
    line           of the source
    atomic         whether it was an atomic operation
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
    """Accesses in the order in which they happened; an access to several elements becomes one per element.

    lines: counter -> [(file, line), ...]
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
    """(x, y, z) of a block or thread from its number."""
    return number % size[0], number // size[0] % size[1], number // (size[0] * size[1])
