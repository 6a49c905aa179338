"""The LSTM on the GPU, in every dtype, against the reference in float64; and how it learns the sequences' lengths."""

import numpy as np
import pytest

from minibert.data.batch import running_sum
from minibert.ops import reference
from minibert.ops.gpu import lstm
from minibert.ops.reference.lstm import activate
from tests.ops.gpu.helpers import (
    DTYPES,
    NEAR_ZERO,
    ROUNDING,
    E,
    cp,
    device,
    every_dtype,
    exact,
    host,
    numbers,
    parameter_dtype,
    within,
)

LENGTHS = [(1,), (1, 1, 1), (3, 9, 1, 9, 2)]
SECOND = 1.25  # products of two errors: a quarter of what their sum is, at most
FUNCTION = 4 * E  # a gate or tanh, whose values and slopes are at most 1


def arguments(tokens, inputs, width, dtype, recurrent=0.4):
    shapes = (tokens, inputs), (4 * width, inputs), (4 * width, width), (4 * width,)
    scales = 1, 0.4, recurrent, 0.4
    return [
        numbers(*shape, dtype=dtype, seed=i, scale=scale)
        for i, (shape, scale) in enumerate(zip(shapes, scales, strict=True))
    ]


def on_device(arrays, lengths, reverse):
    return lstm.lstm_forward(*(device(a) for a in arrays), device(running_sum(lengths)), reverse)


class Errors:
    """How far rounding takes an LSTM, step by step, along the derivatives of its formulas.

    Every result is rounded in float32; h and the gradients of the gates are rounded to the tensors' dtype (`u`,
    `least`), too.  c and the gates are not.
    """

    def __init__(self, exact_cache, u, least):
        self.x, self.weight_input, self.weight_hidden, self.steps, gates, self.h, self.c = exact_cache
        self.u, self.least = u, least
        self.gates = np.concatenate(activate(gates), axis=1)  # [N, 4 K]
        self.of_gates, self.of_c, self.of_h = (np.zeros(a.shape) for a in (gates, self.c, self.h))

    def before(self, step, array):
        """The rows of the step before; zeros for the first one."""
        rows = self.steps[step]
        return array[self.steps[step - 1][: len(rows)]] if step else np.zeros((len(rows), array.shape[1]))

    def parts(self, step, array):
        return np.split(array[self.steps[step]], 4, axis=1)

    def forward(self, bias):
        inputs, width = self.x.shape[1], self.h.shape[1]
        for step, rows in enumerate(self.steps):
            h, of_h, c, of_c = (self.before(step, a) for a in (self.h, self.of_h, self.c, self.of_c))
            sizes = np.abs(self.x[rows]) @ np.abs(self.weight_input.T) + np.abs(h) @ np.abs(self.weight_hidden.T)
            sums = (inputs + width + 3) * E * (sizes + np.abs(bias)) + of_h @ np.abs(self.weight_hidden.T)
            slopes = np.array([0.25, 0.25, 1.0, 0.25]).repeat(width)  # the steepest of each gate's function
            self.of_gates[rows] = slopes * sums + FUNCTION
            (i, f, g, o), (e_i, e_f, e_g, e_o) = self.parts(step, self.gates), self.parts(step, self.of_gates)
            carried = f * of_c + np.abs(c) * e_f + i * e_g + np.abs(g) * e_i
            self.of_c[rows] = SECOND * carried + 3 * E * (f * np.abs(c) + i * np.abs(g))
            t, e_t = np.tanh(self.c[rows]), self.of_c[rows] + FUNCTION
            before_rounding = SECOND * (np.abs(t) * e_o + o * e_t) + E
            self.of_h[rows] = (1 + self.u) * before_rounding + self.u * np.abs(self.h[rows]) + self.least
        return self.of_h

    def backward(self, d_h):
        """The gradients of the gates [N, 4 K], and how far they are off."""
        d_gates, off = np.zeros_like(self.gates), np.zeros_like(self.gates)
        d_state, e_state, d_memory, e_memory = (np.zeros_like(self.h) for _ in range(4))
        for step in reversed(range(len(self.steps))):
            rows = self.steps[step]
            (i, f, g, o), (e_i, e_f, e_g, e_o) = self.parts(step, self.gates), self.parts(step, self.of_gates)
            c, of_c, t = self.before(step, self.c), self.before(step, self.of_c), np.tanh(self.c[rows])
            e_t, slope = self.of_c[rows] + FUNCTION, 1 - t * t
            s = d_h[rows] + d_state[rows]
            e_s = e_state[rows] + E * np.abs(s)
            d_c = d_memory[rows] + s * o * slope
            e_d_c = e_memory[rows] + np.abs(s) * (e_o * slope + 2 * o * np.abs(t) * e_t) + e_s * o * slope
            e_d_c = SECOND * e_d_c + 5 * E * (np.abs(d_memory[rows]) + np.abs(s))
            factors = [  # d_gate = upstream * factor; and how far the factor is off
                (d_c, e_d_c, g * i * (1 - i), e_g * i * (1 - i) + np.abs(g * (1 - 2 * i)) * e_i + np.abs(g) * e_i**2),
                (d_c, e_d_c, c * f * (1 - f), of_c * f * (1 - f) + np.abs(c * (1 - 2 * f)) * e_f + np.abs(c) * e_f**2),
                (d_c, e_d_c, i * (1 - g * g), e_i * (1 - g * g) + 2 * i * np.abs(g) * e_g + i * e_g**2),
                (s, e_s, t * o * (1 - o), e_t * o * (1 - o) + np.abs(t * (1 - 2 * o)) * e_o + np.abs(t) * e_o**2),
            ]
            d_gates[rows] = np.concatenate([upstream * factor for upstream, _, factor, _ in factors], axis=1)
            carried = [np.abs(d) * e_factor + e_d * np.abs(factor) for d, e_d, factor, e_factor in factors]
            floats = [8 * E * np.abs(d) * np.maximum(np.abs(c), 1) for d, *_ in factors]
            off[rows] = SECOND * np.concatenate(carried, axis=1) + np.concatenate(floats, axis=1)
            off[rows] += self.u * (np.abs(d_gates[rows]) + off[rows]) + self.least
            if step:
                before, columns = self.steps[step - 1][: len(rows)], self.gates.shape[1]
                d_state[before] = d_gates[rows] @ self.weight_hidden
                e_state[before] = off[rows] @ np.abs(self.weight_hidden)
                e_state[before] += (columns + 1) * E * (np.abs(d_gates[rows]) @ np.abs(self.weight_hidden))
                d_memory[before], e_memory[before] = d_c * f, SECOND * (np.abs(d_c) * e_f + e_d_c * f) + E * np.abs(d_c)
        return d_gates, off


