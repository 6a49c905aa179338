"""The Python side of kernels: a Module is compiled source, a Kernel one of its __global__ functions."""

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from minibert.emulator import modes, source_lines
from minibert.emulator.arguments import Fitting, Parameter, read_parameters
from minibert.emulator.compiler import build_library
from minibert.emulator.errors import CompileError, LaunchError, SourceError
from minibert.emulator.launch import Array, Launch, Library, Outcome, raise_report
from minibert.emulator.memory import address_of
from minibert.emulator.modes import Mode
from minibert.emulator.source import find_kernels, read_source, translate
from minibert.emulator.staging import Argument, Stage
from minibert.emulator.trace import MOST_RECORDS, Access, read_records

DEFAULT_SHARED = 48 * 1024  # bytes of shared memory that a block gets without asking for more
MOST_SHARED = 227 * 1024  # that it can request, on the largest devices
MOST_THREADS = 1024  # in a block
MOST_BLOCK = (1024, 1024, 64)  # threads along x, y and z
MOST_GRID = (2**31 - 1, 65535, 65535)  # blocks along x, y and z


class Module:
    """CUDA source, compiled when one of its kernels is first used.

    source   the text, or the Path of a file
    names    the kernels that are wanted, including template instances: ["scale<float>"]; if None, all that are not
             templates
    include  folders with the source's own headers
    file     the name of the source in errors

    Raises SourceError if the source cannot be translated; when a kernel is first used, CompileError if the
    compiler rejects it, NoCompilerError if there is none.
    """

    def __init__(
        self, source: str | Path, names: list[str] | None = None, include: Sequence[Path] = (), file: str = "kernel.cu"
    ) -> None:
        include = [include] if isinstance(include, str | Path) else list(include)
        if isinstance(source, Path):
            include, file, source = [source.parent, *include], source.name, source.read_text(encoding="utf-8")
        self.source = read_source(source, file, tuple(include))
        self.names = list(names) if names is not None else self.plain_kernels()
        self.text = translate(self.source, self.names)
        self.libraries: dict[bool, Library] = {}  # for check mode and for fast mode
        self.refused: dict[bool, CompileError] = {}
        self.kernels: dict[str, Kernel] = {}

    def plain_kernels(self) -> list[str]:
        kernels = find_kernels(self.source)
        names = [kernel.name for kernel in kernels if not kernel.is_template]
        if names:
            return names
        if kernels:
            example = f"{kernels[0].name}<float>"
            raise SourceError(
                f'all kernels are templates; choose the instances to compile, for example names=["{example}"]'
            )
        raise SourceError("the source contains no kernel; expected a function declared `__global__ void`")

    def kernel(self, name: str | None = None) -> "Kernel":
        """A kernel by its name; the name can be omitted if there is only one.  Raises KeyError for an unknown name."""
        if name is None and len(self.names) == 1:
            name = self.names[0]
        if name not in self.names:
            raise KeyError(f"no kernel {name!r} in this module; it has {', '.join(self.names)}")
        if name not in self.kernels:
            self.kernels[name] = Kernel(self, name)
        return self.kernels[name]

    def library(self, checked: bool) -> Library:
        """The compiled kernels for one of the two modes.  Source that the compiler has rejected is not tried again."""
        if checked in self.refused:
            raise self.refused[checked]
        if checked not in self.libraries:
            try:
                self.libraries[checked] = Library(build_library(self.text, checked))
            except CompileError as error:
                self.refused[checked] = error
                raise
        return self.libraries[checked]


