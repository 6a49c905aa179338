"""A stand-in for the part of CuPy that minibert uses, for machines without a GPU: `from minibert.emulator import cupy`.

Arrays are NumPy arrays inside and kernels run on the emulator, so the launch code of minibert.ops.gpu runs unchanged.
What CuPy rejects is rejected here: mixing host and device arrays, implicit conversions.  And so is what
CuPy accepts but would be a mistake in our code: passing a non-contiguous array to a kernel, a number of the wrong
type, products of more than two dimensions, reading uninitialised memory (in check mode).  Whatever is not listed here
does not exist: look it up in CuPy's documentation, then add it.

These names are not part of CuPy, but for tests:
    launches               the last kernels launched: name, grid, block, shared memory
    synchronisations       how often the host would have waited for the device, by the name of the call
    no_synchronisation     a context manager in which waiting raises SynchronisationError
"""

from typing import Any

from numpy import bool_, dtype, float16, float32, float64, int32, int64, uint8, uint32, uint64

from minibert.emulator.cupy import _core, cuda
from minibert.emulator.cupy.arrays import ndarray
from minibert.emulator.cupy.cuda.memory import get_default_memory_pool
from minibert.emulator.cupy.functions import (
    add,
    arange,
    argsort,
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    concatenate,
    cumsum,
    empty,
    empty_like,
    full,
    isfinite,
    max,
    maximum,
    min,
    minimum,
    multiply,
    ones,
    searchsorted,
    sort,
    sqrt,
    subtract,
    sum,
    where,
    zeros,
    zeros_like,
)
from minibert.emulator.cupy.kernels import RawKernel, RawModule, launches
from minibert.emulator.cupy.products import dot, matmul
from minibert.emulator.cupy.synchronising import SynchronisationError, no_synchronisation, synchronisations

OURS = ["SynchronisationError", "launches", "no_synchronisation", "synchronisations"]  # not CuPy's
__all__ = [
    "SynchronisationError",
    "launches",
    "no_synchronisation",
    "synchronisations",
    "RawKernel",
    "RawModule",
    "_core",
    "add",
    "arange",
    "argsort",
    "array",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "bool_",
    "concatenate",
    "cuda",
    "cumsum",
    "dot",
    "dtype",
    "empty",
    "empty_like",
    "float16",
    "float32",
    "float64",
    "full",
    "get_default_memory_pool",
    "int32",
    "int64",
    "isfinite",
    "matmul",
    "max",
    "maximum",
    "min",
    "minimum",
    "multiply",
    "ndarray",
    "ones",
    "searchsorted",
    "sort",
    "sqrt",
    "subtract",
    "sum",
    "uint8",
    "uint32",
    "uint64",
    "where",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"the emulator's stand-in for CuPy has no {name!r}; check that CuPy has it, then add it to {__name__}"
    )
