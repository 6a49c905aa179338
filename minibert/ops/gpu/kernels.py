"""From a file of CUDA source to kernels that can be launched, for each dtype on first use."""

from functools import cache
from pathlib import Path

import numpy as np

from minibert.ops.gpu.library import cp

FOLDER = Path(__file__).parent
COMMON = "common.cuh"

# how CUDA calls the dtypes of tensors
TYPES = {"float16": "__half", "bfloat16": "__nv_bfloat16", "float32": "float", "float64": "double"}
OPTIONS = ("--std=c++17",)


class CudaFile:
    """One .cu file: its kernels, compiled together for a dtype when one of them is first launched.

    file    its name in this folder
    names   its kernels as C++ writes their instances, with {T} for the tensors' type: "gelu_forward<{T}>"
    """

    def __init__(self, file: str, *names: str, headers: tuple[str, ...] = ()):
        self.file, self.names, self.headers = file, names, headers

    def source(self) -> str:
        """The text that is compiled: headers and file joined, since CuPy's cache does not look into headers.

        #line directives let the compiler's messages, and the emulator's, name the file and line that a reader sees.
        """
        files = (COMMON, *self.headers, self.file)
        return "".join(f'#line 1 "{name}"\n{self.read(name)}\n' for name in files)

    @staticmethod
    def read(name: str) -> str:
        """The text of one file."""
        return (FOLDER / name).read_text(encoding="utf-8")

    def instances(self, dtype) -> list[str]:
        """The names of all kernels for one dtype."""
        return [name.format(T=TYPES[np.dtype(dtype).name]) for name in self.names]

    @cache  # noqa: B019  (one for each file; they live as long as the program)
    def module(self, dtype):
        """The compiled kernels for one dtype: a cupy.RawModule."""
        return cp.RawModule(code=self.source(), options=OPTIONS, name_expressions=self.instances(dtype))

    @cache  # noqa: B019
    def kernel(self, name: str, dtype):
        """One kernel, name as in `names`: a cupy.RawKernel."""
        return self.module(dtype).get_function(name.format(T=TYPES[dtype.name]))

    def launch(self, name: str, dtype, grid, block, *arguments, shared: int = 0) -> None:
        """Run a kernel on the current stream.

        name as in `names`; dtype of the tensors; grid, block: how many blocks, and threads in a block, int or tuple of
        up to three; arguments: arrays, and NumPy scalars of exactly the types that the kernel declares (a Python float
        would be passed as a double); shared: bytes of dynamic shared memory.  An empty grid launches nothing.
        """
        grid, block = as_tuple(grid), as_tuple(block)
        if 0 in grid:
            return
        kernel = self.kernel(name, np.dtype(dtype))
        if shared > 48 * 1024:  # more than that must be asked for
            kernel.max_dynamic_shared_size_bytes = shared
        kernel(grid, block, arguments, shared_mem=shared)


def as_tuple(size) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,)


def sum_type(dtype) -> type:
    """The NumPy type in which kernels compute with tensors of that dtype: sum_t in common.cuh."""
    return np.float64 if np.dtype(dtype) == np.float64 else np.float32


def blocks_for(items: int, each: int) -> int:
    """How many blocks it takes to cover so many items."""
    return -(-items // each)
