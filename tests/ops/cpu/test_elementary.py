"""Exponential and normal distribution in kernels: how exact they are, at the ends of the range too, and vectorised."""

import math
import platform
import re

import numpy as np
import pytest
from numba import njit

from minibert.ops.cpu.compiler import CONTRACT, OPTIONS
from minibert.ops.cpu.elementary import exponential, normal


@njit(fastmath=CONTRACT, **OPTIONS)
def exponentials(x, y):
    for i in range(len(x)):
        y[i] = exponential(x[i])


@njit(fastmath=CONTRACT, **OPTIONS)
def normals(x, cdf, density):
    for i in range(len(x)):
        cdf[i], density[i] = normal(x[i])


def exponential_of(x):
    y = np.empty_like(x)
    exponentials(x, y)
    return y


def normal_of(x):
    cdf, density = np.empty_like(x), np.empty_like(x)
    normals(x, cdf, density)
    return cdf, density


def units_in_the_last_place(y, exact):
    """The largest error in units of the distance to the next number; exact in float64 or better."""
    spacing = np.spacing(np.abs(exact.astype(y.dtype))).astype(np.longdouble)
    return float((np.abs(y.astype(np.longdouble) - exact) / spacing).max())


RANGES = {"float32": (-87.3, 88.7), "float64": (-708.3, 709.7)}  # where the result is a normal number


@pytest.mark.parametrize("dtype", RANGES)
def test_the_exponential_is_right_to_two_units_in_the_last_place(dtype):
    random = np.random.default_rng(0)
    pieces = random.uniform(*RANGES[dtype], 200_000), random.uniform(-1, 1, 200_000), random.uniform(-1e-6, 1e-6, 1000)
    x = np.concatenate(pieces).astype(dtype)
    assert units_in_the_last_place(exponential_of(x), np.exp(x.astype(np.longdouble))) <= 2


@pytest.mark.parametrize("dtype", RANGES)
def test_the_exponential_at_the_ends_of_its_range(dtype):
    lowest, largest = RANGES[dtype]
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e30, -1e30, largest + 0.2, 2 * lowest], dtype)
    assert np.array_equal(exponential_of(x), [np.inf, 0, np.nan, 1, 1, np.inf, 0, np.inf, 0], equal_nan=True)
    below = np.linspace(lowest, lowest - np.log(2) * (20 if dtype == "float32" else 50), 100).astype(dtype)
    with np.errstate(under="ignore"):
        exact = np.exp(below.astype(np.longdouble))
    smallest = np.finfo(dtype).smallest_subnormal
    assert np.abs(exponential_of(below).astype(np.longdouble) - exact).max() <= 2 * np.longdouble(smallest)


@pytest.mark.parametrize("dtype, cdf_bound, density_bound", [("float64", 3e-16, 3e-16), ("float32", 2e-7, 1e-7)])
def test_the_normal_distribution_keeps_its_bounds(dtype, cdf_bound, density_bound):
    x = np.concatenate([np.linspace(-12, 12, 40_001), [0.0, -0.0, 1e-30, -1e-30]]).astype(dtype)
    cdf, density = normal_of(x)
    assert np.abs(cdf - [0.5 * math.erfc(-value / math.sqrt(2)) for value in x.tolist()]).max() <= cdf_bound
    exact = [math.exp(-value * value / 2) / math.sqrt(2 * math.pi) for value in x.tolist()]
    assert np.abs(density - exact).max() <= density_bound


@pytest.mark.parametrize("dtype", RANGES)
def test_the_normal_distribution_at_infinity_and_nan(dtype):
    cdf, density = normal_of(np.array([np.inf, -np.inf, np.nan], dtype))
    assert cdf[:2].tolist() == [1, 0] and np.isnan(cdf[2])
    assert density[:2].tolist() == [0, 0] and np.isnan(density[2])


VECTORS = {"x86_64": r"v(f[n]?m\w+|mul)p{}\s.*[yz]mm", "AMD64": r"v(f[n]?m\w+|mul)p{}\s.*[yz]mm"}


@pytest.mark.parametrize("function, columns", [(exponentials, 2), (normals, 3)])
@pytest.mark.parametrize("dtype", RANGES)
def test_loops_of_them_work_on_whole_vectors(function, columns, dtype):
    """The machine code multiplies vectors of 256 bits or more, and calls no function for each number."""
    if platform.machine() not in VECTORS or "avx2" not in processor_features():
        pytest.skip("reads the machine code of processors with AVX2 only")
    function(*(np.zeros(8, dtype) for _ in range(columns)))
    code = function.inspect_asm()[next(s for s in function.signatures if s[0].dtype.name == dtype)]
    letter = "s" if dtype == "float32" else "d"
    terms = 7 if dtype == "float32" else 13  # of the exponential's series at the least
    assert len(re.findall(VECTORS[platform.machine()].format(letter), code)) > terms
    assert not re.search(r"call\s+\S*(exp|erf)", code)


def processor_features():
    import llvmlite.binding

    return {name for name, there in llvmlite.binding.get_host_cpu_features().items() if there}
