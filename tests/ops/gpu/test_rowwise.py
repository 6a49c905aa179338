"""Activations, dropout, layer norm and linear layers on the GPU, in every dtype, against the reference in float64."""

import numpy as np
import pytest

from minibert.ops import reference
from minibert.ops.gpu import activations, columns, dropout, layernorm, linear, products
from tests.ops.gpu.helpers import (
    DTYPES,
    ROUNDING,
    E,
    cp,
    depth,
    device,
    dropout_of_rows,
    every_dtype,
    exact,
    host,
    numbers,
    parameter_dtype,
    within,
)

WIDTHS = [1, 3, 31, 32, 33, 100, 127, 128, 257, 512, 768]


@every_dtype
@pytest.mark.parametrize("op", ["gelu", "gelu_tanh", "tanh"])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 7), (33, 257)])
def test_activations(op, shape, dtype):
    """Their values lie between 0 and x, their slopes below 1.2.

    erf, exp and tanh are off by at most 4 roundings, and a few operations follow: 16 roundings of a number below |x|.
    The slope has a term x * density(x) < 1/4, and an error of the density that grows like x * x / 2, which the density
    itself makes small: 32 roundings.
    """
    x, d_y = numbers(*shape, dtype=dtype, scale=3), numbers(*shape, dtype=dtype, seed=1)
    y, cache = getattr(activations, f"{op}_forward")(device(x))
    d_x = getattr(activations, f"{op}_backward")(device(d_y), cache)
    expected, exact_cache = getattr(reference, f"{op}_forward")(exact(x))
    within(y, expected, 16 * E * np.abs(exact(x)), tensor=dtype)
    carried = 32 * E * np.abs(exact(d_y))
    if op == "tanh":  # the backward pass reads y, rounded: 1 - y * y moves by 2 * |y| * its error
        carried = carried + np.abs(exact(d_y)) * 2 * np.abs(expected) * ROUNDING[dtype]
    within(d_x, getattr(reference, f"{op}_backward")(exact(d_y), exact_cache), carried, tensor=dtype)


@every_dtype
@pytest.mark.parametrize("rows, width", [(0, 8), (1, 1), (9, 8), (5, 13), (3, 100), (2, 257), (17, 768)])
def test_dropout_drops_the_references_bits(rows, width, dtype):
    x = numbers(rows, width, dtype=dtype) + DTYPES[dtype].type(8)  # no zeros
    on_device, on_host = dropout_of_rows(rows)
    y, cache = dropout.dropout_forward(device(x), on_device)
    expected, _ = reference.dropout_forward(exact(x), on_host)
    assert np.array_equal(exact(host(y)) == 0, expected == 0)
    within(y, expected, 2 * E * np.abs(expected), tensor=dtype)  # the scale is rounded, and the product
    assert np.array_equal(host(dropout.dropout_backward(device(x), cache)), host(y))


def norm_error(summed, rstd, x_hat):
    """How far x_hat is off in float32: roundings of sum, mean and variance, in units of the row's spread."""
    steps = depth(x_hat.shape[1]) + 8
    return E * steps * (np.abs(summed).max(axis=1, keepdims=True) * rstd + 2 * np.abs(x_hat))


