"""The linear layer: matrix products, computed by cuBLAS (see products.py), plus a bias."""

from collections.abc import Sequence

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.gpu.columns import column_sums
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, aligned, both, contiguous, given, pack_size, variant
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.products import product

LINEAR = CudaFile(
    "linear.cu",
    *both("add_bias"),
    headers=("packs.cuh",),
)


def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
    """The linear layer, y = x @ weight.T + bias; see minibert.ops.reference.linear."""
    x, weight, bias = contiguous(x, weight, bias)
    y = product(x, weight.T)  # [N, out]
    rows, width = y.shape
    blocks = blocks_for(rows * width // pack_size(width, y.dtype), THREADS)
    name = variant("add_bias", aligned(width, y.dtype))
    LINEAR.launch(name, y.dtype, blocks, THREADS, y, bias, np.int64(rows), np.int32(width))
    return y, (x, weight)


def linear_backward(
    d_y: Array, cache: Cache, accumulate_into: Sequence[Array | None] = (None, None, None)
) -> tuple[Array, Array, Array]:
    """The backward pass: d_y [N, out] -> d_x [N, in], d_weight [out, in], d_bias [out].

    See the reference for `accumulate_into`.  For 16-bit tensors, d_weight and d_bias are float32.
    """
    d_x, d_weight, d_bias = accumulate_into
    d_y, x, weight = contiguous(d_y, *cache)
    # y = x @ weight.T + bias
    d_x = product(d_y, weight) if d_x is None else product(d_y, weight, given(d_x, x.shape, x.dtype), add=True)
    add = d_weight is not None
    d_weight = given(d_weight, weight.shape, sum_type(x.dtype)) if add else cp.empty(weight.shape, sum_type(x.dtype))
    product(d_y.T, x, d_weight, add)
    return d_x, d_weight, column_sums(d_y, d_bias)
