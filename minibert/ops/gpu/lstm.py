"""One direction of an LSTM over ragged sequences, which processes all sequences at once in each time step.

The tokens are first sorted by time step, so that the rows of a step are adjacent, and those of the sequences that
continue come first.  Then no step needs row indices.  A step is two launches: a matrix product, which cuBLAS adds to
the gates, and a kernel (lstm.cu) that does everything else.
"""

from typing import NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.ops.gpu.kernels import CudaFile, blocks_for, sum_type
from minibert.ops.gpu.layout import THREADS, contiguous
from minibert.ops.gpu.library import cp
from minibert.ops.gpu.linear import linear_backward
from minibert.ops.gpu.products import product
from minibert.ops.gpu.rows import gather_rows_forward
from minibert.ops.time_steps import time_steps

LSTM = CudaFile("lstm.cu", "lstm_step_forward<{T}>", "lstm_step_backward<{T}>")


class Schedule(NamedTuple):
    """The order in which tokens are processed: sorted by time step, and within a step the longest sequences first."""

    steps: list[tuple[slice, slice | None]]
    """for each step, its sorted rows, and the sorted rows of the tokens before them, None in the first step"""
    order: Array
    """int32 [N]: the row in the batch of each sorted row"""
    back: Array
    """int32 [N]: the sorted row of each row in the batch"""
    before: Array
    """int32 [N - B]: the sorted row of the token before, for each sorted row from the second step on"""


def lstm_forward(
    x: Array,
    weight_input: Array,
    weight_hidden: Array,
    bias: Array,
    cu_seqlens: Array | np.ndarray,
    reverse: bool = False,
) -> tuple[Array, Cache]:
    """Run an LSTM over each sequence, x [N, I] -> h [N, K]; see minibert.ops.reference.lstm.

    cu_seqlens [B + 1]: on the host or on the device.  The host must know the lengths to launch the steps, so an array
    on the device is copied first, for which the host waits until the device has finished all earlier work.
    For 16-bit tensors, the gates and the cell state c are float32; h is rounded in each step.
    """
    x, weight_input, weight_hidden, bias = contiguous(x, weight_input, weight_hidden, bias)
    schedule, width, number = schedule_of(cu_seqlens, reverse), weight_hidden.shape[1], sum_type(x.dtype)
    x, _ = gather_rows_forward(x, schedule.order)  # [N, I], sorted, as is everything that follows
    gates = product(x, weight_input.T, cp.empty((len(x), 4 * width), number))  # [N, 4 K]
    c, h = cp.empty((len(x), width), number), cp.empty((len(x), width), x.dtype)  # [N, K]
    first = cp.zeros((schedule.steps[0][0].stop, width), number)  # [B, K], the cell states before the first step
    for rows, before in schedule.steps:
        if before is not None:
            product(h[before], weight_hidden.T, gates[rows], add=True)
        tensors = bias, first if before is None else c[before], gates[rows], c[rows], h[rows]
        launch("lstm_step_forward<{T}>", x.dtype, rows, width, *tensors)
    cache = x, weight_input, weight_hidden, schedule, gates, c, first, h
    return gather_rows_forward(h, schedule.back)[0], cache


def lstm_backward(d_h: Array, cache: Cache) -> tuple[Array, Array, Array, Array]:
    """The backward pass: d_h [N, K] -> d_x [N, I], d_weight_input [4 K, I], d_weight_hidden [4 K, K], d_bias [4 K].

    For 16-bit tensors, the gradients of the three parameters are float32.
    """
    x, weight_input, weight_hidden, schedule, gates, c, first, h = cache
    d_h, _ = gather_rows_forward(d_h, schedule.order)  # [N, K]
    d_gates = cp.empty(gates.shape, h.dtype)  # [N, 4 K]
    d_state, d_memory = cp.empty(first.shape, c.dtype), cp.empty(first.shape, c.dtype)  # [B, K]; see lstm.cu
    continuing = 0  # of the rows of d_state and d_memory, those that the next step has written
    for rows, before in reversed(schedule.steps):
        tensors = d_h[rows], d_state, gates[rows], c[rows], first if before is None else c[before], d_memory
        launch("lstm_step_backward<{T}>", x.dtype, rows, h.shape[1], *tensors, d_gates[rows], np.int64(continuing))
        continuing = rows.stop - rows.start
        if before is not None:
            # gates += h_before @ weight_hidden.T
            product(d_gates[rows], weight_hidden, d_state[:continuing])
    # gates = x @ weight_input.T + h_before @ weight_hidden.T + bias
    d_x, d_weight_input, d_bias = linear_backward(d_gates, (x, weight_input))
    h_before, _ = gather_rows_forward(h, schedule.before)  # [N - B, K]; it is zero for the rows of the first step
    d_weight_hidden = product(d_gates[len(first) :].T, h_before, cp.empty(weight_hidden.shape, c.dtype))
    return gather_rows_forward(d_x, schedule.back)[0], d_weight_input, d_weight_hidden, d_bias


def schedule_of(cu_seqlens: Array | np.ndarray, reverse: bool) -> Schedule:
    """Sort the tokens by time step; the indices are uploaded in one copy.  Raises ValueError for an empty sequence."""
    host = cu_seqlens.get() if isinstance(cu_seqlens, cp.ndarray) else cu_seqlens
    batch_rows = time_steps(host, reverse)
    counts = [len(rows) for rows in batch_rows]
    begins = [0, *np.cumsum(counts).tolist()]
    own = [slice(begin, begin + count) for begin, count in zip(begins, counts, strict=False)]
    # the sequences that continue are at the front of the step before
    before = [slice(begin, begin + count) for begin, count in zip(begins, counts[1:], strict=False)]
    order = np.concatenate(batch_rows)
    tokens = len(order)
    rows_before = [np.arange(rows.start, rows.stop) for rows in before]
    indices = cp.asarray(np.concatenate([order, np.argsort(order), *rows_before]).astype(np.int32))
    steps = list(zip(own, [None, *before], strict=True))
    return Schedule(steps, indices[:tokens], indices[tokens : 2 * tokens], indices[2 * tokens :])


def launch(kernel: str, dtype: np.dtype, rows: slice, width: int, *arguments: Array | np.int64) -> None:
    """Launch a kernel for one time step, with a thread for each cell of its sorted rows."""
    count = rows.stop - rows.start
    LSTM.launch(
        kernel, dtype, blocks_for(count * width, THREADS), THREADS, *arguments, np.int64(count), np.int32(width)
    )