@every_dtype
@pytest.mark.parametrize("rows, width", [(0, 32), (1, 768), *((5, width) for width in WIDTHS), (70, 33), (130, 64)])
@pytest.mark.parametrize("rate", [None, 0.0, 0.3])
def test_add_layernorm(rows, width, rate, dtype):
    """Each bound is the derivative of the formula times the error of what goes into it.

    x_hat is kept in the tensor's dtype: its error h is one rounding and what came before.  With g = d_y * weight,
    d_x = rstd * (g - mean(g) - x_hat * mean(g * x_hat)).
    """
    x, residual = numbers(rows, width, dtype=dtype), numbers(rows, width, dtype=dtype, seed=1)
    weight, bias = numbers(width, dtype=dtype, seed=2), numbers(width, dtype=dtype, seed=3)
    d_y = numbers(rows, width, dtype=dtype, seed=4)
    on_device, on_host = (None, None) if rate is None else dropout_of_rows(rows, rate)
    eps = 1e-12 if dtype in ("float32", "float64") else 1e-5
    y, cache = layernorm.add_layernorm_forward(*(device(a) for a in (x, residual, weight, bias)), eps, on_device)
    gradients = layernorm.add_layernorm_backward(device(d_y), cache)
    x, residual, weight, bias, d_y = exact(x, residual, weight, bias, d_y)
    expected, exact_cache = reference.add_layernorm_forward(x, residual, weight, bias, eps, on_host)
    (x_hat, rstd, _), _ = exact_cache
    summed = residual + (x if on_host is None else reference.dropout_forward(x, on_host)[0])
    before = norm_error(summed, rstd, x_hat)  # [N, H]
    within(y, expected, before * np.abs(weight) + E * np.abs(bias), tensor=dtype)

    d_x, d_residual, d_weight, d_bias = reference.add_layernorm_backward(d_y, exact_cache)
    h = before + ROUNDING[dtype] * np.abs(x_hat)  # [N, H]
    g, steps = np.abs(d_y * weight), depth(width) + 8
    mean, mean_product = (a.mean(axis=1, keepdims=True) for a in (g, g * np.abs(x_hat)))
    mean_h = (g * h).mean(axis=1, keepdims=True)
    carried = rstd * (
        (steps * E) * (g + mean + 2 * np.abs(x_hat) * mean_product) + h * mean_product + np.abs(x_hat) * mean_h
    )
    # the error of rstd itself, relative: that of the spread
    carried = carried + np.abs(d_residual) * before.max(axis=1, initial=0, keepdims=True)
    scale = 1 if on_host is None else on_host.scale * (1 + 2 * E)
    within(gradients[0], d_x, scale * carried, tensor=dtype)
    within(gradients[1], d_residual, carried, tensor=dtype)
    of_parameters = parameter_dtype(dtype)
    many = (rows + 8) * E
    carried = (np.abs(d_y) * h).sum(axis=0) + many * np.abs(d_y * x_hat).sum(axis=0)
    within(gradients[2], d_weight, carried, of_parameters, tensor=dtype)
    within(gradients[3], d_bias, many * np.abs(d_y).sum(axis=0), of_parameters, tensor=dtype)


@every_dtype
def test_layernorm_is_add_layernorm_without_a_residual(dtype):
    x, d_y = numbers(9, 40, dtype=dtype), numbers(9, 40, dtype=dtype, seed=1)
    weight, bias = numbers(40, dtype=dtype, seed=2), numbers(40, dtype=dtype, seed=3)
    y, cache = layernorm.layernorm_forward(*(device(a) for a in (x, weight, bias)), 1e-5)
    zeros = device(np.zeros_like(x))
    same, same_cache = layernorm.add_layernorm_forward(device(x), zeros, device(weight), device(bias), 1e-5)
    assert np.array_equal(host(y), host(same)) and np.abs(exact(host(y))).max() > 1
    d_x, *rest = layernorm.layernorm_backward(device(d_y), cache)
    same_d_x, _, *same_rest = layernorm.add_layernorm_backward(device(d_y), same_cache)
    for ours, expected in zip((d_x, *rest), (same_d_x, *same_rest), strict=True):
        assert np.array_equal(host(ours), host(expected))


