"""Emulates `cupy.ndarray`, as far as minibert uses it, with CuPy's restrictions.

All public attributes of `ndarray` exist in CuPy; those that begin with an underscore are ours.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minibert.emulator import memory
from minibert.emulator.cupy.cuda import Device
from minibert.emulator.cupy.cuda.pinned import is_pinned
from minibert.emulator.cupy.operators import Operators
from minibert.emulator.cupy.storage import allocate, is_number, readable, refuse_doubtful
from minibert.emulator.cupy.synchronising import synchronise


class Pointer:
    """Emulates cupy.cuda.MemoryPointer: array.data.ptr is the address of an array's first element."""

    def __init__(self, ptr: int):
        self.ptr = ptr


class ndarray(Operators):
    """An array on the emulated device: host copies are explicit, and operators take device arrays and numbers only."""

    __slots__ = ("_numbers", "__weakref__")
    __array_ufunc__ = None  # NumPy scalars defer to our operators; NumPy arrays and functions are rejected

    def __init__(self, shape: int | tuple[int, ...], dtype: DTypeLike = float) -> None:
        self._numbers = allocate(shape, dtype)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the emulator's arrays have no {name!r}; check that CuPy's arrays have it, then add it to {__name__}"
        )

    dtype = property(lambda self: self._numbers.dtype)
    shape = property(lambda self: self._numbers.shape)
    size = property(lambda self: self._numbers.size)
    ndim = property(lambda self: self._numbers.ndim)
    nbytes = property(lambda self: self._numbers.nbytes)
    itemsize = property(lambda self: self._numbers.itemsize)
    strides = property(lambda self: self._numbers.strides)
    flags = property(lambda self: self._numbers.flags)
    data = property(lambda self: Pointer(self._numbers.ctypes.data))
    device = property(lambda self: Device(0))

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Any]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[index] for index in range(len(self)))

    # ------------------------------------------------------------------------------- between host and device

    def get(self, stream: Any = None) -> np.ndarray:
        """Return a copy on the host, which has to wait for the device."""
        return read_back(self, "get")

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy a host array into this one; unless the host memory is pinned, this counts as a wait for the device."""
        if not isinstance(arr, np.ndarray):
            raise TypeError(f"only a numpy.ndarray can be set, got {type(arr).__name__}")
        if arr.dtype != self.dtype:
            raise TypeError(f"a {arr.dtype} array cannot be set to a {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"an array of shape {arr.shape} cannot be set to one of shape {self.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("cannot set a non-contiguous array")
        if not is_pinned(arr):
            synchronise("set from memory that is not pinned")
        write(self._numbers, arr)

    def item(self) -> Any:
        return read_back(self, "item").item()

    def tolist(self) -> list:
        return read_back(self, "tolist").tolist()

    def __float__(self) -> float:
        return float(read_back(self, "float"))

    def __int__(self) -> int:
        return int(read_back(self, "int"))

    def __bool__(self) -> bool:
        return bool(read_back(self, "bool"))

    def __repr__(self) -> str:
        return repr(read_back(self, "repr"))

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    # ------------------------------------------------------------------------------------ parts and other forms

    def __getitem__(self, index: Any) -> "ndarray":
        parts = index if isinstance(index, tuple) else (index,)
        if all(is_plain(part) for part in parts):
            return view(self._numbers[as_views(parts)])
        return fresh(np.asarray(readable(self._numbers)[tuple(map(index_numbers, parts))]))

    def __setitem__(self, index: Any, value: Any) -> None:
        parts = index if isinstance(index, tuple) else (index,)
        if not all(is_plain(part) for part in parts):
            raise TypeError(
                "the emulator supports assignment only to slices; with index arrays, the result is undefined "
                "when two values are written to the same element"
            )
        write(self._numbers[as_views(parts)], operand(value))

    def reshape(self, *shape: Any) -> "ndarray":
        numbers = self._numbers.reshape(shape[0] if len(shape) == 1 else shape)
        return view(numbers) if np.may_share_memory(numbers, self._numbers) else fresh(readable(numbers))

    def ravel(self) -> "ndarray":
        return self.reshape(-1)

    def transpose(self, *axes: Any) -> "ndarray":
        return view(self._numbers.transpose(*axes))

    T = property(lambda self: self.transpose())

    def astype(self, dtype: DTypeLike, *, copy: bool = True) -> "ndarray":
        if not copy and self.dtype == np.dtype(dtype):
            return self
        result = ndarray(self.shape, dtype)
        write(result._numbers, readable(self._numbers))
        return result

    def copy(self) -> "ndarray":
        return fresh(readable(self._numbers))

    def fill(self, value: float) -> None:
        write(self._numbers, operand(value))

    # -------------------------------------------------------------------------------- reductions and operators

    def sum(self, axis: Any = None, dtype: DTypeLike | None = None, *, keepdims: bool = False) -> "ndarray":
        """Return the sum, 0-d if over all axes; 16-bit sums are computed in float32 and rounded once."""
        wanted = sum_dtype(self.dtype) if dtype is None else np.dtype(dtype)
        adding = np.dtype(np.float32) if wanted.itemsize == 2 else wanted
        sums = readable(self._numbers).sum(axis=axis, dtype=adding, keepdims=keepdims)
        return fresh(np.asarray(sums).astype(wanted))

    def max(self, axis: Any = None, *, keepdims: bool = False) -> "ndarray":
        return fresh(np.asarray(readable(self._numbers).max(axis=axis, keepdims=keepdims)))

    def min(self, axis: Any = None, *, keepdims: bool = False) -> "ndarray":
        return fresh(np.asarray(readable(self._numbers).min(axis=axis, keepdims=keepdims)))

    def __matmul__(self, other: Any) -> "ndarray":
        from minibert.emulator.cupy.products import matmul

        return matmul(self, other)

    @staticmethod
    def _combine(function: Callable, *operands: Any, out: Any = None) -> "ndarray":
        """Apply an elementwise NumPy function; the result goes to a new array, or to `out`."""
        refuse_doubtful(*operands)
        with np.errstate(all="ignore"):  # a GPU gives no floating-point warnings
            values = [operand(each) for each in operands]
            if out is None:
                return fresh(np.asarray(function(*values)))
            function(*values, out=out._numbers)
        memory.mark_initialised(out._numbers)
        return out


def view(numbers: np.ndarray) -> ndarray:
    """Return a device array that shares memory with a NumPy array."""
    array = ndarray.__new__(ndarray)
    array._numbers = numbers
    return array


def fresh(numbers: np.ndarray) -> ndarray:
    """Return a new device array with a copy of a NumPy array."""
    array = ndarray(numbers.shape, numbers.dtype)
    write(array._numbers, numbers)
    return array


def write(target: np.ndarray, values: Any) -> None:
    """Write values to device memory and mark it as initialised."""
    with np.errstate(all="ignore"):
        target[...] = values
    memory.mark_initialised(target)


def read_back(array: ndarray, operation: str) -> np.ndarray:
    """Return a copy on the host, recording that `operation` waits for the device."""
    synchronise(operation)
    return readable(array._numbers).copy()


def operand(value: Any) -> Any:
    """Convert an operand, which must be a device array or a number, to the form in which NumPy takes it."""
    if isinstance(value, ndarray):
        return readable(value._numbers)
    if is_number(value):
        return value
    raise TypeError(
        f"Unsupported type {type(value)}: only device arrays and numbers can be combined with device arrays"
    )


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of a sum: 64 bits wide for integers and booleans, otherwise unchanged."""
    if dtype.kind not in "biu":
        return dtype
    return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)


def is_plain(part: Any) -> bool:
    """Return whether one part of an index gives a view, as opposed to a copy."""
    return part is None or part is Ellipsis or isinstance(part, int | np.integer | slice) and not isinstance(part, bool)


def as_views(parts: tuple) -> tuple:
    """Return the index in an equivalent form for which NumPy gives a view even of a single element."""
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def index_numbers(part: Any) -> np.ndarray:
    """Convert one part of an index to NumPy's form; a mask counts as a wait, since its values determine the size."""
    if is_plain(part):
        return part
    if not isinstance(part, ndarray):
        raise TypeError(
            f"indices of a device array must be slices, numbers or device arrays, not {type(part).__name__}"
        )
    if part.dtype == np.bool_:
        synchronise("indexing by a mask")
    return readable(part._numbers)
