"""What the tests of the GPU's ops share: arrays of every dtype, and how far rounding may take a result.

Exact results come from the reference in float64, which is given the same numbers, rounded as the kernel gets them.
"""

import math

import ml_dtypes
import numpy as np
import pytest

from minibert.ops import Dropout
from minibert.ops.gpu.kernels import sum_type
from minibert.ops.gpu.library import cp, emulated

DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
SIXTEEN = ["float16", "bfloat16"]
KEY = (2**33 + 5, 12)  # of a dropout: more than 32 bits of a seed are cut off

# The largest relative error of rounding to the nearest number of a dtype with p significant bits: 2 ** -p.
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
# and the largest absolute one near zero, where numbers have no more bits: half of the smallest number
NEAR_ZERO = {"float16": 2.0**-25, "bfloat16": 2.0**-134, "float32": 2.0**-126, "float64": 0.0}
CLOSE = 1e-10  # of the largest entry, in float64
E = 2.0**-24  # one rounding in float32, in which kernels compute with all dtypes but float64


def slow(*values):
    """A case that the daily run leaves out."""
    return pytest.param(*values, marks=pytest.mark.slow)


def thorough(*values):
    """A case that runs in continuous integration only, since its neighbours fail with it."""
    return pytest.param(*values, marks=pytest.mark.thorough)


# Each dtype of each kernel is compiled for itself.  The daily run leaves out what compiles long and fails seldom alone:
# 16 bits, but for a case of the tensor cores.
BFLOAT16 = slow("bfloat16")
every_dtype = pytest.mark.parametrize("dtype", [slow("float16"), BFLOAT16, "float32", "float64"])
sixteen_bits = pytest.mark.parametrize("dtype", ["float16", BFLOAT16])


emulator_only = pytest.mark.skipif(not emulated, reason="needs the emulator")


def numbers(*shape, dtype, seed=0, scale=1.0) -> np.ndarray:
    """Normal numbers, rounded to a dtype, on the host."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(DTYPES[dtype])


def device(array):
    return cp.asarray(array)


def host(array) -> np.ndarray:
    return array.get()


def exact(*arrays):
    """The same numbers in float64."""
    result = [np.asarray(array, dtype=np.float64) for array in arrays]
    return result if len(result) > 1 else result[0]


def within(ours, expected, carried, dtype=None, tensor="float32"):
    """Assert that a device array differs from the exact result no more than rounding explains.

    carried: the error that the computation in float32 brings along, an array or number; the result is then rounded once
    more, to its dtype.  In float64 (tensor: the dtype of the tensors) the bound is 1e-10 of the largest entry, and what
    the computation would carry along in float64: a result that is zero need not be zero on a GPU, which rounds
    x * y + z once.
    """
    ours, expected = host(ours), np.asarray(expected)
    assert ours.shape == expected.shape
    assert ours.dtype.name == (dtype or tensor), f"expected {dtype or tensor}, got {ours.dtype.name}"
    difference = np.abs(exact(ours) - expected)
    if tensor == "float64":
        bound = CLOSE * np.abs(expected).max(initial=0) + carried * (ROUNDING["float64"] / ROUNDING["float32"])
    else:
        u = ROUNDING[ours.dtype.name]
        bound = u * np.abs(expected) + (1 + u) * carried + NEAR_ZERO[ours.dtype.name]
    worst = (difference - bound).max(initial=-1.0)
    assert worst <= 0, f"off by {difference.max()}, {worst} more than the bound"


def depth(terms: int) -> int:
    """How many roundings a term goes through at most, when 32 or more threads add up so many."""
    return math.ceil(terms / 32) + 10


def parameter_dtype(dtype: str) -> str:
    """The dtype of the gradients of parameters."""
    return np.dtype(sum_type(DTYPES[dtype])).name


def dropout_of_rows(rows: int, rate=0.3) -> tuple[Dropout, Dropout]:
    """A dropout for rows of sequences of seven tokens, on the device, and the same on the host."""
    positions = np.arange(rows, dtype=np.int32)
    layout = positions // 7 + 70_000, positions % 7
    return tuple(Dropout(rate, KEY, 77 << 8, *arrays) for arrays in ([device(a) for a in layout], layout))
