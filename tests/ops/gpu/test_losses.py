"""Losses on the GPU, in every dtype, against the reference in float64."""

import math

import numpy as np
import pytest

from minibert.ops import reference
from minibert.ops.gpu import distances, losses
from tests.ops.gpu.helpers import (
    ROUNDING,
    E,
    cp,
    depth,
    device,
    every_dtype,
    exact,
    host,
    numbers,
    parameter_dtype,
    sixteen_bits,
    within,
)

ROWS = [(0, 9), (1, 2), (70, 2), (3, 17), (5, 1000), (2, 1031), (2, 3000), (1, 1)]
D_LOSSES = {"number": lambda dtype: 0.7, "on the device": lambda dtype: cp.full((), 0.7, parameter_dtype(dtype))}


def some_labels(rows, size):
    return np.random.default_rng(1).integers(0, size, rows).astype(np.int32)


def log_sum_error(logits):
    """How far the log-sum of each row [M] is off: exp is off by a few roundings, and by more for what is far below
    the highest (whose share is then small: x * exp(-x) < 1/2); the sum's roundings; the logarithm's; and the last one.
    """
    size = logits.shape[1]
    log_sums = np.abs(np.log(np.exp(logits).sum(axis=1)))
    return E * (depth(size) + 16 + 2 * np.log(size) + 2 * log_sums + 2 * np.abs(logits).max(axis=1, initial=0))


def loss_error(expected, of_rows, count):
    """That of a sum of rows' losses: the rows' own, and one rounding for each step of adding them up."""
    return of_rows.sum() / count + (depth(len(of_rows)) + 8) * E * np.abs(expected)


@every_dtype
@pytest.mark.parametrize("rows, size", ROWS)
@pytest.mark.parametrize("d_loss", D_LOSSES)
def test_cross_entropy(rows, size, d_loss, dtype):
    """d_logits = scale * (p - onehot); p = exp(logit - log_sum) is off by as much, relative, as its exponent."""
    logits, labels, count = numbers(rows, size, dtype=dtype, scale=3), some_labels(rows, size), rows + 3
    loss, cache = losses.cross_entropy_forward(device(logits), device(labels), count)
    d_logits = losses.cross_entropy_backward(D_LOSSES[d_loss](dtype), cache)
    expected, exact_cache = reference.cross_entropy_forward(exact(logits), labels, count)
    of_rows = log_sum_error(exact(logits))
    within(loss, expected, loss_error(expected, of_rows, count), parameter_dtype(dtype), tensor=dtype)
    expected = reference.cross_entropy_backward(0.7, exact_cache)
    p = np.exp(exact_cache[0])
    exponent = of_rows[:, None] + 2 * E * (np.abs(exact(logits)) + np.abs(exact_cache[0]) + 4)
    within(d_logits, expected, 0.7 / count * p * exponent + 4 * E * np.abs(expected), tensor=dtype)


