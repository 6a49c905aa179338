"""Launch the kernels for the elementwise activation functions, which are in activations.cu."""

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.gpu.kernels import CudaFile
from minibert.ops.gpu.layout import THREADS, contiguous, grid_stride_blocks
from minibert.ops.gpu.library import cp

ACTIVATIONS = CudaFile(
    "activations.cu",
    "gelu_forward<{T}>",
    "gelu_backward<{T}>",
    "gelu_tanh_forward<{T}>",
    "gelu_tanh_backward<{T}>",
    "tanh_forward<{T}>",
    "tanh_backward<{T}>",
    headers=("grid_stride.cuh",),
)


def gelu_forward(x: Array) -> tuple[Array, Cache]:
    """GELU, y = x * cdf(x); see minibert.ops.reference.activations.  The backward pass recomputes cdf(x)."""
    (x,) = contiguous(x)
    return launch("gelu_forward<{T}>", x), x


def gelu_backward(d_y: Array, x: Array) -> Array:
    """The backward pass of GELU: d_y [...] -> d_x [...]."""
    return launch("gelu_backward<{T}>", *contiguous(d_y, x))


def gelu_tanh_forward(x: Array) -> tuple[Array, Cache]:
    """GELU's tanh approximation, y = 0.5 * x * (1 + tanh(u)); see minibert.ops.reference.activations."""
    (x,) = contiguous(x)
    return launch("gelu_tanh_forward<{T}>", x), x


def gelu_tanh_backward(d_y: Array, x: Array) -> Array:
    """The backward pass of GELU's tanh approximation: d_y [...] -> d_x [...]."""
    return launch("gelu_tanh_backward<{T}>", *contiguous(d_y, x))


def tanh_forward(x: Array) -> tuple[Array, Cache]:
    """The hyperbolic tangent, x [...] -> y [...], which BERT's pooler applies to one token of each sequence."""
    y = launch("tanh_forward<{T}>", *contiguous(x))
    return y, y


def tanh_backward(d_y: Array, y: Array) -> Array:
    """The backward pass of tanh: d_y [...] -> d_x [...]."""
    return launch("tanh_backward<{T}>", *contiguous(d_y, y))


def launch(name: str, *inputs: Array) -> Array:
    """Launch an elementwise kernel on inputs of the same shape, and return its output."""
    x = inputs[0]
    out = cp.empty(x.shape, x.dtype)
    ACTIVATIONS.launch(name, x.dtype, grid_stride_blocks(x.size, x.dtype), THREADS, *inputs, out, np.int64(x.size))
    return out
