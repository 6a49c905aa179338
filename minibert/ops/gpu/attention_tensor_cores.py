"""Launch the kernels that compute attention over 16-bit tensors on tensor cores.

There are two versions of each kernel: one uses wmma, CUDA's C++ interface to tensor cores, and runs on compute
capability 7.0 and up; the other uses the underlying PTX instructions, and runs on 8.0 and up.  attention.py calls
`forward` and `backward` if `use_tensor_cores` returns True; it also checks the arguments and makes the cache.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.dropout import Dropout
from minibert.ops.gpu.dropout import drop_arguments
from minibert.ops.gpu.kernels import CudaFile
from minibert.ops.gpu.library import cp

WIDTHS = (32, 64, 128)  # head widths that kernels are compiled for; other widths are padded to the next larger one
WARP, WARPS = 32, 4  # threads per warp, warps per block
SIDE, TILE = 16, 32  # as in tensor_cores.cuh and attention_mma_backward.cu
KEYS = 64  # keys per tile, as in attention_mma.cu
ROWS = WARPS * SIDE  # rows that a block owns
HELD = 64  # up to this width, the backward pass keeps the rows that a block owns in registers


def pitch(numbers: int, size: int) -> int:
    """The row stride in shared memory, in bytes, for rows of `numbers` elements of `size` bytes.

    It must be the same as in tensor_cores.cuh.
    """
    return numbers * size + 16


def wmma_memory(width: int) -> tuple[int, int, int]:
    """Shared memory per block, in bytes, for the three kernels of the wmma version, for a width in WIDTHS.

    The kernels are attention_forward, attention_d_key_value and attention_d_query, in this order.
    """
    tile, owned = TILE * pitch(width, 2), 2 * ROWS * pitch(width, 2)
    by_queries = WARPS * SIDE * pitch(TILE, 4)  # scratch memory of all warps: a row for each query that a warp owns
    by_keys = WARPS * TILE * pitch(SIDE, 4)  # scratch memory of all warps: a row for each query that a warp loops over
    held = width <= HELD
    d_key_value, d_query = (
        max(owned, rest) if held else owned + rest for rest in (2 * tile + by_keys, 2 * tile + by_queries)
    )
    return 2 * tile + by_queries, d_key_value, d_query


def mma_memory(width: int) -> tuple[int, int, int]:
    """Shared memory per block, in bytes, for the three kernels of the PTX version, for a width in WIDTHS.

    The order is that of wmma_memory.  The memory holds two stages of two tiles each and, in the backward pass, the rows
    that a block owns if it does not keep them in registers.
    """
    stages, owned = 2 * 2 * TILE * pitch(width, 2), 2 * ROWS * pitch(width, 2)
    by_keys, by_queries = (stages + (0 if width <= held else owned) for held in (HELD // 2, HELD))
    return 2 * 2 * KEYS * pitch(width, 2), by_keys, by_queries


@dataclass(frozen=True)
class Version:
    """One version of the attention kernels, wmma or PTX.

    forward, backward   head width -> the CudaFile for that width; there is one for each width, so that only the kernels
                        that a model uses are compiled
    shared_memory       head width -> shared memory per block, in bytes, for each of the three kernels
    """

    forward: dict[int, CudaFile]
    backward: dict[int, CudaFile]
    shared_memory: Callable[[int], tuple[int, int, int]]

    def takes(self, dtype: np.dtype) -> bool:
        """Whether the current device supports these kernels for tensors of the given dtype."""
        return self.forward[WIDTHS[0]].takes(dtype, int(cp.cuda.Device().compute_capability))


def files(file: str, *kernels: str, headers: tuple[str, ...], first: dict[str, int]) -> dict[int, CudaFile]:
    """The CudaFile of each width in WIDTHS, with the given kernels as instances for that width."""
    return {
        width: CudaFile(file, *(f"{kernel}<{{T}}, {width}>" for kernel in kernels), headers=headers, first=first)
        for width in WIDTHS
    }


FIRST = {"float16": 70, "bfloat16": 80}  # the lowest compute capability whose tensor cores support a dtype
HEADERS = ("dropout.cuh", "attention.cuh", "tensor_cores.cuh", "attention_tensor_cores.cuh")
PRODUCT = CudaFile("attention_tensor_cores.cu", "wmma_product<{T}>", headers=HEADERS, first=FIRST)
BACKWARD_KERNELS = "attention_d_key_value", "attention_d_query"
WMMA = Version(
    files("attention_tensor_cores.cu", "attention_forward", headers=HEADERS, first=FIRST),
    files("attention_tensor_cores_backward.cu", *BACKWARD_KERNELS, headers=HEADERS, first=FIRST),
    wmma_memory,
)
MMA_FIRST = {"float16": 80, "bfloat16": 80}
MMA_HEADERS = ("dropout.cuh", "attention.cuh", "warp_mma.cuh", "attention_mma.cuh")
MMA = Version(
    files("attention_mma.cu", "attention_forward", headers=MMA_HEADERS, first=MMA_FIRST),
    files("attention_mma_backward.cu", *BACKWARD_KERNELS, headers=MMA_HEADERS, first=MMA_FIRST),
    mma_memory,
)
FILES = [file for version in (WMMA, MMA) for table in (version.forward, version.backward) for file in table.values()]


def use_tensor_cores(dtype: np.dtype, width: int) -> bool:
    """Whether the current device can compute attention on tensor cores for heads of the given dtype and width."""
    return width <= WIDTHS[-1] and PRODUCT.takes(dtype, int(cp.cuda.Device().compute_capability))


def padded(width: int) -> int:
    """The smallest kernel width in WIDTHS that fits heads of the given width."""
    return next(w for w in WIDTHS if width <= w)


def best_version(dtype: np.dtype) -> Version:
    """The fastest version of the kernels that the current device supports for the given dtype."""
    return MMA if MMA.takes(dtype) else WMMA


def arguments(
    query: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool,
    dropout: Dropout | None,
) -> tuple:
    """The kernel arguments that follow the tensors, which are the same for all three kernels."""
    queries, width = len(query), query.shape[1] // heads
    sizes = np.int32(len(cu_seqlens_k) - 1), np.int32(queries), np.int32(width), np.int32(causal)
    scale = np.float32(width**-0.5)
    return cu_seqlens_q, cu_seqlens_k, positions_q, *sizes, scale, *drop_arguments(dropout, query.dtype)


def grid(rows: int, cu_seqlens: Array, heads: int) -> tuple[int, int]:
    """The grid for `rows` rows in total, which are split into tiles of ROWS within each sequence; see attention.cuh."""
    return rows // ROWS + len(cu_seqlens) - 1, heads


def forward(
    query: Array,
    key: Array,
    value: Array,
    heads: int,
    cu_seqlens_q: Array,
    cu_seqlens_k: Array,
    positions_q: Array,
    causal: bool,
    dropout: Dropout | None,
    version: Version | None = None,
) -> tuple[Array, Cache]:
    """The forward pass on tensor cores: query [Nq, H], key and value [N, H] -> context [Nq, H] and log_sums [A, Nq].

    See minibert.ops.reference.attention for the arguments.  All arrays must be contiguous, and integer arrays int32;
    log_sums is float32.  version: the version of the kernels, or None for the fastest one.
    """
    context = cp.empty(query.shape, query.dtype)
    log_sums = cp.empty((heads, len(query)), np.float32)
    width = padded(query.shape[1] // heads)
    version = version or best_version(query.dtype)
    version.forward[width].launch(
        f"attention_forward<{{T}}, {width}>",
        query.dtype,
        grid(len(query), cu_seqlens_q, heads) if len(query) else 0,
        WARPS * WARP,
        *(query, key, value, context, log_sums),
        *arguments(query, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, dropout),
        shared=version.shared_memory(width)[0],
    )
    return context, log_sums


def backward(
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
    version: Version | None = None,
) -> tuple[Array, Array, Array]:
    """The backward pass on tensor cores: d_context [Nq, H] -> d_query [Nq, H], d_key [N, H], d_value [N, H].

    log_sums: as returned by `forward`; delta: float32 [A, Nq], the inner product d_context . context of each query in
    each head; version: as in `forward`.
    """
    d_query, d_key, d_value = (cp.empty(x.shape, x.dtype) for x in (query, key, value))
    width = padded(query.shape[1] // heads)
    version = version or best_version(query.dtype)
    _, shared_by_keys, shared_by_queries = version.shared_memory(width)
    tensors = query, key, value, d_context, log_sums, delta
    rest = arguments(query, heads, cu_seqlens_q, cu_seqlens_k, positions_q, causal, dropout)
    version.backward[width].launch(
        f"attention_d_key_value<{{T}}, {width}>",
        query.dtype,
        grid(len(key), cu_seqlens_k, heads) if len(key) else 0,
        WARPS * WARP,
        *(*tensors, d_key, d_value),
        *rest,
        shared=shared_by_keys,
    )
    version.backward[width].launch(
        f"attention_d_query<{{T}}, {width}>",
        query.dtype,
        grid(len(query), cu_seqlens_q, heads) if len(query) else 0,
        WARPS * WARP,
        *(*tensors, d_query),
        *rest,
        shared=shared_by_queries,
    )
    return d_query, d_key, d_value