@every_dtype
@pytest.mark.parametrize("rows, size", [(1, 1), (130, 17)])
def test_the_plain_cross_entropy_of_the_ladder(rows, size, dtype):
    logits, labels = numbers(rows, size, dtype=dtype, scale=3), some_labels(rows, size)
    of_rows, log_sums = (cp.empty(rows, parameter_dtype(dtype)) for _ in range(2))
    arguments = device(logits), device(labels), of_rows, log_sums, np.int32(rows), np.int32(size)
    losses.LOSSES.launch("cross_entropy_forward_plain<{T}>", logits.dtype, -(-rows // 128), 128, *arguments)
    log_probabilities = reference.cross_entropy_forward(exact(logits), labels, 1)[1][0]
    expected = -log_probabilities[np.arange(rows), labels]
    carried = (size + 16) / (depth(size) + 16) * log_sum_error(exact(logits))
    within(of_rows, expected, carried, parameter_dtype(dtype), tensor=dtype)


@pytest.mark.parametrize("size", [3, 3000])
def test_huge_and_infinite_logits(size):
    logits = np.full((4, size), -np.inf, np.float32)
    logits[0, :3] = 1e4, 0, -1e4
    logits[1, 2] = 5
    logits[2] = 0
    logits[3, 1], logits[3, 0] = np.nan, 1
    loss, cache = losses.cross_entropy_forward(device(logits[:3]), device(np.array([0, 2, 2], np.int32)), 1)
    assert float(host(loss)) == pytest.approx(math.log(size), rel=1e-6)
    d_logits = host(losses.cross_entropy_backward(1.0, cache))
    assert np.isfinite(d_logits).all() and d_logits[0, 0] == 0 and d_logits[2, 0] == pytest.approx(1 / size, rel=1e-5)
    loss, _ = losses.cross_entropy_forward(device(logits[3:]), device(np.array([0], np.int32)), 1)
    assert np.isnan(host(loss))


@every_dtype
@pytest.mark.parametrize("rows, size", [(0, 5), (200, 7), (40, 2), (3, 1500)])
def test_count_correct_is_argmax(rows, size, dtype):
    logits = np.round(exact(numbers(rows, size, dtype=dtype, scale=2))).astype(logits_dtype(dtype))  # with many ties
    labels = some_labels(rows, size)
    labels[: rows // 2] = exact(logits).argmax(axis=1)[: rows // 2]
    count = losses.count_correct(device(logits), device(labels))
    assert int(host(count)) == (exact(logits).argmax(axis=1) == labels).sum() >= rows // 2
    assert count.dtype.kind == "i" and count.shape == ()


def logits_dtype(dtype):
    return numbers(1, dtype=dtype).dtype


@every_dtype
@pytest.mark.parametrize("shape", [(0, 4), (1,), (3, 33), (5, 7, 11)])
@pytest.mark.parametrize("d_loss", D_LOSSES)
def test_mse(shape, d_loss, dtype):
    """A difference, its square, and the sum."""
    prediction, target, count = numbers(*shape, dtype=dtype), numbers(*shape, dtype=dtype, seed=1), 7
    loss, cache = distances.mse_forward(device(prediction), device(target), count)
    d_prediction = distances.mse_backward(D_LOSSES[d_loss](dtype), cache)
    expected, exact_cache = reference.mse_forward(*exact(prediction, target), count)
    carried = (depth(prediction.size) + 16) * E * expected
    within(loss, expected, carried, parameter_dtype(dtype), tensor=dtype)
    expected = reference.mse_backward(0.7, exact_cache)
    within(d_prediction, expected, 5 * E * np.abs(expected), tensor=dtype)


@every_dtype
@pytest.mark.parametrize("rows, size", ROWS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kl_divergence(rows, size, temperature, dtype):
    student, teacher = numbers(rows, size, dtype=dtype, scale=2), numbers(rows, size, dtype=dtype, seed=1, scale=2)
    loss, cache = distances.kl_divergence_forward(device(student), device(teacher), temperature, rows + 2)
    d_student = distances.kl_divergence_backward(0.7, cache)
    student, teacher = exact(student, teacher)
    expected, exact_cache = reference.kl_divergence_forward(student, teacher, temperature, rows + 2)
    log_student, log_teacher = exact_cache[0], np.log(np.maximum(exact_cache[1], 1e-300))
    p_student, p_teacher = np.exp(log_student), exact_cache[1]
    # the errors of both logarithms: of their log-sums, and of the scaled logits; the probability's is that of its
    # exponent, relative
    of_logs = [
        log_sum_error(logits / temperature)[:, None] + 4 * E * (np.abs(logits) / temperature + np.abs(log) + 4)
        for logits, log in ((student, log_student), (teacher, log_teacher))
    ]
    difference = np.abs(log_teacher - log_student)
    steps = (depth(size) + 8) * E
    of_rows = (p_teacher * (sum(of_logs) + (of_logs[1] + steps) * difference)).sum(axis=1)
    within(
        loss,
        expected,
        temperature**2 * loss_error(expected, of_rows, rows + 2),
        parameter_dtype(dtype),
        tensor=dtype,
    )
    expected = reference.kl_divergence_backward(0.7, exact_cache)
    carried = p_student * of_logs[0] + p_teacher * of_logs[1]
    scale = 0.7 * temperature / (rows + 2)
    within(d_student, expected, scale * carried + 4 * E * scale * (p_student + p_teacher), tensor=dtype)


@every_dtype
@pytest.mark.parametrize("rows, width", [(0, 8), (1, 1), (5, 3), (9, 100), (4, 257)])
@pytest.mark.parametrize("d_loss", D_LOSSES)
def test_cosine(rows, width, d_loss, dtype):
    """All terms are below 1: norms are off by half of their squares' roundings, unit vectors by that and a division."""
    x, target, count = numbers(rows, width, dtype=dtype), numbers(rows, width, dtype=dtype, seed=1), rows + 1
    loss, cache = distances.cosine_forward(device(x), device(target), count)
    d_x = distances.cosine_backward(D_LOSSES[d_loss](dtype), cache)
    expected, exact_cache = reference.cosine_forward(*exact(x, target), count)
    x_unit, target_unit, x_norm, cosine, _ = exact_cache
    steps = (2 * depth(width) + 8) * E
    of_rows = steps * (1 + np.abs(x_unit * target_unit).sum(axis=1))
    within(loss, expected, loss_error(expected, of_rows, count) + E * rows, parameter_dtype(dtype), tensor=dtype)
    expected = reference.cosine_backward(0.7, exact_cache)
    parts = np.abs(x_unit) * (np.abs(cosine) + of_rows[:, None] / E / (2 * depth(width) + 8)) + np.abs(target_unit)
    within(d_x, expected, 2 * steps * parts / x_norm * 0.7 / count, tensor=dtype)


@sixteen_bits
def test_a_loss_of_16_bit_logits_has_the_precision_of_float32(dtype):
    logits = numbers(9, 33, dtype=dtype)
    loss, _ = losses.cross_entropy_forward(device(logits), device(some_labels(9, 33)), 9)
    expected, _ = reference.cross_entropy_forward(exact(logits), some_labels(9, 33), 9)
    assert abs(float(host(loss)) / expected - 1) < 1e-5 < ROUNDING[dtype]


def test_targets_of_another_dtype_are_refused():
    with pytest.raises(TypeError, match="one dtype"):
        distances.mse_forward(cp.zeros(3, np.float32), cp.zeros(3, np.float64), 3)
