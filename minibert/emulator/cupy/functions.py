"""Emulates the CuPy functions that minibert uses; only array, asarray and asnumpy take arrays on the host."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minibert.emulator.cupy.arrays import fresh, ndarray, operand, read_back
from minibert.emulator.cupy.storage import is_number, readable

# ---------------------------------------------------------------------------------------------------- creating arrays


def array(obj: Any, dtype: DTypeLike | None = None, copy: bool = True) -> ndarray:
    """Return a device array made from a number, nested lists of numbers, or an array on the host or the device.

    This does not count as a wait for the device: CuPy copies from the host through pinned memory of its own.
    """
    if isinstance(obj, ndarray):
        return obj.astype(obj.dtype if dtype is None else dtype, copy=copy)
    return fresh(np.array(obj, dtype=dtype))


def asarray(a: Any, dtype: DTypeLike | None = None) -> ndarray:
    return array(a, dtype, copy=False)


def ascontiguousarray(a: Any, dtype: DTypeLike | None = None) -> ndarray:
    a = on_device(a)
    if a.flags.c_contiguous and dtype in (None, a.dtype):
        return a
    return a.astype(a.dtype if dtype is None else dtype)


def asnumpy(a: Any) -> np.ndarray:
    return read_back(a, "asnumpy") if isinstance(a, ndarray) else np.asarray(a)


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> ndarray:
    return ndarray(shape, dtype)


def empty_like(prototype: Any, dtype: DTypeLike | None = None) -> ndarray:
    return ndarray(on_device(prototype).shape, prototype.dtype if dtype is None else dtype)


def full(shape: int | tuple[int, ...], fill_value: float, dtype: DTypeLike | None = None) -> ndarray:
    """Return a new array filled with a number or with the value of a 0-d device array."""
    value = operand(fill_value)
    result = ndarray(shape, np.asarray(value).dtype if dtype is None else dtype)
    result.fill(fill_value)
    return result


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> ndarray:
    return full(shape, 0, dtype)


def ones(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> ndarray:
    return full(shape, 1, dtype)


def zeros_like(a: Any, dtype: DTypeLike | None = None) -> ndarray:
    return zeros(on_device(a).shape, a.dtype if dtype is None else dtype)


def arange(start: int, stop: int | None = None, step: int = 1, dtype: Any = None) -> ndarray:
    if not all(value is None or is_number(value) for value in (start, stop, step)):
        raise TypeError("arange takes Python or NumPy numbers, not device arrays")
    host_arange: Any = np.arange
    return fresh(host_arange(start, stop, step, dtype) if stop is not None else host_arange(0, start, step, dtype))


# ------------------------------------------------------------------------------------------- rearranging and choosing


def sort(a: Any, axis: int = -1) -> ndarray:
    return fresh(np.sort(sortable(a), axis=axis, kind="stable"))


def argsort(a: Any, axis: int = -1) -> ndarray:
    """Return the indices that would sort the array, as int64; the sort is stable."""
    return fresh(np.argsort(sortable(a), axis=axis, kind="stable").astype(np.int64))


def sortable(a: Any) -> np.ndarray:
    """Return the array's numbers if CuPy could sort them: it uses Thrust, without support for bfloat16 or strides."""
    if on_device(a).ndim == 0 or a.dtype.name == "bfloat16":
        raise TypeError(f"a {a.ndim}-d array of {a.dtype} cannot be sorted")
    if not a.flags.c_contiguous:
        raise NotImplementedError("a non-contiguous array cannot be sorted")
    return readable(a._numbers)


def searchsorted(a: Any, v: Any, side: Any = "left") -> ndarray:
    """Return the indices at which the values `v`, a device array, would be inserted into `a`, as int64."""
    if on_device(a).dtype.name == "bfloat16":
        raise TypeError("bfloat16 cannot be searched")
    return fresh(np.asarray(np.searchsorted(readable(a._numbers), readable(on_device(v)._numbers), side)))


def cumsum(a: Any, axis: int | None = None, dtype: DTypeLike | None = None) -> ndarray:
    """Return the cumulative sum, for integers only: with floats, CuPy's summation order differs from run to run."""
    if on_device(a).dtype.kind not in "biu" or dtype is not None and np.dtype(dtype).kind not in "iu":
        raise TypeError(f"cumsum of {a.dtype} is not supported: its result would differ from run to run")
    return fresh(np.cumsum(readable(a._numbers), axis=axis, dtype=dtype))


def concatenate(tup: Sequence, axis: int = 0) -> ndarray:
    return fresh(np.concatenate([readable(on_device(a)._numbers) for a in tup], axis=axis))


def stack(tup: Sequence, axis: int = 0) -> ndarray:
    return fresh(np.stack([readable(on_device(a)._numbers) for a in tup], axis=axis))


def where(condition: Any, x: Any, y: Any) -> ndarray:
    """Choose elementwise from x and y, both required: without them, the host would wait for the result's size."""
    return ndarray._combine(np.where, on_device(condition), x, y)


# ------------------------------------------------------------------------------------------------ element by element


def exp(x: Any) -> ndarray:
    return ndarray._combine(np.exp, on_device(x))


def sqrt(x: Any) -> ndarray:
    return ndarray._combine(np.sqrt, on_device(x))


def isfinite(x: Any) -> ndarray:
    return ndarray._combine(np.isfinite, on_device(x))


def two_operands(function: Callable) -> Callable:
    """Make a device function from a NumPy function of two operands, of which at least one must be a device array."""

    def apply(x1, x2, /, out=None) -> ndarray:
        on_device(x1 if isinstance(x1, ndarray) else x2)
        return ndarray._combine(function, x1, x2, out=None if out is None else on_device(out))

    apply.__name__ = apply.__qualname__ = function.__name__
    return apply


add, subtract, multiply = two_operands(np.add), two_operands(np.subtract), two_operands(np.multiply)
minimum, maximum = two_operands(np.minimum), two_operands(np.maximum)


# -------------------------------------------------------------------------------------------------------- reductions


def sum(a: Any, axis: Any = None, dtype: DTypeLike | None = None, *, keepdims: bool = False) -> ndarray:
    return on_device(a).sum(axis, dtype, keepdims=keepdims)


def max(a: Any, axis: Any = None, *, keepdims: bool = False) -> ndarray:
    return on_device(a).max(axis, keepdims=keepdims)


def min(a: Any, axis: Any = None, *, keepdims: bool = False) -> ndarray:
    return on_device(a).min(axis, keepdims=keepdims)


def on_device(a: Any) -> ndarray:
    """Return the argument unchanged; raises TypeError if it is not a device array."""
    if not isinstance(a, ndarray):
        raise TypeError(f"Unsupported type {type(a)}: expected a device array")
    return a