@every_dtype
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("inputs, width, recurrent", [(1, 1, 0.4), (5, 3, 0.4), (24, 40, 0.4), (1, 3, 0.0)])
def test_lstm(inputs, width, recurrent, lengths, reverse, dtype):
    """Bounds: see Errors.  Without recurrent weights, they are much closer: only c leads from step to step."""
    tokens = sum(lengths)
    arrays, d_h = arguments(tokens, inputs, width, dtype, recurrent), numbers(tokens, width, dtype=dtype, seed=9)
    h, cache = on_device(arrays, lengths, reverse)
    gradients = lstm.lstm_backward(device(d_h), cache)
    x, weight_input, weight_hidden, bias, d_h = exact(*arrays, d_h)
    expected, exact_cache = reference.lstm_forward(x, weight_input, weight_hidden, bias, running_sum(lengths), reverse)
    # in float64, `within` scales what is carried along from float32
    coarse = dtype in ("float16", "bfloat16")
    errors = Errors(exact_cache, ROUNDING[dtype] if coarse else E, NEAR_ZERO[dtype] if coarse else 0.0)
    of_h = errors.forward(bias)
    within(h, expected, of_h, tensor=dtype)

    d_gates, off = errors.backward(d_h)
    size, h_before, of_h_before = np.abs(d_gates), np.zeros_like(expected), np.zeros_like(expected)
    for step, rows in enumerate(errors.steps):
        h_before[rows], of_h_before[rows] = errors.before(step, errors.h), errors.before(step, of_h)
    many = (tokens + 8) * E
    expected = reference.lstm_backward(d_h, exact_cache)
    np.testing.assert_allclose(d_gates @ weight_input, expected[0], rtol=0, atol=1e-10)  # Errors has the same formulas
    carried = [
        off @ np.abs(weight_input) + (4 * width + 1) * E * (size @ np.abs(weight_input)),
        off.T @ np.abs(x) + many * (size.T @ np.abs(x)),
        off.T @ (np.abs(h_before) + of_h_before) + size.T @ of_h_before + many * (size.T @ np.abs(h_before)),
        off.sum(axis=0) + many * size.sum(axis=0),
    ]
    dtypes = dtype, *3 * [parameter_dtype(dtype)]
    for ours, gradient, error, of_result in zip(gradients, expected, carried, dtypes, strict=True):
        within(ours, gradient, error, of_result, tensor=dtype)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_the_same_bits_twice(dtype):
    lengths = (3, 9, 1, 9, 2)
    arrays, d_h = arguments(24, 5, 40, dtype), device(numbers(24, 40, dtype=dtype, seed=9))
    results = []
    for _ in range(2):
        h, cache = on_device(arrays, lengths, False)
        results.append(
            [host(a).tobytes() for a in (h, *lstm.lstm_backward(d_h, cache), *lstm.lstm_backward(d_h, cache))]
        )
    assert results[0] == results[1] and results[0][1:5] == results[0][5:]  # and the cache stays as it is


