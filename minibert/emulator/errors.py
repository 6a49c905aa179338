"""The errors that a kernel or its launch can cause."""


class CudaError(RuntimeError):
    """A kernel did, or was asked to do, something it must not.

    kernel  its name
    kind    in a word or two: "race", "out of bounds" ...
    file, line     where in the source, or None
    block, thread  which block and thread, as tuples (x, y, z), or None
    """

    kind = "error"

    def __init__(
        self,
        message: str,
        *,
        kernel: str | None = None,
        file: str | None = None,
        line: int | None = None,
        block: tuple[int, int, int] | None = None,
        thread: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.kernel, self.file, self.line, self.block, self.thread = kernel, file, line, block, thread


class RaceError(CudaError):
    """A data race: two threads accessed the same memory, at least one wrote, and no barrier orders the accesses."""

    kind = "race"


class OutOfBoundsError(CudaError):
    """An access was outside all arrays that the kernel was given."""

    kind = "out of bounds"


class UninitialisedError(CudaError):
    """Uninitialised memory was read."""

    kind = "uninitialised"


class DivergenceError(CudaError):
    """Threads of a block, or lanes of a warp, did not reach the same barrier, shuffle or vote."""

    kind = "divergence"


class MisalignedError(CudaError):
    """An address is not a multiple of the size of what is read or written there."""

    kind = "misaligned"


class NumberError(CudaError):
    """An integer overflowed, a number was divided by zero or shifted by too many bits."""

    kind = "arithmetic"


class EndlessError(CudaError):
    """The launch did not end in time."""

    kind = "endless"


class LaunchError(CudaError):
    """The grid, the block, the arguments or the shared memory are not valid for the kernel or for any device."""

    kind = "launch"


class ArgumentError(LaunchError, TypeError):
    """The arguments do not match the kernel's parameters."""


class SourceError(CudaError, ValueError):
    """The source contains something that the emulator cannot translate."""

    kind = "source"


class CompileError(CudaError):
    """The C++ compiler refused the kernel; the message is its own."""

    kind = "compile"


class NoCompilerError(CudaError):
    """There is no C++ compiler; the message says how to get one."""

    kind = "no compiler"
