"""Where a kernel finds the arrays it is given.

On a GPU each allocation begins at a multiple of 256 bytes, and memory beyond it is not the array's.  NumPy's memory
guarantees neither.  So an array is copied, for the launch, to a buffer that does: as far from a multiple of 256 as it
is from the beginning of the array that owns its memory, and with guards around it.  In check mode even neighbouring
views of one array are separated in this way: an overrun of one must not go unnoticed because it reaches the other.
Views that overlap stay together.  Arrays made by memory.empty are used in place, except in check mode.
"""

from dataclasses import dataclass

import numpy as np

from minibert.emulator.memory import (
    ALIGNMENT,
    GUARD,
    POISON,
    address_of,
    find_allocation,
    mark_initialised,
    written_bytes,
)


@dataclass
class Argument:
    """An array that is passed for parameter `number`."""

    number: int
    array: np.ndarray
    is_constant: bool  # the kernel declares a pointer to constants
    address: int = 0  # where the kernel finds it

    @property
    def begin(self) -> int:
        return address_of(self.array)

    @property
    def end(self) -> int:
        return self.begin + self.array.nbytes


@dataclass
class Group:
    """Arguments whose memory overlaps: a run of addresses."""

    begin: int
    end: int
    arguments: list[Argument]


class Stage:
    """The arrays of one launch, in one buffer."""

    def __init__(self, arguments: list[Argument], checked: bool):
        self.arguments = arguments
        self.checked = checked
        self.copied: list[Argument] = []
        for argument in arguments:
            argument.address = argument.begin
            if argument.array.size and (checked or find_allocation(argument.array) is None):
                self.copied.append(argument)
        self.lay_out(group_overlapping(self.copied))

    def lay_out(self, groups: list[Group]) -> None:
        """Copies each group of arrays into the buffer."""
        if not groups:
            return
        size = sum(group.end - group.begin + 2 * GUARD + ALIGNMENT for group in groups)
        self.buffer = np.empty(size + ALIGNMENT, np.uint8)
        base, position = address_of(self.buffer), 0
        for group in groups:
            start = position + GUARD
            start += (offset_in_owner(group) - base - start) % ALIGNMENT
            self.buffer[position:start] = POISON
            position = start + group.end - group.begin
            for argument in group.arguments:
                argument.address = base + start + argument.begin - group.begin
                self.copy_of(argument)[...] = bytes_of(argument.array)
            self.buffer[position : position + GUARD] = POISON
            position += GUARD

    def copy_of(self, argument: Argument) -> np.ndarray:
        """The bytes of an argument in the buffer."""
        start = argument.address - address_of(self.buffer)
        return self.buffer[start : start + argument.array.nbytes]

    def written(self, argument: Argument) -> np.ndarray | None:
        """Which bytes of an argument were written; None if all were."""
        return written_bytes(argument.array)

    def finish(self) -> None:
        """Copies back what the kernel wrote."""
        for argument in self.copied:
            if not argument.is_constant:
                bytes_of(argument.array)[...] = self.copy_of(argument)
        if self.checked:
            return  # the runtime has recorded what was written, byte by byte
        for argument in self.arguments:
            if not argument.is_constant and argument.array.size:
                mark_initialised(argument.array)


def bytes_of(array: np.ndarray) -> np.ndarray:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8)


def group_overlapping(arguments: list[Argument]) -> list[Group]:
    groups: list[Group] = []
    for argument in sorted(arguments, key=lambda argument: argument.begin):
        if groups and argument.begin < groups[-1].end:
            groups[-1].end = max(groups[-1].end, argument.end)
            groups[-1].arguments.append(argument)
        else:
            groups.append(Group(argument.begin, argument.end, [argument]))
    return groups


def offset_in_owner(group: Group) -> int:
    """The offset of a group from the beginning of the allocation, or of the array that owns the memory."""
    array = group.arguments[0].array
    allocation = find_allocation(array)
    if allocation is not None:
        return group.begin - allocation.begin
    while isinstance(array.base, np.ndarray):
        array = array.base
    return group.begin - address_of(array)