STEPS = 33


def one_cell(x, forget):
    """In bfloat16, a cell whose input and output gates are open, which adds tanh(x) to its memory in each step."""
    weights = np.array([[0], [0], [1], [0]]), np.zeros((4, 1))
    arrays = x[:, None], *weights, np.array([20, forget, 0, 20])
    return [array.astype(DTYPES["bfloat16"]) for array in arrays]


def test_a_sixteen_bit_cell_remembers_small_changes():
    """A memory to which each step adds a thousandth: in bfloat16, c would stay at its first value of 1."""
    arrays = one_cell(np.array([20, *[1e-3] * (STEPS - 1)]), forget=20)
    h, _ = on_device(arrays, (STEPS,), False)
    expected, _ = reference.lstm_forward(*exact(*arrays), running_sum((STEPS,)))
    assert expected[-1] > expected[0] + 0.01
    assert abs(exact(host(h))[-1, 0] / expected[-1, 0] - 1) < 2 * ROUNDING["bfloat16"]


def test_a_sixteen_bit_gradient_reaches_far_back():
    """A memory that fades by 0.25 % in each step: in bfloat16, 0.9975 is 0.9961, and the gradient fades faster."""
    arrays, d_h = one_cell(np.full(STEPS, 1e-2), forget=6), np.zeros((STEPS, 1), DTYPES["bfloat16"])
    d_h[-1] = 1
    _, cache = on_device(arrays, (STEPS,), False)
    d_x, *_ = lstm.lstm_backward(device(d_h), cache)
    _, exact_cache = reference.lstm_forward(*exact(*arrays), running_sum((STEPS,)))
    expected, *_ = reference.lstm_backward(exact(d_h), exact_cache)
    assert np.abs(exact(host(d_x)) / expected - 1).max() < 2 * ROUNDING["bfloat16"]


def test_lengths_on_the_host_need_no_wait():
    """On the device, they are copied to the host, once."""
    if not hasattr(cp, "no_synchronisation"):
        pytest.skip("only the emulator's stand-in for CuPy can tell")
    arrays = [device(a) for a in arguments(7, 3, 2, "float32")]
    cu_seqlens = running_sum((2, 1, 4))
    with cp.no_synchronisation():
        h, cache = lstm.lstm_forward(*arrays, cu_seqlens)
        lstm.lstm_backward(h, cache)
    before = cp.synchronisations.total()
    same, _ = lstm.lstm_forward(*arrays, device(cu_seqlens))
    assert cp.synchronisations.total() == before + 1
    assert np.array_equal(host(same), host(h))


def test_a_step_is_two_launches_at_most():
    """One kernel for each step; the rest does not depend on how many steps there are."""
    if not hasattr(cp, "launches"):
        pytest.skip("only the emulator's stand-in for CuPy can tell")
    counts = []
    for length in (3, 13):
        cp.launches.clear()
        h, cache = on_device(arguments(length, 3, 2, "float32"), (length,), False)
        lstm.lstm_backward(h, cache)
        counts.append(len(cp.launches))
    assert counts[1] - counts[0] == 2 * 10  # forward and backward


def test_a_sequence_without_tokens_is_refused():
    with pytest.raises(ValueError, match="a sequence has no tokens"):
        on_device(arguments(3, 3, 2, "float32"), (2, 0, 1), False)
