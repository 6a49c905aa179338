"""One direction of an LSTM (long short-term memory, a recurrent network) over ragged sequences."""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.time_steps import time_steps


def lstm_forward(
    x: np.ndarray,
    weight_input: np.ndarray,
    weight_hidden: np.ndarray,
    bias: np.ndarray,
    cu_seqlens: np.ndarray,
    reverse: bool = False,
) -> tuple[np.ndarray, Cache]:
    """Run an LSTM over each sequence token by token, with a hidden state h and a cell state c that start at zero.

    x [N, I]; weight_input [4 K, I], weight_hidden [4 K, K], bias [4 K], with the gates in the order input, forget,
    candidate, output, as in PyTorch (whose two biases are combined into one here); cu_seqlens: integers [B + 1];
    reverse: run from the last token to the first.
    Returns h [N, K], the hidden state after each token, and the cache that lstm_backward takes.
    Source: Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000.
    """
    tokens, width = len(x), weight_hidden.shape[1]
    steps = time_steps(cu_seqlens, reverse)
    gates = x @ weight_input.T + bias  # [N, 4 K], before the recurrent term is added
    h, c = (np.zeros((tokens, width), dtype=x.dtype) for _ in range(2))  # [N, K]
    before = None  # the rows of the previous time step
    for rows in steps:
        if before is not None:
            gates[rows] += h[before[: len(rows)]] @ weight_hidden.T
        i, f, g, o = activate(gates[rows])  # [alive, K] each
        c[rows] = i * g if before is None else f * c[before[: len(rows)]] + i * g
        h[rows] = o * np.tanh(c[rows])
        before = rows
    return h, (x, weight_input, weight_hidden, steps, gates, h, c)


def lstm_backward(d_h: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass: d_h [N, K] -> d_x [N, I], d_weight_input [4 K, I], d_weight_hidden [4 K, K], d_bias [4 K]."""
    x, weight_input, weight_hidden, steps, gates, h, c = cache
    d_gates, h_before = np.empty_like(gates), np.zeros_like(h)  # [N, 4 K], [N, K]
    d_state = np.zeros_like(d_h)  # [N, K], the gradient of h that comes from the next time step
    d_memory = np.zeros_like(d_h)  # [N, K], the gradient of c that comes from the next time step
    for step in reversed(range(len(steps))):
        rows = steps[step]
        before = steps[step - 1][: len(rows)] if step else None
        i, f, g, o = activate(gates[rows])  # [alive, K] each
        tanh_c = np.tanh(c[rows])
        # h = o * tanh(c)
        d_h_rows = d_h[rows] + d_state[rows]
        d_o = d_h_rows * tanh_c
        d_c = d_memory[rows] + d_h_rows * o * (1 - tanh_c**2)
        # c = f * c_before + i * g
        c_before = c[before] if step else np.zeros_like(tanh_c)
        d_i, d_f, d_g = d_c * g, d_c * c_before, d_c * i
        # i, f, o are logistic functions, g is a tanh
        d_gates[rows] = np.concatenate(
            [d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)], axis=1
        )
        if step:
            # gates += h_before @ weight_hidden.T
            d_state[before] = d_gates[rows] @ weight_hidden
            d_memory[before] = d_c * f
            h_before[rows] = h[before]
    # gates = x @ weight_input.T + h_before @ weight_hidden.T + bias
    return d_gates @ weight_input, d_gates.T @ x, d_gates.T @ h_before, d_gates.sum(axis=0)


def activate(gates: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Apply the activation functions: gates [rows, 4 K] -> input, forget, candidate and output gate, [rows, K] each."""
    i, f, g, o = np.split(gates, 4, axis=1)
    return logistic(i), logistic(f), np.tanh(g), logistic(o)


def logistic(x: np.ndarray) -> np.ndarray:
    """The logistic function 1 / (1 + exp(-x)), in a form that cannot overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
