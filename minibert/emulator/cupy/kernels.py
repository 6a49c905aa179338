"""Emulates cupy.RawModule and cupy.RawKernel, which compile and launch kernels from CUDA source."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minibert.emulator.cupy.arrays import ndarray
from minibert.emulator.cupy.cuda import Device
from minibert.emulator.cupy.cuda.limits import most_shared
from minibert.emulator.errors import LaunchError
from minibert.emulator.module import Module


class Launch(NamedTuple):
    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int  # bytes of dynamic shared memory


launches: deque[Launch] = deque(maxlen=100_000)  # the most recent launches, for tests


class RawModule:
    """The kernels of one source, compiled when one of them is first launched.

    code: the source.  options: a tuple of options for NVRTC; the emulator ignores them, but rejects macro definitions.
    name_expressions: the names of the kernels to compile, including template instances; if None, all kernels that are
    not templates.
    """

    def __init__(
        self,
        code: str | None = None,
        *,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        name_expressions: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("code must be a string and options a tuple of strings")
        if defines := [option for option in options if option.startswith(("-D", "--define"))]:
            raise NotImplementedError(f"the emulator cannot define macros: {', '.join(defines)}")
        if backend != "nvrtc":
            raise ValueError(f"backend is {backend!r}; expected 'nvrtc'")
        self._names = None if name_expressions is None else list(name_expressions)
        self._module = Module(code, names=self._names)

    def get_function(self, name: str) -> "RawKernel":
        """Return a kernel by its name (as written in name_expressions if given); raises KeyError if there is none."""
        kernel = RawKernel.__new__(RawKernel)
        kernel._kernel, kernel.name = self._module.kernel(name), name
        return kernel


class RawKernel:
    """A kernel that can be launched: kernel(grid, block, arguments, shared_mem=0)."""

    def __init__(self, code: str, name: str, options: Sequence[str] = (), backend: str = "nvrtc") -> None:
        module = RawModule(code=code, options=options, backend=backend)
        self._kernel: Any = module.get_function(name)._kernel
        self.name = name

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._kernel.max_dynamic_shared_size_bytes

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        capability = Device().compute_capability
        if size > most_shared(capability):
            raise LaunchError(
                f"{self.name}: {size} bytes of shared memory; a block on compute capability {capability} can have "
                f"{most_shared(capability)}",
                kernel=self.name,
            )
        self._kernel.max_dynamic_shared_size_bytes = size

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0, stream: Any = None) -> None:
        """Run the kernel; args: device arrays, NumPy scalars, and np.uintp(0) for a null pointer.

        Raises an error for an empty grid, a number of the wrong type or a non-contiguous array, where CuPy would launch
        one block, reinterpret the number or ignore the strides.
        """
        if not isinstance(grid, tuple) or not isinstance(block, tuple) or not isinstance(args, tuple):
            raise TypeError(f"{self.name}: grid, block and arguments must be tuples")
        launches.append(Launch(self.name, grid, block, shared_mem))
        self._kernel(grid, block, tuple(map(self._argument, args)), shared=shared_mem)

    def _argument(self, value: Any) -> Any:
        if isinstance(value, ndarray):
            return value._numbers
        if value is None or isinstance(value, np.ndarray):
            raise TypeError(f"{self.name}: Unsupported type {type(value)}")
        return value
