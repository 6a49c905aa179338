"""Runs CUDA kernels on the CPU.  Three lines compile one, launch it on NumPy arrays, and give results or a diagnosis.

    from minibert import emulator

    module = emulator.Module('''
        __global__ void scale(float* x, int n, float factor) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) x[i] *= factor;
        }
    ''')
    with emulator.checking():
        module.kernel("scale")(4, 256, (x, np.int32(1000), np.float32(2)))     # grid, block, arguments

Without `if (i < n)` the last line raises OutOfBoundsError, which names the file, line, block and thread.

Nothing is compiled, and no compiler is looked for, until a kernel is first used.

What a GPU may do and the emulator does not: run threads at the same time (it tries orders instead, and check mode
reasons about those that it does not try), compute __expf and the like with its own rounding errors, flush denormals to
zero, delay writes from other blocks, run streams concurrently, run out of registers.  After a
__syncwarp of only some lanes, a race between the others can be missed.  memcpy and memset in a kernel are not watched.
A __device__ variable keeps its value from launch to launch, but there is one for fast mode and one for check mode.
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
