"""Compiles and launches kernels: a Module is compiled source, and a Kernel is one of its __global__ functions."""

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
from minibert.emulator.launches import translate_with_host
from minibert.emulator.memory import address_of
from minibert.emulator.modes import Mode
from minibert.emulator.source import find_kernels, read_source
from minibert.emulator.staging import Argument, Stage
from minibert.emulator.trace import MOST_RECORDS, Access, read_records
from minibert.emulator.unsupported import explain_refusal

DEFAULT_SHARED = 48 * 1024  # bytes of shared memory that a block can have by default
MOST_SHARED = 227 * 1024  # bytes of shared memory that a block can request on the largest devices
MOST_THREADS = 1024  # threads in a block
MOST_BLOCK = (1024, 1024, 64)  # threads along x, y and z
MOST_GRID = (2**31 - 1, 65535, 65535)  # blocks along x, y and z


class Module:
    """CUDA source, compiled when one of its kernels is first used.

    source   the text, or the Path of a file
    names    the kernels to compile, including template instances such as "scale<float>"; if None, all kernels that
             are not templates
    include  folders that are searched for the headers that the source includes
    file     the name by which errors refer to the source; for a Path, its file name is used instead

    Raises SourceError if the source cannot be translated.  When a kernel is first used, raises CompileError if the
    compiler rejects the source, or NoCompilerError if no compiler is found.
    """

    def __init__(
        self, source: str | Path, names: list[str] | None = None, include: Sequence[Path] = (), file: str = "kernel.cu"
    ) -> None:
        include = [include] if isinstance(include, str | Path) else list(include)
        if isinstance(source, Path):
            include, file, source = [source.parent, *include], source.name, source.read_text(encoding="utf-8")
        self.source = read_source(source, file, tuple(include))
        self.names = list(names) if names is not None else self.plain_kernels()
        self.text = translate_with_host(self.source, self.names)
        self.libraries: dict[bool, Library] = {}  # by mode: True for check mode, False for fast mode
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
        """Return a kernel by name, which can be omitted if there is only one.  Raises KeyError for an unknown name."""
        if name is None and len(self.names) == 1:
            name = self.names[0]
        if name not in self.names:
            raise KeyError(f"no kernel {name!r} in this module; it has {', '.join(self.names)}")
        if name not in self.kernels:
            self.kernels[name] = Kernel(self, name)
        return self.kernels[name]

    def library(self, checked: bool) -> Library:
        """Return the library for check mode or fast mode, compiled at the first call; a CompileError is cached too."""
        if checked in self.refused:
            raise self.refused[checked]
        if checked not in self.libraries:
            try:
                self.libraries[checked] = Library(build_library(self.text, checked))
            except CompileError as failure:
                explanation = explain_refusal(str(failure), self.source)
                error = CompileError(f"{explanation}\n{failure}") if explanation else failure
                self.refused[checked] = error
                raise error from None
        return self.libraries[checked]


class Kernel:
    """A kernel that can be launched: kernel(grid, block, (arguments...), shared=0).

    max_dynamic_shared_size_bytes: the limit on a launch's dynamic shared memory; a launch that needs more than 48 KiB
    requires a larger value.
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
        """The parameters that the kernel declares, read from the compiled library."""
        compiled = next(iter(self.module.libraries.values()), None)
        library = compiled or self.module.library(modes.current().checked)
        return read_parameters(library.entries[self.name])

    def error(self, message: str) -> LaunchError:
        return LaunchError(f"{self.name}: {message}", kernel=self.name)

    def __call__(
        self, grid: int | Sequence[int], block: int | Sequence[int], arguments: Sequence = (), shared: int = 0
    ) -> None:
        """Run the kernel on NumPy arrays, which are changed in place.

        grid       the number of blocks: an int, or a tuple of up to three for x, y and z
        block      the number of threads in a block, in the same form
        arguments  an array for each pointer, and a NumPy scalar of the declared type for each other parameter
        shared     bytes of dynamic shared memory

        Raises a subclass of CudaError if the launch is invalid or the kernel fails.
        """
        mode = modes.current()
        library, outcome = self.launch(grid, block, arguments, shared, mode)
        if mode.counts is not None:
            where = source_lines.look_up(library.path, [count.counter for count in outcome.counts])
            mode.counts.add(self.name, outcome.counts, where)

    def trace(
        self, grid: int | Sequence[int], block: int | Sequence[int], arguments: Sequence = (), shared: int = 0
    ) -> list[Access]:
        """Run the kernel in check mode and list each thread's reads and writes, in the order in which they happened.

        Meant for small grids: raises LaunchError if there are more than a million reads and writes.
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
        """Check the arguments and run the kernel; raises a subclass of CudaError if either fails.

        tracing: the maximum number of accesses to record, or 0 to record none.
        """
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