class Kernel:
    """A kernel that can be launched: kernel(grid, block, (arguments...), shared=0).

    max_dynamic_shared_size_bytes: raise it before a launch that needs more than 48 KiB of dynamic shared memory.
    """

    def __init__(self, module: Module, name: str):
        self.module, self.name = module, name
        self.dynamic_limit = DEFAULT_SHARED

    def __repr__(self) -> str:
        return f"<Kernel {self.name}>"

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self.dynamic_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        if not 0 <= size <= MOST_SHARED:
            raise self.error(f"{size} bytes of shared memory requested; a block can have at most {MOST_SHARED}")
        self.dynamic_limit = int(size)

    @cached_property
    def parameters(self) -> list[Parameter]:
        """(C++ type, size in bytes, is it a pointer, dtype of the number or of what it points to) for each."""
        compiled = next(iter(self.module.libraries.values()), None)
        library = compiled or self.module.library(modes.current().checked)
        return read_parameters(library.entries[self.name])

    def error(self, message: str) -> LaunchError:
        return LaunchError(f"{self.name}: {message}", kernel=self.name)

    def __call__(
        self, grid: int | Sequence[int], block: int | Sequence[int], arguments: Sequence = (), shared: int = 0
    ) -> None:
        """Run the kernel on NumPy arrays, which are changed in place.

        grid, block: how many blocks, and threads in a block: int or tuple of up to three.  arguments: an array for each
        pointer, a NumPy scalar of the declared type for each value.  shared: bytes of dynamic shared memory.
        Raises a subclass of CudaError.
        """
        mode = modes.current()
        library, outcome = self.launch(grid, block, arguments, shared, mode)
        if mode.counts is not None:
            where = source_lines.look_up(library.path, [count.counter for count in outcome.counts])
            mode.counts.add(self.name, outcome.counts, where)

    def trace(
        self, grid: int | Sequence[int], block: int | Sequence[int], arguments: Sequence = (), shared: int = 0
    ) -> list[Access]:
        """Run the kernel in check mode and list what each thread read and wrote, in the order of the emulator.

        For small grids: a LaunchError is raised if there are more than a million reads and writes.
        """
        mode = replace(modes.current(), checked=True)
        library, outcome = self.launch(grid, block, arguments, shared, mode, tracing=MOST_RECORDS)
        where = source_lines.look_up(library.path, [record.counter for record in outcome.records])
        sizes = self.size_of("grid", "blocks", grid, MOST_GRID), self.size_of("block", "threads", block, MOST_BLOCK)
        return read_records(outcome.records, *sizes, where)

    def launch(
        self,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        arguments: Sequence,
        shared: int,
        mode: Mode,
        tracing: int = 0,
    ) -> tuple[Library, Outcome]:
        """Check the arguments, run the kernel, and raise its error if there is one."""
        grid = self.size_of("grid", "blocks", grid, MOST_GRID)
        block = self.size_of("block", "threads", block, MOST_BLOCK)
        self.check_threads(block)
        self.check_shared(shared)
        fitting = Fitting(self.name, self.parameters, tuple(arguments))
        stage = Stage(fitting.arrays, mode.checked)
        for argument in stage.arguments:
            fitting.values[argument.number] = np.array([argument.address], np.uintp)
        pointers = np.array([address_of(value) for value in fitting.values] or [0], np.uintp)
        arrays = [array_structure(stage, argument) for argument in stage.arguments if argument.array.size]
        library = self.module.library(mode.checked)
        launch = Launch(
            kernel=ctypes.pointer(library.entries[self.name]),
            arguments=address_of(pointers),
            grid=grid,
            block=block,
            dynamic_bytes=shared,
            most_shared=DEFAULT_SHARED if self.dynamic_limit <= DEFAULT_SHARED else MOST_SHARED,
            array_count=len(arrays),
            arrays=(Array * len(arrays))(*arrays),
            counting=mode.counts is not None,
            tracing=tracing > 0,
            most_records=tracing,
        )
        outcome = library.run(launch, mode)
        raise_report(outcome.report, self.name, library.source_lines, self.describe_argument)
        stage.finish()
        return library, outcome

    def size_of(
        self, what: str, things: str, size: int | Sequence[int], most: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        sizes = size if isinstance(size, tuple | list) else (size,)
        if not 1 <= len(sizes) <= 3 or not all(isinstance(number, int | np.integer) for number in sizes):
            raise self.error(f"{what} is {size!r}; expected a number of {things} or a tuple of one to three numbers")
        x, y, z, *_ = (*(int(number) for number in sizes), 1, 1, 1)
        if not all(1 <= number <= limit for number, limit in zip((x, y, z), most, strict=True)):
            raise self.error(f"{what} is {size!r}; expected 1 to {most} {things}")
        return x, y, z

    def check_threads(self, block: tuple[int, int, int]) -> None:
        if block[0] * block[1] * block[2] > MOST_THREADS:
            raise self.error(
                f"block {block} has {block[0] * block[1] * block[2]} threads; expected at most {MOST_THREADS}"
            )

    def check_shared(self, shared: int) -> None:
        if not isinstance(shared, int | np.integer) or shared < 0:
            raise self.error(f"shared is {shared!r}; expected a number of bytes")
        if shared > self.dynamic_limit:
            raise self.error(
                f"{shared} bytes of dynamic shared memory requested, but the limit is {self.dynamic_limit}; "
                f"set max_dynamic_shared_size_bytes first (at most {MOST_SHARED})"
            )

    def describe_argument(self, number: int) -> str:
        return f"argument {number} ({self.parameters[number].type})"


def array_structure(stage: Stage, argument: Argument) -> Array:
    written = stage.written(argument)
    return Array(
        begin=argument.address,
        bytes=argument.array.nbytes,
        element_bytes=argument.array.itemsize,
        initialised=None if written is None else address_of(written),
        argument=argument.number,
    )
