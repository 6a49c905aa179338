"""The exponential and the normal distribution for kernels, without branches or lookup tables, so that loops vectorise.

A call to the C library's `exp` for each number would keep the compiler from processing eight numbers at once.  The
errors, which tests/ops/cpu/test_elementary.py measures, are a few units in the last place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import factorial, log, pi, sqrt

import numpy as np
from numba import types
from numba.extending import overload
from numpy.polynomial.chebyshev import cheb2poly

from minibert.ops.cpu.compiler import INLINED
from minibert.ops.reference.normal import CHEBYSHEV, TERMS


@dataclass(frozen=True)
class Format:
    """The constants of a floating-point type that the functions in this module need."""

    number: type
    integer: type  # of the same width
    fraction_bits: int
    bias: int  # of the exponent: 2**n is the bit pattern (n + bias) << fraction_bits
    lowest: float  # below this argument, the exponential rounds to zero
    largest: float  # above this argument, the exponential overflows to infinity
    ln2_high: float  # ln 2 rounded to so few bits that its products with an exponent are exact
    ln2_low: float  # ln 2 - ln2_high
    terms: int  # of the Taylor series, enough that the first omitted term is below the rounding error


FLOAT32 = Format(np.float32, np.int32, 23, 127, -105.0, 89.0, 0.693115234375, 3.1946184945309415e-05, 8)
FLOAT64 = Format(np.float64, np.int64, 52, 1023, -747.0, 710.0, 0.6931471803691238, 1.9082149292705877e-10, 14)


def exponential_in(f: Format) -> Callable:
    """Make the exponential function for one floating-point format.

    It uses exp(x) = 2**n * exp(r), where n is x / ln 2 rounded to an integer; then |r| is at most ln 2 / 2, so a short
    Taylor series suffices for exp(r).
    """
    number, integer, fraction_bits, bias = f.number, f.integer, f.fraction_bits, f.bias
    lowest, largest, half, log2_e = number(f.lowest), number(f.largest), number(0.5), number(1 / log(2))
    ln2_high, ln2_low = number(f.ln2_high), number(f.ln2_low)
    taylor = np.array([1 / factorial(k) for k in reversed(range(f.terms))], number)
    terms = f.terms

    def exponential(x):
        x = lowest if x < lowest else x  # comparisons with NaN are false: NaN passes through
        x = largest if x > largest else x
        n = np.floor(x * log2_e + half)
        r = x - n * ln2_high - n * ln2_low
        p = taylor[0]
        for k in range(1, terms):
            p = p * r + taylor[k]
        # 2**n as the product of two powers, since near the ends of the range 2**n itself is not a normal number
        first = integer(n) >> 1
        second = integer(n) - first
        return (
            p
            * integer((first + bias) << fraction_bits).view(number)
            * integer((second + bias) << fraction_bits).view(number)
        )

    return exponential


def exponential(x: float) -> float:
    """The exponential of a float32 or float64 number, for kernels.

    NaN, infinities, overflow and underflow are handled as in NumPy.
    """
    raise NotImplementedError("only in compiled kernels")


OF_TYPE = {types.float32: exponential_in(FLOAT32), types.float64: exponential_in(FLOAT64)}


@overload(exponential, jit_options=INLINED)
def _exponential(x):
    return OF_TYPE[x]


def normal_in(f: Format) -> Callable:
    """Make the function for the normal distribution in one floating-point format.

    It evaluates the series of minibert.ops.reference.normal, converted to powers of u, by Horner's method.
    """
    number = f.number
    zero, half, one, two, root = number(0), number(0.5), number(1), number(2), number(sqrt(0.5))
    peak = number(sqrt(0.5 / pi))
    powers = cheb2poly(CHEBYSHEV[: TERMS[np.dtype(number)]])[::-1].astype(number)
    terms = len(powers)

    def normal(x):
        z = abs(x) * root
        bell = exponential(-z * z)
        t = two / (two + z)
        u = two * t - one
        p = powers[0]
        for k in range(1, terms):
            p = p * u + powers[k]
        tail = half * t * bell * p
        return tail if x < zero else one - tail, bell * peak

    return normal


def normal(x: float) -> tuple[float, float]:
    """The standard normal distribution at x, for kernels: the probability of values below x, and the density at x."""
    raise NotImplementedError("only in compiled kernels")


NORMAL_OF_TYPE = {types.float32: normal_in(FLOAT32), types.float64: normal_in(FLOAT64)}


@overload(normal, jit_options=INLINED)
def _normal(x):
    return NORMAL_OF_TYPE[x]
