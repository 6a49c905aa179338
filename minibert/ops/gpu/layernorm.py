"""Layer normalisation, on its own and combined with dropout and a residual connection; kernels in layernorm.cu."""

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.dropout import Dropout
from minibert.ops.gpu.columns import GROUP, column_groups, column_sums, slabs_of
from minibert.ops.gpu.dropout import drop_arguments
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import aligned, both, contiguous, pack_size, variant
from minibert.ops.gpu.library import cp

WARP = 32  # threads per warp
WARPS = 4  # warps per block, or fewer if the rows that they keep would not fit in the block's shared memory
SHARED = 48 * 1024  # bytes of shared memory that a block may have on every GPU

LAYERNORM = CudaFile(
    "layernorm.cu",
    "layernorm_forward_plain<{T}>",
    *both("layernorm_forward"),
    *both("layernorm_backward"),
    *both("layernorm_parameters"),
    headers=("packs.cuh", "dropout.cuh", "columns.cuh"),
)


def layernorm_forward(x: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Cache]:
    """Layer normalisation, y = (x - mean) * rstd * weight + bias; see minibert.ops.reference.layernorm."""
    return normalised(x, None, weight, bias, eps, None)


def layernorm_backward(d_y: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The backward pass of layernorm_forward: d_y [N, H] -> d_x [N, H], d_weight [H], d_bias [H].

    For 16-bit tensors, d_weight and d_bias are float32.
    """
    d_x, _, d_weight, d_bias = add_layernorm_backward(d_y, cache)
    return d_x, d_weight, d_bias


def add_layernorm_forward(
    x: Array, residual: Array, weight: Array, bias: Array, eps: float, dropout: Dropout | None = None
) -> tuple[Array, Cache]:
    """Residual layer normalisation, y = layernorm(residual + dropout(x)); see minibert.ops.reference.layernorm."""
    return normalised(x, residual, weight, bias, eps, dropout)


def add_layernorm_backward(d_y: Array, cache: Cache) -> tuple[Array, Array, Array, Array]:
    """The backward pass: d_y [N, H] -> d_x [N, H], d_residual [N, H], d_weight [H], d_bias [H].

    Without dropout, d_x and d_residual are the same array.  For 16-bit tensors, d_weight and d_bias are float32.
    """
    x_hat, rstd, weight, dropout = cache
    d_y, x_hat = contiguous(d_y, x_hat)
    rows, width = d_y.shape
    d_residual = cp.empty(d_y.shape, d_y.dtype)  # [N, H]
    d_x = d_residual if dropout is None or dropout.threshold == 0 else cp.empty(d_y.shape, d_y.dtype)  # [N, H]
    LAYERNORM.launch(
        variant("layernorm_backward", aligned(width, d_y.dtype)),
        d_y.dtype,
        blocks_for(rows, WARPS),
        (WARP, WARPS),
        *(d_y, x_hat, rstd, weight, d_residual, d_x),
        np.int64(rows),
        np.int32(width),
        *drop_arguments(dropout, d_y.dtype),
    )
    return d_x, d_residual, *parameter_gradients(d_y, x_hat)


def parameter_gradients(d_y: Array, x_hat: Array) -> tuple[Array, Array]:
    """The gradients of the weight and the bias: d_y, x_hat [N, H] -> d_weight [H], d_bias [H]."""
    rows, width = d_y.shape
    slabs, slab = slabs_of(rows)
    partial = cp.empty((slabs, 2 * width), sum_type(d_y.dtype))  # [slabs, 2 * H]
    name = variant("layernorm_parameters", aligned(width, d_y.dtype))
    grid = column_groups(width, d_y.dtype), slabs
    LAYERNORM.launch(name, d_y.dtype, grid, GROUP, d_y, x_hat, partial, np.int64(rows), np.int32(width), np.int32(slab))
    sums = column_sums(partial)  # [2 * H]
    return sums[:width], sums[width:]


def normalised(
    x: Array, residual: Array | None, weight: Array, bias: Array, eps: float, dropout: Dropout | None
) -> tuple[Array, Cache]:
    """The forward pass of both ops: returns y and the cache; residual [N, H], or None for no residual."""
    add_residual = residual is not None
    x, residual, weight, bias = contiguous(x, x if residual is None else residual, weight, bias)
    rows, width = x.shape
    y, x_hat = cp.empty(x.shape, x.dtype), cp.empty(x.shape, x.dtype)  # [N, H]
    rstd = cp.empty(rows, sum_type(x.dtype))  # [N]
    warps, shared = warps_and_scratch(width, x.dtype)
    LAYERNORM.launch(
        variant("layernorm_forward", aligned(width, x.dtype)),
        x.dtype,
        blocks_for(rows, warps),
        (WARP, warps),
        *(x, residual, weight, bias, y, x_hat, rstd),
        np.int64(rows),
        np.int32(width),
        sum_type(x.dtype)(eps),
        np.int32(add_residual),
        *drop_arguments(dropout, x.dtype),
        shared=shared,
    )
    return y, (x_hat, rstd, weight, dropout)


def warps_and_scratch(width: int, dtype: np.dtype) -> tuple[int, int]:
    """The warps per block, each of which processes one row, and the shared memory per block, in bytes, for the rows."""
    of_warp = WARP * pack_size(width, dtype)  # elements that a warp reads at once
    row = blocks_for(width, of_warp) * of_warp * np.dtype(sum_type(dtype)).itemsize  # bytes
    warps = max(1, min(WARPS, SHARED // row))
    return warps, warps * row
