"""Runs CUDA kernels on the CPU: compiles CUDA source, launches its kernels on NumPy arrays, and reports their bugs.

    from minibert import emulator

    module = emulator.Module('''
        __global__ void add(float* y, const float* x, int n) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) y[i] += x[i];
        }
    ''')
    with emulator.checking():
        module.kernel("add")(4, 256, (y, x, np.int32(1000)))     # grid, block, arguments

Without `if (i < n)`, the last line raises an OutOfBoundsError that names the file, line, block and thread.

A module is compiled, and a compiler is looked for, only when a kernel is first used.

The emulator differs from a GPU in these ways:

    Threads do not run concurrently: a launch runs them in one order, which can be chosen; check mode also finds races
    that would show only in other orders.
    __expf and similar intrinsics do not have a GPU's rounding errors, and denormals are not flushed to zero.
    Writes by other blocks are visible without delay, streams do not overlap, and registers never run out.

Check mode can miss a race between lanes that did not take part in a __syncwarp of only some lanes, and it does not
check memcpy and memset in a kernel.  A __device__ variable keeps its value from launch to launch, but fast mode and
check mode each have their own copy of it.
"""

from minibert.emulator.compiler import compiler_status
from minibert.emulator.errors import (
    ArgumentError,
    AssertionFailedError,
    CompileError,
    CudaError,
    DivergenceError,
    EndlessError,
    LaunchError,
    MisalignedError,
    NoCompilerError,
    NumberError,
    OutOfBoundsError,
    RaceError,
    SourceError,
    TrapError,
    UninitialisedError,
)
from minibert.emulator.modes import checking, counting, ordered, time_limit
from minibert.emulator.module import Kernel, Module

__all__ = [
    "ArgumentError",
    "AssertionFailedError",
    "CompileError",
    "CudaError",
    "DivergenceError",
    "EndlessError",
    "Kernel",
    "LaunchError",
    "MisalignedError",
    "Module",
    "NoCompilerError",
    "NumberError",
    "OutOfBoundsError",
    "RaceError",
    "SourceError",
    "TrapError",
    "UninitialisedError",
    "checking",
    "compiler_status",
    "counting",
    "ordered",
    "time_limit",
]
