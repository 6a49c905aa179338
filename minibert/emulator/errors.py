"""The exceptions raised for errors in a kernel, its source, its compilation or its launch."""


class CudaError(RuntimeError):
    """Base class of all errors that the emulator reports about a kernel.

    kernel         the name of the kernel, or None
    kind           the kind of error in a word or two, such as "race" or "out of bounds"
    file, line     the location in the source, or None
    block, thread  the indices of the block and the thread, as tuples (x, y, z), or None
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
    """A kernel accessed memory outside its arrays, or used an index outside an array."""

    kind = "out of bounds"


class UninitialisedError(CudaError):
    """A kernel, or an operation on emulated CuPy arrays, read memory that had never been written."""

    kind = "uninitialised"


class DivergenceError(CudaError):
    """Threads of a block, or lanes of a warp, did not all take part in the same barrier or warp-wide operation."""

    kind = "divergence"


class MisalignedError(CudaError):
    """A kernel used an address without the alignment that the access requires."""

    kind = "misaligned"


class NumberError(CudaError):
    """A kernel performed invalid integer arithmetic: an overflow, a division by zero, or an invalid shift."""

    kind = "arithmetic"


class EndlessError(CudaError):
    """A launch exceeded its time limit, or its threads retried atomic operations without making progress."""

    kind = "endless"


class AssertionFailedError(CudaError):
    """An assert() in the kernel failed."""

    kind = "assertion"


class TrapError(CudaError):
    """The kernel called __trap() or abort(), or threw an exception."""

    kind = "trap"


class LaunchError(CudaError):
    """A launch is invalid for the kernel or exceeds a limit: grid, block, arguments, shared or local memory."""

    kind = "launch"


class ArgumentError(LaunchError, TypeError):
    """The arguments do not match the kernel's parameters."""


class SourceError(CudaError, ValueError):
    """The source contains something that the emulator cannot translate."""

    kind = "source"


class CompileError(CudaError):
    """The C++ compiler rejected the kernel; the message contains the compiler's output."""

    kind = "compile"


class NoCompilerError(CudaError):
    """No C++ compiler was found; the message says how to install one."""

    kind = "no compiler"
