"""The linear layer: matrix products by cuBLAS.  Nine tenths of BERT's arithmetic is in here.

Products are 2-D only: those use the tensor cores in 16 bits, and add up in float32.
"""

import numpy as np

from minibert.ops.gpu.columns import column_sums
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, aligned, both, given, pack_size, straight, variant, walking_blocks
from minibert.ops.gpu.library import cp

LINEAR = CudaFile(
    "linear.cu",
    *both("add_bias"),
    "add_into<{T}, {T}>",
    "add_into<{T}, sum_t<{T}>>",
    headers=("packs.cuh", "walk.cuh"),
)


def linear_forward(x, weight, bias):
    """y = x @ weight.T + bias: see minibert.ops.reference.linear."""
    x, weight, bias = straight(x, weight, bias)
    y = product(x, weight.T)  # [N, out]
    rows, width = y.shape
    blocks = blocks_for(rows * width // pack_size(width, y.dtype), THREADS)
    name = variant("add_bias", aligned(width, y.dtype))
    LINEAR.launch(name, y.dtype, blocks, THREADS, y, bias, np.int64(rows), np.int32(width))
    return y, (x, weight)


def linear_backward(d_y, cache, d_x=None, d_weight=None, d_bias=None):
    """d_y [N, out] -> d_x [N, in], d_weight [out, in], d_bias [out], added to what is given: see the reference.

    For 16-bit tensors d_weight and d_bias are float32.
    """
    d_y, x, weight = straight(d_y, *cache)
    # y = x @ weight.T + bias
    d_x_product = product(d_y, weight)  # [N, in]
    d_x = d_x_product if d_x is None else add_into(d_x, d_x_product)
    d_weight_product = product(d_y.T, x)  # [out, in]
    if d_weight is None and x.dtype == sum_type(x.dtype):
        d_weight = d_weight_product
    else:
        d_weight = add_into(given(d_weight, weight.shape, sum_type(x.dtype)), d_weight_product)
    return d_x, d_weight, column_sums(d_y, d_bias)


def product(a, b):
    """a [n, k] @ b [k, m] -> [n, m]; with k = 0, zeros."""
    shape = a.shape[0], b.shape[1]
    if 0 in (*shape, a.shape[1]):
        return cp.zeros(shape, a.dtype)
    out = cp.empty(shape, a.dtype)
    return cp.matmul(a, b, out=out)


def use_tf32(wanted: bool) -> None:
    """Let tensor cores multiply float32 matrices, from inputs rounded to 11 bits; sums stay float32."""
    types = cp._core._routines_linalg
    cp._core.set_compute_type(np.float32, types.COMPUTE_TYPE_TF32 if wanted else types.COMPUTE_TYPE_DEFAULT)


def add_into(sums, x):
    """sums [...] += x [...], in place; x in its dtype, sums in that one or in float32.  Returns sums."""
    given(sums, x.shape, x.dtype if sums.dtype == x.dtype else sum_type(x.dtype))
    if not aligned(0, x.dtype, sums, x):
        sums += x.astype(sums.dtype)  # views into the middle of a buffer
        return sums
    to = "{T}" if sums.dtype == x.dtype else "sum_t<{T}>"
    blocks = walking_blocks(x.size, sums.dtype)
    LINEAR.launch(f"add_into<{{T}}, {to}>", x.dtype, blocks, THREADS, x, sums, np.int64(x.size))
    return sums
