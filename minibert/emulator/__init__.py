"""Runs CUDA kernels on the CPU.  Three lines compile one, launch it on NumPy arrays, and give numbers or a diagnosis.

    from minibert import emulator

    module = emulator.Module('''
        __global__ void scale(float* x, int n, float factor) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) x[i] *= factor;
        }
    ''')
    with emulator.checking():
        module.kernel("scale")(4, 256, (x, np.int32(1000), np.float32(2)))     # grid, block, arguments

Without `if (i < n)` the last line raises OutOfBoundsError, which tells file, line, block and thread.

Nothing is compiled, and no compiler looked for, before a kernel is first used.
"""

from minibert.emulator.compiler import compiler_status
from minibert.emulator.errors import (
    ArgumentError,
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
    UninitialisedError,
)
from minibert.emulator.modes import checking, counting, ordered, time_limit
from minibert.emulator.module import Kernel, Module

__all__ = [
    "ArgumentError",
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
    "UninitialisedError",
    "checking",
    "compiler_status",
    "counting",
    "ordered",
    "time_limit",
]
