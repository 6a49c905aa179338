"""Print the coefficients of `minibert/ops/reference/normal.py`: the Chebyshev series of the error function's tail.

    pip install mpmath && python scripts/fit_erf.py

For z >= 0 write erfc(z) = t * exp(-z**2) * P(2 * t - 1) with t = 2 / (2 + z).  P is smooth on all of -1 .. 1 (which is
z = infinity .. 0), so its Chebyshev coefficients fall fast: they are computed here to 40 digits and truncated where
they drop below 1e-17.
"""

import mpmath as mp

mp.mp.dps = 40
NODES = 60


def tail(u):
    """P(u) for -1 < u <= 1."""
    t = (u + 1) / 2
    z = 2 / t - 2
    if z < 60:
        return mp.erfc(z) * mp.exp(z * z) / t
    terms = (mp.fac2(2 * k - 1) * (-1) ** k / (2 * z * z) ** k for k in range(30))  # asymptotic series of erfc
    return mp.fsum(terms) / (z * mp.sqrt(mp.pi)) / t


def chebyshev_coefficients():
    angles = [mp.pi * (k + mp.mpf(1) / 2) / NODES for k in range(NODES)]
    values = [tail(mp.cos(angle)) for angle in angles]
    for degree in range(NODES):
        products = (value * mp.cos(degree * angle) for value, angle in zip(values, angles, strict=True))
        yield mp.fsum(products) * (2 if degree else 1) / NODES


if __name__ == "__main__":
    for coefficient in chebyshev_coefficients():
        if abs(coefficient) < 1e-17:
            break
        print(f"    {mp.nstr(coefficient, 17)},")
