"""Losses, pooling and the error function against their formulas, number by number, in plain Python."""

import math

import numpy as np
import pytest

from minibert.data.batch import running_sum
from minibert.ops.reference.normal import erf


def arrays(backend, *shape, how_many=2, seed=0):
    """Random float64 arrays, each for the backend and as nested lists."""
    random = np.random.default_rng(seed)
    made = [2 * random.standard_normal(shape) for _ in range(how_many)]
    return [backend.array(array) for array in made], [array.tolist() for array in made]


def softmax(row):
    return [math.exp(x) / sum(math.exp(other) for other in row) for x in row]


def norm(row):
    return math.sqrt(sum(x * x for x in row))


@pytest.mark.parametrize("count", [12, 20])
def test_mse_is_the_sum_of_squares_over_count(backend, count):
    given, (prediction, target) = arrays(backend, 4, 3)
    squares = [(p - t) ** 2 for ps, ts in zip(prediction, target, strict=True) for p, t in zip(ps, ts, strict=True)]
    loss, _ = backend.mse_forward(*given, count)
    assert float(loss) == pytest.approx(sum(squares) / count, rel=1e-14)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_kl_divergence_is_that_of_the_softened_distributions_times_the_squared_temperature(backend, temperature):
    given, (student, teacher) = arrays(backend, 4, 7)
    expected = 0.0
    for s, t in zip(student, teacher, strict=True):
        q, p = softmax([x / temperature for x in s]), softmax([x / temperature for x in t])
        expected += sum(pi * math.log(pi / qi) for pi, qi in zip(p, q, strict=True))
    loss, _ = backend.kl_divergence_forward(*given, temperature, 5)
    assert float(loss) == pytest.approx(expected * temperature**2 / 5, rel=1e-13)


def test_kl_divergence_of_equal_distributions_is_zero_and_huge_logits_do_no_harm(backend):
    logits = backend.array(np.array([[1e4, 0.0, -1e4], [3.0, 2.0, 1.0]]))
    moved = backend.array(np.array([[1e4, 0.0, -1e4], [103.0, 102.0, 101.0]]))  # a softmax knows no common offset
    assert float(backend.kl_divergence_forward(logits, moved, 2.0, 2)[0]) == pytest.approx(0.0, abs=1e-14)


def test_cosine_is_one_minus_the_cosine_of_each_row(backend):
    given, (x, target) = arrays(backend, 4, 3)
    cosines = [
        sum(a * b for a, b in zip(row, other, strict=True)) / (norm(row) * norm(other))
        for row, other in zip(x, target, strict=True)
    ]
    loss, _ = backend.cosine_forward(*given, 6)
    assert float(loss) == pytest.approx(sum(1 - cosine for cosine in cosines) / 6, rel=1e-13)


@pytest.mark.parametrize("factor, expected", [(3.0, 0.0), (-0.5, 2.0)])
def test_cosine_asks_for_the_direction_alone(backend, factor, expected):
    (x,), _ = arrays(backend, 4, 3, how_many=1)
    assert float(backend.cosine_forward(x, factor * x, 4)[0]) == pytest.approx(expected, abs=1e-14)


def test_mean_pool_is_the_mean_of_each_sequence(backend):
    lengths = (3, 1, 5)
    (x,), (rows,) = arrays(backend, 9, 4, how_many=1)
    y, _ = backend.mean_pool_forward(x, backend.array(running_sum(lengths)))
    own = [rows[:3], rows[3:4], rows[4:]]
    expected = [[sum(column) / len(part) for column in zip(*part, strict=True)] for part in own]
    assert np.allclose(backend.numpy(y), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype, bound", [("float64", 1e-15), ("float32", 3e-7)])
def test_erf_keeps_the_bound_that_it_states(dtype, bound):
    random = np.random.default_rng(0)
    pieces = np.linspace(-7, 7, 20_001), 10 ** random.uniform(-30, 2, 2000), [0.0, 1e-300, 30.0, 1e10]
    x = np.concatenate([*pieces, -np.abs(np.concatenate(pieces))]).astype(dtype)
    y = erf(x)
    assert y.dtype == dtype
    assert np.abs(y - [math.erf(value) for value in x.tolist()]).max() <= bound


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_erf_at_infinity_zero_and_nan(dtype):
    y = erf(np.array([np.inf, -np.inf, 0.0, -0.0, np.nan], dtype))
    assert y[:2].tolist() == [1, -1] and np.isnan(y[4])
    assert np.abs(y[2:4]).max() <= (1e-15 if dtype == "float64" else 3e-7)
    assert np.signbit(y[:4]).tolist() == [False, True, False, True]  # an odd function, at zero too
