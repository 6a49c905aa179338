"""Multi-head attention over a ragged batch, without storing the weights [T, T], on CUDA cores or tensor cores.

This module launches the kernels for CUDA cores, and calls attention_tensor_cores.py where the tensor cores support the
dtype and the head width.  See attention.cu for the mathematics and for the work of a block.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.dropout import Dropout
from minibert.ops.gpu import attention_tensor_cores as tensor_cores
from minibert.ops.gpu.dropout import drop_arguments
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import contiguous, indices
from minibert.ops.gpu.library import cp

WIDTHS = (32, 64, 128)  # head widths that kernels are compiled for; other widths are padded to the next larger one
WARP, WARPS = 32, 4  # threads per warp, warps per block in the kernels with one warp per query
QUAD, ROW_THREADS = 4, 8  # as in attention_tiles.cuh
HEADERS = ("dropout.cuh", "attention.cuh", "attention_tiles.cuh")

# one CudaFile for each width, so that only the kernels that a model uses are compiled
FORWARD = {
    w: CudaFile(
        "attention.cu", f"attention_forward_plain<{{T}}, {w}>", f"attention_forward<{{T}}, {w}>", headers=HEADERS
    )
    for w in WIDTHS
}
BACKWARD = {
    w: CudaFile(
        "attention_backward.cu",
        "attention_delta<{T}>",
        f"attention_d_key_value<{{T}}, {w}>",
        f"attention_d_query<{{T}}, {w}>",
        headers=HEADERS,
    )
    for w in WIDTHS
}


def attention_forward(
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool = False,
    dropout: Dropout | None = None,
) -> tuple[Array, Cache]:
    """Multi-head attention over a ragged batch; see minibert.ops.reference.attention for the arguments.

    Raises ValueError if the number of heads does not divide H, or if a head has more than 128 features.
    """
    width = head_width(query.shape[1], heads)
    query, key, value = contiguous(query, key, value)
    layout: Any = *(indices(array) for array in (cu_seqlens_q, cu_seqlens_k, positions_q)), causal, dropout
    forward = tensor_cores.forward if tensor_cores.use_tensor_cores(query.dtype, width) else forward_on_cuda_cores
    context, log_sums = forward(query, key, value, heads, *layout)
    return context, (query, key, value, heads, *layout, context, log_sums)


def attention_backward(d_context: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """The backward pass of attention_forward: d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H]."""
    *arguments, context, log_sums = cache
    query, heads = arguments[0], arguments[3]
    d_context, context = contiguous(d_context, context)
    width = query.shape[1] // heads
    delta = delta_of(d_context, context, heads)  # [A, Nq]
    on_tensor_cores = tensor_cores.use_tensor_cores(query.dtype, width)
    backward: Any = tensor_cores.backward if on_tensor_cores else backward_on_cuda_cores
    return backward(d_context, *arguments, log_sums, delta)


def head_width(features: int, heads: int) -> int:
    """The number of features of a head.  Raises ValueError if no kernel supports it."""
    if features % heads:
        raise ValueError(
            f"the number of heads ({heads}) does not divide the hidden size ({features}); choose a multiple of it"
        )
    if features // heads > WIDTHS[-1]:
        raise ValueError(
            f"a head of {features // heads} features is too wide for the gpu backend, which supports at most "
            f"{WIDTHS[-1]}; use more heads"
        )
    return features // heads


def delta_of(d_context: Array, context: Array, heads: int) -> Array:
    """The inner product d_context . context of each query in each head, [A, Nq], for the backward pass."""
    queries, features = context.shape
    delta = cp.empty((heads, queries), sum_type(context.dtype))
    sizes = (np.int32(n) for n in (queries, heads, features // heads))
    file = BACKWARD[padded(features // heads)]
    blocks = blocks_for(queries * heads, WARPS)
    file.launch("attention_delta<{T}>", context.dtype, blocks, (WARP, WARPS), d_context, context, delta, *sizes)
    return delta


def padded(width: int) -> int:
    """The smallest kernel width in WIDTHS that fits heads of the given width."""
    return next(w for w in WIDTHS if width <= w)


def owned_rows(dtype: np.dtype, width: int) -> int:
    """The number of rows, queries or keys, that a block owns; the same as OWNED in attention_tiles.cuh."""
    return 64 if np.dtype(sum_type(dtype)).itemsize == 4 and width <= 64 else 32


def arguments_of(
    query: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool,
    dropout: Dropout | None,
) -> tuple:
    """The kernel arguments that follow the tensors, which are the same for all kernels."""
    queries, width = len(query), query.shape[1] // heads
    sizes = np.int32(len(cu_seqlens_k) - 1), np.int32(queries), np.int32(width), np.int32(causal)
    scale = sum_type(query.dtype)(width**-0.5)
    return cu_seqlens_q, cu_seqlens_k, positions_q, *sizes, scale, *drop_arguments(dropout, query.dtype)


def launch(
    file: CudaFile,
    kernel: str,
    width: int,
    rows: int,
    cu_seqlens: Array,
    heads: int,
    dtype: np.dtype,
    arguments: Sequence,
    tensors: tuple,
) -> None:
    """Launch an attention kernel in which each block owns a tile of rows; tiles do not cross sequence boundaries.

    rows, cu_seqlens: the total number of the rows that blocks own, queries or keys, and where each sequence's begin.
    tensors: the numbers of tiles that a block keeps in shared memory: of the rows it owns, and of those it loops over.
    """
    own = owned_rows(dtype, width)
    met = own // 2
    owned, others = tensors
    scratch = own * (met + QUAD) if kernel != "attention_d_key_value" else met * (own + QUAD)
    numbers = (owned * own + others * met) * (width + QUAD) + scratch
    file.launch(
        f"{kernel}<{{T}}, {width}>",
        dtype,
        (rows // own + len(cu_seqlens) - 1, heads) if rows else 0,
        own // QUAD * ROW_THREADS,
        *arguments,
        shared=numbers * np.dtype(sum_type(dtype)).itemsize,
    )


def forward_on_cuda_cores(
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool,
    dropout: Dropout | None,
) -> tuple[Array, Cache]:
    """The forward pass on CUDA cores: query [Nq, H], key and value [N, H] -> context [Nq, H] and log_sums [A, Nq]."""
    dtype, width = query.dtype, padded(query.shape[1] // heads)
    context, log_sums = cp.empty(query.shape, dtype), cp.empty((heads, len(query)), sum_type(dtype))
    rest = arguments_of(query, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, dropout)
    arguments = query, key, value, context, log_sums, *rest
    launch(FORWARD[width], "attention_forward", width, len(query), cu_seqlens_q, heads, dtype, arguments, (1, 2))
    return context, log_sums


def backward_on_cuda_cores(
    d_context: Array,
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool,
    dropout: Dropout | None,
    log_sums: Array,
    delta: Array,
) -> tuple[Array, Array, Array]:
    """The backward pass on CUDA cores: d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H].

    log_sums [A, Nq]: from the forward pass; delta [A, Nq]: from delta_of.
    """
    dtype, width = query.dtype, padded(query.shape[1] // heads)
    d_query, d_key, d_value = (cp.empty(x.shape, x.dtype) for x in (query, key, value))
    tensors = query, key, value, d_context, log_sums, delta
    rest = arguments_of(query, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, dropout)
    of_keys, of_queries = (*tensors, d_key, d_value, *rest), (*tensors, d_query, *rest)
    file = BACKWARD[width]
    launch(file, "attention_d_key_value", width, len(key), cu_seqlens_k, heads, dtype, of_keys, (2, 2))
    launch(file, "attention_d_query", width, len(query), cu_seqlens_q, heads, dtype, of_queries, (2, 2))
    return d_query, d_key, d_value


def forward_plain(
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool = False,
) -> Array:
    """Compute context [Nq, H] with the plain kernel, which serves as an introduction and for comparison."""
    width = head_width(query.shape[1], heads)
    query, key, value = contiguous(query, key, value)
    context = cp.empty(query.shape, query.dtype)
    sizes = (np.int32(n) for n in (len(cu_seqlens_k) - 1, len(query), width, causal))
    name = f"attention_forward_plain<{{T}}, {padded(width)}>"
    FORWARD[padded(width)].launch(
        name,
        query.dtype,
        (blocks_for(len(query), WARPS), heads) if len(query) else 0,
        (WARP, WARPS),
        *(query, key, value, context, *(indices(a) for a in (cu_seqlens_q, cu_seqlens_k, positions_q))),
        *sizes,
        sum_type(query.dtype)(width**-0.5),
    )
    return context
