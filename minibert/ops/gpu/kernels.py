"""Compile CUDA source files into kernels, for each dtype when it is first used, and launch them."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import DTypeLike
from minibert.ops.gpu.library import cp, emulated

FOLDER = Path(__file__).parent
COMMON = "common.cuh"

# CUDA's names for the dtypes of tensors
TYPES = {"float16": "__half", "bfloat16": "__nv_bfloat16", "float32": "float", "float64": "double"}
OPTIONS = ("--std=c++17",)

# the compute capabilities that kernels are compiled for, times ten (80 for 8.0); 70 with CUDA 12 only
CAPABILITIES = 70, 75, 80, 86, 89, 90, 100, 120
# KiB of shared memory that a block may request (CUDA C++ Programming Guide, "Technical specifications")
MOST_SHARED = {70: 96, 75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
UNASKED = 48  # KiB of shared memory that a block may use without requesting more
EVERYWHERE = dict.fromkeys(TYPES, CAPABILITIES[0])


class CudaFile:
    """A .cu file with its kernels, which are all compiled for a dtype when one of them is first launched for it.

    file      the file's name in this folder
    names     its kernels, as C++ template instances with {T} for the tensors' type, such as "gelu_forward<{T}>"
    headers   the names of the .cuh files that the kernels need, besides common.cuh
    first     dtype -> the lowest compute capability with kernels for it; there are no kernels for other dtypes
    """

    def __init__(self, file: str, *names: str, headers: tuple[str, ...] = (), first: Mapping[str, int] = EVERYWHERE):
        self.file, self.names, self.headers, self.first = file, names, headers, first

    def takes(self, dtype: Any, capability: int) -> bool:
        """Whether there are kernels for tensors of the given dtype on a device of the given compute capability."""
        name = np.dtype(dtype).name
        return name in self.first and capability >= self.first[name]

    def source(self) -> str:
        """The source text to compile: the headers and the file, joined because CuPy's cache does not track headers.

        #line directives make the compiler and the emulator refer to the original file and line in their messages.
        """
        files = (COMMON, *self.headers, self.file)
        return "".join(f'#line 1 "{name}"\n{self.read(name)}\n' for name in files)

    @staticmethod
    def read(name: str) -> str:
        """The text of a file in this folder."""
        return (FOLDER / name).read_text(encoding="utf-8")

    def instances(self, dtype: Any) -> list[str]:
        """The names of the file's kernels, as template instances for one dtype."""
        return [name.format(T=TYPES[np.dtype(dtype).name]) for name in self.names]

    @cache  # noqa: B019  (one for each file; they live as long as the program)
    def module(self, dtype: Any) -> Any:
        """The compiled kernels for one dtype, a cupy.RawModule.

        Raises TypeError if there are none for that dtype on this device.
        """
        capability = int(cp.cuda.Device().compute_capability)
        if not self.takes(dtype, capability):
            raise TypeError(f"{self.file} has no kernels for {dtype} on compute capability {capability / 10}")
        source = self.source()
        wanted = "<mma.h>" in source and not emulated
        folders = header_folders(cp.cuda.nvrtc.getVersion()[0]) if wanted else []
        options = (*OPTIONS, *(f"-I{folder}" for folder in folders))
        return cp.RawModule(code=source, options=options, name_expressions=self.instances(dtype))

    @cache  # noqa: B019
    def kernel(self, name: str, dtype: Any) -> Any:
        """The compiled kernel for one dtype, a cupy.RawKernel; its name is given as in `names`."""
        return self.module(dtype).get_function(name.format(T=TYPES[dtype.name]))

    def launch(
        self,
        name: str,
        dtype: Any,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        *arguments: Any,
        shared: int = 0,
    ) -> None:
        """Run a kernel on the current stream.

        name: the kernel's name as in `names`; dtype: of the tensors; grid, block: the number of blocks, and of threads
        per block, each an int or a tuple of up to three; arguments: arrays, and NumPy scalars of exactly the types that
        the kernel declares (a Python float would be passed as a double); shared: dynamic shared memory per block, in
        bytes.  A grid of size 0 launches nothing.
        Raises TypeError for a dtype that the file's kernels do not support on this device, and ValueError if a block
        cannot have that much shared memory.
        """
        grid, block = as_tuple(grid), as_tuple(block)
        if 0 in grid:
            return
        kernel = self.kernel(name, np.dtype(dtype))
        if shared > UNASKED * 1024:
            check_shared(name, dtype, shared)
            kernel.max_dynamic_shared_size_bytes = shared
        kernel(grid, block, arguments, shared_mem=shared)


def check_shared(name: str, dtype: Any, shared: int) -> None:
    """Raise ValueError if a block on the current device cannot have `shared` bytes of shared memory."""
    capability = int(cp.cuda.Device().compute_capability)
    most = MOST_SHARED[max(known for known in MOST_SHARED if known <= capability)]
    if shared > most * 1024:
        raise ValueError(
            f"{name.partition('<')[0]} in {np.dtype(dtype).name} needs {shared / 1024:.0f} KiB of shared memory, but a "
            f"block on compute capability {capability / 10} has at most {most}; use float32 or more heads"
        )


def as_tuple(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return size if isinstance(size, tuple) else (size,)


def sum_type(dtype: DTypeLike) -> Any:
    """The NumPy type in which kernels compute with tensors of the given dtype; the same as sum_t in common.cuh."""
    return np.float64 if np.dtype(dtype) == np.float64 else np.float32


def blocks_for(items: int, each: int) -> int:
    """The number of blocks needed for `items` items, if each block processes `each` items."""
    return -(-items // each)


def nvidia_folders() -> list[Path]:
    """The folders in which NVIDIA's wheels are installed, which are those of the package `nvidia`."""
    package = importlib.util.find_spec("nvidia")
    return [Path(folder) for folder in package.submodule_search_locations or ()] if package else []


def header_folders(cuda: int) -> list[Path]:
    """The folders to add to the compiler's include path, so that it finds crt/mma.h, which <mma.h> includes.

    CuPy searches NVIDIA's wheels.  For CUDA 13, they contain crt/mma.h only if nvidia-cuda-crt is installed; for
    CUDA 12, it is in nvidia-cuda-nvcc-cu12, which CuPy does not search.  So this function searches the wheels, and then
    CUDA toolkits: at $CUDA_PATH, at $CUDA_HOME, next to nvcc, and in /usr/local/cuda.
    cuda: the compiler's major version.  Returns an empty list if there is no readable crt/mma.h.
    """
    wheels = [folder / name for folder in nvidia_folders() for name in (f"cu{cuda}", *["cuda_nvcc"] * (cuda == 12))]
    toolkits = [Path(value) for name in ("CUDA_PATH", "CUDA_HOME") if (value := os.environ.get(name))]
    if nvcc := shutil.which("nvcc"):
        toolkits += [Path(nvcc).parents[1], Path(nvcc).resolve().parents[1]]
    toolkits += [Path("/usr/local/cuda"), Path(f"/usr/local/cuda-{cuda}")]
    found = (base / "include" for base in (*wheels, *toolkits))
    return [folder for folder in found if os.access(folder / "crt" / "mma.h", os.R_OK)][:1]


def crt_folder() -> Path | None:
    """The include folder in CUDA 12's wheels that contains crt/mma.h; None if it is not installed."""
    folders = (folder / "cuda_nvcc" / "include" for folder in nvidia_folders())
    return next((folder for folder in folders if (folder / "crt" / "mma.h").exists()), None)
