"""The standard normal distribution, for GELU, with an implementation of the error function, which NumPy lacks.

For z >= 0:  erfc(z) = t * exp(-z**2) * P(2 * t - 1),  where  t = 2 / (2 + z)  and P is a Chebyshev series.
The coefficients come from scripts/fit_erf.py, which computes them to 40 digits.
"""

from collections.abc import Sequence

import numpy as np

CHEBYSHEV = (
    0.57703373861646969,
    0.35543692127049849,
    0.065095158828786525,
    0.0036711423958366392,
    -0.0011128447433526325,
    -0.0001607582991537808,
    3.2780315741731371e-5,
    5.442441645505016e-6,
    -1.5154665553171482e-6,
    -1.4297608181169865e-7,
    8.2346088274194934e-8,
    -1.2962846852306563e-9,
    -4.1547216310151983e-9,
    6.3470582783628112e-10,
    1.4320822712256224e-10,
    -6.1603901052045855e-11,
    2.0612138554721696e-12,
    3.5714931488477044e-12,
    -8.5864228432517965e-13,
    -6.1456002137906306e-14,
    7.4187257485966171e-14,
    -1.2895042755032326e-14,
    -2.3587263857106324e-15,
    1.5729349381685911e-15,
    -2.2782966239546465e-16,
    -6.3123304507564298e-17,
    3.5916763531814923e-17,
)
TERMS = {
    np.dtype(np.float64): len(CHEBYSHEV),
    np.dtype(np.float32): 11,
}  # number of terms for each dtype; the omitted terms are below the rounding error


def chebyshev(u: np.ndarray, coefficients: Sequence[float]) -> np.ndarray:
    """The Chebyshev series, sum of coefficients[k] * T_k(u), by Clenshaw's recurrence; u [...] between -1 and 1."""
    twice = 2 * u
    last, before = np.full_like(u, coefficients[-1]), np.zeros_like(u)
    for coefficient in coefficients[-2:0:-1]:
        # last, before = twice * last - before + coefficient, last; in place, since GELU spends most of its time here
        np.subtract(coefficient, before, out=before)
        before += twice * last
        last, before = before, last
    return u * last - before + coefficients[0]


def half_erfc(z: np.ndarray) -> np.ndarray:
    """Half the complementary error function, erfc(z) / 2, for z >= 0; z [...] float32 or float64."""
    t = 2 / (2 + z)
    return 0.5 * t * np.exp(-z * z) * chebyshev(2 * t - 1, CHEBYSHEV[: TERMS[z.dtype]])


def erf(x: np.ndarray) -> np.ndarray:
    """The error function of x [...], float32 or float64.

    The absolute error is at most 1e-15 in float64 and 3e-7 in float32.
    """
    return np.copysign(1 - 2 * half_erfc(np.abs(x)), x)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """The probability that a standard normal variable is below x; x [...] float32 or float64."""
    tail = half_erfc(np.abs(x) * np.sqrt(0.5).astype(x.dtype))  # the smaller of the two tails
    return np.where(x < 0, tail, 1 - tail)


def normal_density(x: np.ndarray) -> np.ndarray:
    """The density of the standard normal distribution at x [...]."""
    return np.exp(-0.5 * x * x) * np.sqrt(0.5 / np.pi).astype(x.dtype)
