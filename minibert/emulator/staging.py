"""Staging: copies a kernel's array arguments to a buffer with the alignment and guards that the kernel needs.

On a GPU, each allocation begins at an address that is a multiple of 256 bytes, and the memory beyond its end belongs
to no array.  NumPy guarantees neither.  For a launch, arrays are therefore copied to a buffer: each copy lies as far
beyond a multiple of 256 as the argument lies beyond the beginning of the array that owns its memory, and has guard
bytes before and after it.  In check mode, even neighbouring views of one array are separated by guards, so that an
overrun of one view into the other is noticed.  Views that overlap are copied together.  Arrays made by memory.empty
already have the alignment and guards, and are copied only in check mode.
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
    """An array argument of a launch, passed for the parameter with index `number`."""

    number: int
    array: np.ndarray
    is_constant: bool  # whether the parameter is a pointer to const
    address: int = 0  # that is passed to the kernel: of the copy, or of the array itself

    @property
    def begin(self) -> int:
        return address_of(self.array)

    @property
    def end(self) -> int:
        return self.begin + self.array.nbytes


@dataclass
class Group:
    """A set of arguments whose memory overlaps, and the address range that they cover."""

    begin: int
    end: int
    arguments: list[Argument]


class Stage:
    """The array arguments of one launch, and the buffer to which they are copied where necessary."""

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
        """Allocate the buffer and copy each group of arrays into it, between guards."""
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
        """Return the bytes of an argument's copy in the buffer."""
        start = argument.address - address_of(self.buffer)
        return self.buffer[start : start + argument.array.nbytes]

    def written(self, argument: Argument) -> np.ndarray | None:
        """Return a mask of the bytes of an argument that have been written, or None if all have been."""
        return written_bytes(argument.array)

    def finish(self) -> None:
        """Copy the results back to the arrays; in fast mode, also mark the arrays as initialised."""
        for argument in self.copied:
            if not argument.is_constant:
                bytes_of(argument.array)[...] = self.copy_of(argument)
        if self.checked:
            return  # in check mode, the runtime itself has recorded which bytes were written
        for argument in self.arguments:
            if not argument.is_constant and argument.array.size:
                mark_initialised(argument.array)


def bytes_of(array: np.ndarray) -> np.ndarray:
    """Return the memory of a contiguous array as a view of bytes."""
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
    """Return the offset of a group from the beginning of its allocation, or of the array that owns its memory."""
    array = group.arguments[0].array
    allocation = find_allocation(array)
    if allocation is not None:
        return group.begin - allocation.begin
    while isinstance(array.base, np.ndarray):
        array = array.base
    return group.begin - address_of(array)
