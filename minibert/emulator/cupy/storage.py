"""Allocates the memory of device arrays, checks reads of it, and checks which operands can be combined."""

import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minibert.emulator import memory, modes
from minibert.emulator.cupy.cuda.memory import get_default_memory_pool
from minibert.emulator.errors import UninitialisedError

NUMBERS = bool, int, float  # Python types that CuPy accepts along with arrays


def allocate(shape: int | tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Allocate an uninitialised array; raises TypeError for a dtype that is not supported on the device."""
    dtype = np.dtype(dtype)
    if dtype.kind not in "biuf" and dtype.name != "bfloat16" or not dtype.isnative:
        raise TypeError(f"arrays of {dtype} cannot be on the device")
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(size, int | np.integer) and size >= 0 for size in shape):
        raise ValueError(f"shape is {shape!r}; expected non-negative integers")
    pool, size = get_default_memory_pool(), int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    block = pool._take(size)
    numbers = memory.empty(shape, dtype)
    weakref.finalize(numbers.base, pool._give_back, block).atexit = False
    return numbers


def readable(numbers: np.ndarray) -> np.ndarray:
    """Return the same numbers, for reading; in check mode, raises UninitialisedError unless all were written."""
    if modes.current().checked and not (written := memory.is_initialised(numbers)).all():
        first = tuple(int(index) for index in np.argwhere(~written)[0])
        raise UninitialisedError(f"element {first} of an array of shape {numbers.shape} is read but was never written")
    return numbers


def is_number(value: object) -> bool:
    """Return whether a value is a Python or NumPy number, which CuPy passes by value, as opposed to an array."""
    return type(value) in NUMBERS or isinstance(value, np.generic)


def refuse_doubtful(*operands: Any) -> None:
    """Raise TypeError for a Python float with a bfloat16 array: the result is float32 in NumPy, maybe not in CuPy."""
    kinds = [getattr(operand, "dtype", None) for operand in operands]
    if any(kind is not None and kind.name == "bfloat16" for kind in kinds) and float in map(type, operands):
        raise TypeError(
            "the dtype of combining a bfloat16 array and a Python float is ambiguous; use astype or a NumPy scalar"
        )
