"""One direction of an LSTM over ragged sequences, which processes all sequences at once in each time step.

A time step is a matrix product followed by one kernel that activates the gates and updates the states.
"""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.cpu.compiler import helper, inlined, kernel, prange
from minibert.ops.cpu.elementary import exponential
from minibert.ops.cpu.linear import linear_backward, linear_forward
from minibert.ops.cpu.memory import contiguous, empty
from minibert.ops.time_steps import time_steps


def lstm_forward(
    x: np.ndarray,
    weight_input: np.ndarray,
    weight_hidden: np.ndarray,
    bias: np.ndarray,
    cu_seqlens: np.ndarray,
    reverse: bool = False,
) -> tuple[np.ndarray, Cache]:
    """Run an LSTM over each sequence, x [N, I] -> h [N, K]; see minibert.ops.reference.lstm."""
    x, weight_input, weight_hidden, bias = contiguous(x, weight_input, weight_hidden, bias)
    steps, width = time_steps(cu_seqlens, reverse), weight_hidden.shape[1]
    gates, input_cache = linear_forward(x, weight_input, bias)  # [N, 4 K]
    h, c = empty((len(x), width), x.dtype), empty((len(x), width), x.dtype)  # [N, K]
    no_bias = np.zeros_like(bias)
    for step, rows in enumerate(steps):
        if step:
            before = steps[step - 1][: len(rows)]
            recurrent, c_before = linear_forward(h[before], weight_hidden, no_bias)[0], c[before]
        else:
            recurrent, c_before = np.zeros((len(rows), 4 * width), x.dtype), np.zeros((len(rows), width), x.dtype)
        step_forward(rows, gates, recurrent, c_before, c, h)
    return h, (input_cache, weight_hidden, steps, gates, h, c)


def lstm_backward(d_h: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass: d_h [N, K] -> d_x [N, I], d_weight_input [4 K, I], d_weight_hidden [4 K, K], d_bias [4 K]."""
    input_cache, weight_hidden, steps, gates, h, c = cache
    (d_h,) = contiguous(d_h)
    width = h.shape[1]
    d_gates, h_before = empty(gates.shape, h.dtype), np.zeros_like(h)  # [N, 4 K], [N, K]
    weight_back, no_bias = np.ascontiguousarray(weight_hidden.T), np.zeros(width, h.dtype)  # [K, 4 K], [K]
    nothing = np.zeros((len(steps[0]), width), h.dtype)
    d_state, d_memory = (
        nothing[: len(steps[-1])],
        nothing[: len(steps[-1])],
    )  # [alive, K], the gradients of h and c that come from the next time step
    for step in reversed(range(len(steps))):
        rows = steps[step]
        before = steps[step - 1] if step else rows[:0]
        c_before = c[before[: len(rows)]] if step else nothing
        d_c = np.zeros((len(rows) if not step else len(before), width), h.dtype)  # for the previous step's c
        step_backward(rows, gates, c, c_before, d_h, d_state, d_memory, d_gates, d_c)
        if step:
            h_before[rows] = h[before[: len(rows)]]
            d_state = np.zeros((len(before), width), h.dtype)
            # gates += h_before @ weight_hidden.T
            d_state[: len(rows)] = linear_forward(d_gates[rows], weight_back, no_bias)[0]
            d_memory = d_c
    d_x, d_weight_input, d_bias = linear_backward(d_gates, input_cache)
    _, d_weight_hidden, _ = linear_backward(d_gates, (h_before, weight_hidden))
    return d_x, d_weight_input, d_weight_hidden, d_bias


@inlined
def logistic(x):
    one = type(x)(1)
    return one / (one + exponential(-x))


@inlined
def hyperbolic(x):
    """The hyperbolic tangent, computed from the logistic function."""
    two = type(x)(2)
    return two * logistic(two * x) - type(x)(1)


@kernel
def step_forward(rows, gates, recurrent, c_before, c, h):
    """One time step: activate the gates of the given rows in place, and compute their c and h."""
    for number in prange(len(rows)):
        n = np.int64(number)
        cell_forward(gates[rows[n]], recurrent[n], c_before[n], c[rows[n]], h[rows[n]])


@helper
def cell_forward(gates, recurrent, c_before, c, h):
    width = len(h)
    i, f, g, o = gates[:width], gates[width : 2 * width], gates[2 * width : 3 * width], gates[3 * width :]
    add(gates, recurrent)
    activate(i)
    activate(f)
    activate_candidate(g)
    activate(o)
    for k in range(width):
        c[k] = f[k] * c_before[k] + i[k] * g[k]
    for k in range(width):
        h[k] = o[k] * hyperbolic(c[k])


@helper
def add(x, y):
    for k in range(len(x)):
        x[k] += y[k]


@helper
def activate(x):
    for k in range(len(x)):
        x[k] = logistic(x[k])


@helper
def activate_candidate(x):
    for k in range(len(x)):
        x[k] = hyperbolic(x[k])


@kernel
def step_backward(rows, gates, c, c_before, d_h, d_state, d_memory, d_gates, d_c_before):
    for number in prange(len(rows)):
        n = np.int64(number)
        row = rows[n]
        cell_backward(gates[row], c[row], c_before[n], d_h[row], d_state[n], d_memory[n], d_gates[row], d_c_before[n])


@helper
def cell_backward(gates, c, c_before, d_h, d_state, d_memory, d_gates, d_c_before):
    width, one = len(c), type(c[0])(1)
    for k in range(width):
        i, f, g, o = gates[k], gates[width + k], gates[2 * width + k], gates[3 * width + k]
        tanh_c = hyperbolic(c[k])
        # h = o * tanh(c)
        d_state_k = d_h[k] + d_state[k]
        d_c = d_memory[k] + d_state_k * o * (one - tanh_c * tanh_c)
        # c = f * c_before + i * g; i, f, o are logistic functions, g is a tanh
        d_gates[k] = d_c * g * i * (one - i)
        d_gates[width + k] = d_c * c_before[k] * f * (one - f)
        d_gates[2 * width + k] = d_c * i * (one - g * g)
        d_gates[3 * width + k] = d_state_k * tanh_c * o * (one - o)
        d_c_before[k] = d_c * f
