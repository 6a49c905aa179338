"""Emulates the part of CuPy that minibert uses, for machines without a GPU: `from minibert.emulator import cupy`.

A device array wraps a NumPy array and kernels run on the emulator, so the code of minibert.ops.gpu runs unchanged.
Operations that CuPy rejects, such as mixing host and device arrays or implicit conversions, are rejected here too.  So
are operations that CuPy accepts but that would be mistakes in our code: passing a non-contiguous array or a number of
the wrong type to a kernel, products of arrays of more than two dimensions, and (in check mode) reading uninitialised
memory.  Names that minibert does not use are missing; before adding one, look it up in CuPy's documentation.

These names are not part of CuPy; they are for tests:
    launches               the most recent kernel launches: name, grid, block, shared memory
    synchronisations       how often each call would have made the host wait for the device, by name of the call
    no_synchronisation     a context manager in which waiting for the device raises SynchronisationError
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
    exp,
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
    stack,
    subtract,
    sum,
    where,
    zeros,
    zeros_like,
)
from minibert.emulator.cupy.kernels import RawKernel, RawModule, launches
from minibert.emulator.cupy.products import dot, matmul
from minibert.emulator.cupy.synchronising import SynchronisationError, no_synchronisation, synchronisations

OURS = ["SynchronisationError", "launches", "no_synchronisation", "synchronisations"]  # names that CuPy does not have
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
    "exp",
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
    "stack",
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
