"""The elementwise activation functions on the CPU: GELU, its tanh approximation, and tanh."""

import math

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.cpu.compiler import helper, inlined, kernel, piece, prange, threads
from minibert.ops.cpu.elementary import exponential, normal
from minibert.ops.cpu.memory import empty


def gelu_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """GELU, y = x * cdf(x); see minibert.ops.reference.activations.  The backward pass recomputes cdf(x)."""
    y = empty(x.shape, x.dtype)
    gelu(x.reshape(-1), y.reshape(-1), threads())
    return y, x


def gelu_backward(d_y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The backward pass of GELU: d_y [...] -> d_x [...]."""
    d_x = empty(x.shape, x.dtype)
    gelu_slope(d_y.reshape(-1), x.reshape(-1), d_x.reshape(-1), threads())
    return d_x


@kernel
def gelu(x, y, parts):
    for part in prange(parts):
        first, last = piece(len(x), np.int64(part), parts)
        gelu_of(x[first:last], y[first:last])


@helper
def gelu_of(x, y):
    for i in range(len(x)):
        cdf, _ = normal(x[i])
        y[i] = x[i] * cdf


@kernel
def gelu_slope(d_y, x, d_x, parts):
    for part in prange(parts):
        first, last = piece(len(x), np.int64(part), parts)
        gelu_slope_of(d_y[first:last], x[first:last], d_x[first:last])


@helper
def gelu_slope_of(d_y, x, d_x):
    for i in range(len(x)):
        # y = x * cdf(x), and the derivative of cdf is the density
        cdf, density = normal(x[i])
        d_x[i] = d_y[i] * (cdf + x[i] * density)


def gelu_tanh_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """GELU's tanh approximation, y = 0.5 * x * (1 + tanh(u)); see minibert.ops.reference.activations."""
    y = empty(x.shape, x.dtype)
    gelu_tanh(x.reshape(-1), y.reshape(-1), threads())
    return y, x


def gelu_tanh_backward(d_y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The backward pass of GELU's tanh approximation: d_y [...] -> d_x [...]."""
    d_x = empty(x.shape, x.dtype)
    gelu_tanh_slope(d_y.reshape(-1), x.reshape(-1), d_x.reshape(-1), threads())
    return d_x


@inlined
def twice_slope(x):
    """Return 2 * u and its derivative 2 * du / dx, where u = sqrt(2 / pi) * (x + 0.044715 * x**3)."""
    number = type(x)
    factor, cubic, one, three = number(2 * math.sqrt(2 / math.pi)), number(0.044715), number(1), number(3)
    squared = x * x
    return factor * (x + cubic * x * squared), factor * (one + three * cubic * squared)


@kernel
def gelu_tanh(x, y, parts):
    for part in prange(parts):
        first, last = piece(len(x), np.int64(part), parts)
        gelu_tanh_of(x[first:last], y[first:last])


@helper
def gelu_tanh_of(x, y):
    for i in range(len(x)):
        # 0.5 * (1 + tanh(u)) = 1 / (1 + exp(-2 * u)), which loses no precision where tanh is near -1
        twice_u, _ = twice_slope(x[i])
        y[i] = x[i] / (type(x[i])(1) + exponential(-twice_u))


@kernel
def gelu_tanh_slope(d_y, x, d_x, parts):
    for part in prange(parts):
        first, last = piece(len(x), np.int64(part), parts)
        gelu_tanh_slope_of(d_y[first:last], x[first:last], d_x[first:last])


@helper
def gelu_tanh_slope_of(d_y, x, d_x):
    for i in range(len(x)):
        one = type(x[i])(1)
        twice_u, d_twice_u = twice_slope(x[i])
        # y = x * s with s = 1 / (1 + exp(-2 * u)), whose derivative is s * (1 - s) times that of 2 * u
        s = one / (one + exponential(-twice_u))
        d_x[i] = d_y[i] * (s + x[i] * s * (one - s) * d_twice_u)


def tanh_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The hyperbolic tangent, x [...] -> y [...], which BERT's pooler applies to one token of each sequence."""
    y = empty(x.shape, x.dtype)
    tanh(x.reshape(-1), y.reshape(-1))
    return y, y


def tanh_backward(d_y: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The backward pass of tanh: d_y [...] -> d_x [...]."""
    d_x = empty(y.shape, y.dtype)
    tanh_slope(d_y.reshape(-1), y.reshape(-1), d_x.reshape(-1))
    return d_x


@kernel
def tanh(x, y):
    for i in prange(len(x)):
        y[i] = math.tanh(x[i])


@kernel
def tanh_slope(d_y, y, d_x):
    for i in prange(len(y)):
        d_x[i] = d_y[i] * (1 - y[i] * y[i])