@every_dtype
@pytest.mark.parametrize("rows, width", [(1, 1), (130, 33)])
def test_the_plain_layernorm_of_the_ladder(rows, width, dtype):
    x, weight, bias = (numbers(*s, dtype=dtype, seed=i) for i, s in enumerate([(rows, width), (width,), (width,)]))
    y, accumulate = cp.empty(x.shape, x.dtype), np.dtype(parameter_dtype(dtype)).type
    arguments = *(device(a) for a in (x, weight, bias)), y, np.int64(rows), np.int32(width), accumulate(1e-5)
    layernorm.LAYERNORM.launch("layernorm_forward_plain<{T}>", x.dtype, -(-rows // 128), 128, *arguments)
    x, weight, bias = exact(x, weight, bias)
    expected, (x_hat, rstd, _) = reference.layernorm_forward(x, weight, bias, 1e-5)
    one_by_one = (width + 8) / (depth(width) + 8)  # a single thread adds up all features
    carried = one_by_one * norm_error(x, rstd, x_hat) * np.abs(weight) + E * np.abs(bias)
    within(y, expected, carried, tensor=dtype)


def test_layernorm_of_a_row_far_from_zero_keeps_its_variance():
    """A mean of 1000 and a deviation of 1: mean(x * x) - mean(x)**2 would lose it in float32."""
    x = numbers(3, 96, dtype="float32") + np.float32(1000)
    ones, zeros = np.ones(96, np.float32), np.zeros(96, np.float32)
    y, _ = layernorm.layernorm_forward(device(x), device(ones), device(zeros), 1e-12)
    expected, (x_hat, rstd, _) = reference.layernorm_forward(*exact(x, ones, zeros), 1e-12)
    within(y, expected, norm_error(exact(x), rstd, x_hat))


def test_wide_rows_have_fewer_warps():
    assert layernorm.warps_and_scratch(768, np.float32) == (4, 4 * 768 * 4)
    assert layernorm.warps_and_scratch(3, np.float32) == (4, 4 * 32 * 4)
    assert layernorm.warps_and_scratch(12288, DTYPES["bfloat16"]) == (1, 48 * 1024)
    x = numbers(3, 5000, dtype="float32")  # two rows a block
    assert layernorm.warps_and_scratch(5000, x.dtype)[0] == 2
    y, _ = layernorm.layernorm_forward(*(device(a) for a in (x, x[0], x[1])), 1e-12)
    expected, (x_hat, rstd, _) = reference.layernorm_forward(*exact(x, x[0], x[1]), 1e-12)
    within(y, expected, norm_error(exact(x), rstd, x_hat) * np.abs(x[0]) + E * np.abs(x[1]))


LINEAR = [(1, 1, 1), (31, 33, 100), (5, 100, 33), (127, 8, 3), (0, 8, 5), (3, 257, 768)]


@every_dtype
@pytest.mark.parametrize("rows, inputs, outputs", LINEAR)
def test_linear(rows, inputs, outputs, dtype):
    """A product of k terms is off by k roundings in float32 of the sum of their sizes, and is then rounded once."""
    x, weight = numbers(rows, inputs, dtype=dtype), numbers(outputs, inputs, dtype=dtype, seed=1)
    bias, d_y = numbers(outputs, dtype=dtype, seed=2), numbers(rows, outputs, dtype=dtype, seed=3)
    y, cache = linear.linear_forward(device(x), device(weight), device(bias))
    gradients = linear.linear_backward(device(d_y), cache)
    given = [numbers(*g.shape, dtype=g.dtype.name, seed=9) for g in gradients]
    buffers = [device(g) for g in given]
    added = linear.linear_backward(device(d_y), cache, buffers)
    assert all(a is b for a, b in zip(added, buffers, strict=True))

    u = ROUNDING[dtype]
    x, weight, bias, d_y = exact(x, weight, bias, d_y)

    def error(a, b):  # of the product a @ b, before it is rounded to its dtype
        return (a.shape[1] + 1) * E * (np.abs(a) @ np.abs(b))

    in_product = error(x, weight.T) + u * np.abs(x @ weight.T)  # which is rounded before the bias is added
    within(y, x @ weight.T + bias, (1 + u) * in_product + E * np.abs(bias), tensor=dtype)
    expected = d_y @ weight, d_y.T @ x, d_y.sum(axis=0)
    carried = error(d_y, weight), error(d_y.T, x), (rows + 8) * E * np.abs(d_y).sum(axis=0)
    dtypes = dtype, parameter_dtype(dtype), parameter_dtype(dtype)
    for i in range(3):
        within(gradients[i], expected[i], carried[i], dtypes[i], tensor=dtype)
        before = exact(given[i])
        within(added[i], before + expected[i], (1 + u) * carried[i] + E * np.abs(before), dtypes[i], tensor=dtype)


@every_dtype
@pytest.mark.parametrize("rows, width", [(0, 3), (1, 1), (64, 31), (65, 256), (200, 40)])
def test_column_sums(rows, width, dtype):
    """One slab and several: a term goes through no more roundings than there are rows and slices."""
    x = numbers(rows, width, dtype=dtype)
    before = numbers(width, dtype=parameter_dtype(dtype), seed=1)
    expected, carried = exact(x).sum(axis=0), (rows + 8) * E * np.abs(exact(x)).sum(axis=0)
    within(columns.column_sums(device(x)), expected, carried, parameter_dtype(dtype), tensor=dtype)
    out = columns.column_sums(device(x), device(before))
    within(out, exact(before) + expected, carried + E * np.abs(before), parameter_dtype(dtype), tensor=dtype)


def test_buffers_that_do_not_fit_are_refused():
    x, weight, bias = (device(numbers(*s, dtype="float16")) for s in ((3, 4), (2, 4), (2,)))
    y, cache = linear.linear_forward(x, weight, bias)
    with pytest.raises(TypeError, match="float32"):
        linear.linear_backward(y, cache, (None, cp.zeros((2, 4), np.float16), None))
    with pytest.raises(ValueError, match="shape"):
        linear.linear_backward(y, cache, (None, None, cp.zeros(3, np.float32)))
    with pytest.raises(TypeError, match="one dtype"):
        linear.linear_forward(x, weight, bias.astype(np.float32))
    with pytest.raises(TypeError, match="int32"):
        activations.gelu_forward(cp.zeros(3, np.int32))


@every_dtype
def test_views_of_a_larger_array(dtype):
    """Some of its columns; its transpose; and numbers that start between two vectors."""
    big = numbers(6, 24, dtype=dtype)
    views = lambda array: (array[1:5, 3:19], array.T[:9, :4], array.reshape(-1)[1:65])  # noqa: E731
    for on_device, on_host in zip(views(device(big)), views(big), strict=True):
        y, _ = activations.tanh_forward(on_device)
        expected, _ = activations.tanh_forward(device(np.ascontiguousarray(on_host)))
        assert np.array_equal(host(y), host(expected))


@every_dtype
@pytest.mark.parametrize("n, k, m", [(1, 1, 1), (3, 5, 2), (16, 8, 33), (4, 0, 3), (0, 3, 2)])
@pytest.mark.parametrize("transposed_a, transposed_b", [(False, False), (True, False), (False, True), (True, True)])
def test_product(n, k, m, transposed_a, transposed_b, dtype):
    """Of matrices and transposes, into a new array, into one that is there, and added to it; in both result types."""
    a, b = numbers(n, k, dtype=dtype), numbers(k, m, dtype=dtype, seed=1)
    on_device = [
        device(np.ascontiguousarray(x.T)).T if transposed else device(x)
        for x, transposed in ((a, transposed_a), (b, transposed_b))
    ]
    a, b = exact(a, b)
    carried = (k + 1) * E * (np.abs(a) @ np.abs(b))
    within(products.product(*on_device), a @ b, carried, tensor=dtype)
    for result in {dtype, parameter_dtype(dtype)}:
        before = numbers(n, m, dtype=result, seed=2)
        replaced, added = device(before), device(before)
        assert products.product(*on_device, replaced) is replaced
        within(replaced, a @ b, carried, result, tensor=dtype)
        products.product(*on_device, added, add=True)
        within(added, exact(before) + a @ b, carried + E * np.abs(exact(before)), result, tensor=dtype)


def test_products_that_do_not_fit_are_refused():
    a, b = (device(numbers(*shape, dtype="float32")) for shape in ((4, 3), (3, 6)))
    with pytest.raises(ValueError, match="cannot multiply"):
        products.product(a, a)
    with pytest.raises(ValueError, match="cannot multiply"):
        products.product(a, b, cp.zeros((6, 4), np.float32))
    with pytest.raises(ValueError, match="contiguous matrices"):
        products.product(a, b[:, ::2])


def test_tf32_rounds_the_inputs_of_products():
    x, weight = (numbers(*shape, dtype="float32", seed=i) for i, shape in enumerate([(5, 64), (7, 64)]))
    try:
        products.use_tf32(True)
        rounded = exact(host(products.product(device(x), device(weight).T)))
    finally:
        products.use_tf32(False)
    expected = exact(x) @ exact(weight).T
    sizes = np.abs(exact(x)) @ np.abs(exact(weight)).T
    error = np.abs(rounded - expected)
    # each input is off by one rounding to 11 bits; without, by no more than the sum's roundings in float32
    assert (error <= 2.5 * 2.0**-11 * sizes).all()
    assert (np.abs(exact(host(products.product(device(x), device(weight).T))) - expected) <= 65 * E * sizes).all()
    assert error.max() > 65 * E * sizes.max()
