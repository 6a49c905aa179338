"""Every other backend against the reference: large and awkward shapes in float64, and fifty steps of training."""

import numpy as np
import pytest

from minibert.checks.gradients import SMALL
from minibert.checks.short_training import random_batch, small_config
from minibert.data.batch import running_sum
from minibert.models import BertForPreTraining
from minibert.nn import Sequences
from minibert.nn.sequences import layout
from minibert.ops import Dropout, load_backend
from minibert.training.optimizer import AdamW, AdamWSettings
from tests.objectives import run_backward, run_losses

CLOSE = 1e-10  # of a tensor's largest entry, in float64
KEY = (3, 9)


@pytest.fixture
def backend(other_backend):
    """Every backend but the reference; those that this machine lacks are skipped with the reason."""
    return other_backend


def agree(backend, op, inputs: dict, **fixed):
    """One op forward and backward on this backend and on the reference, with a random upstream gradient."""
    random, results = np.random.default_rng(7), []
    upstream = None
    for each in (backend, load_backend("reference")):
        arguments = {name: each.array(value) for name, value in inputs.items()}
        others = {name: on_backend(each, value) for name, value in fixed.items()}
        y, cache = getattr(each, f"{op}_forward")(**arguments, **others)
        if upstream is None:
            upstream = random.standard_normal(np.shape(y))
        gradients = getattr(each, f"{op}_backward")(each.array(upstream) if upstream.shape else 0.7, cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        results.append([each.numpy(a) for a in (y, *gradients)])
    largest = max(np.abs(expected).max(initial=0) for expected in results[1])
    for ours, expected in zip(*results, strict=True):
        assert ours.shape == expected.shape and ours.dtype == expected.dtype
        scale = max(np.abs(expected).max(initial=0), SMALL * largest)  # as in the gradient check
        assert np.abs(ours - expected).max(initial=0) <= CLOSE * scale


def on_backend(backend, value):
    """An argument of the host, an array or a Dropout with arrays, as that backend takes it."""
    if isinstance(value, Dropout):
        arrays = (backend.array(a, np.int32) for a in (value.sequences, value.positions))
        return Dropout(value.rate, value.key, value.site, *arrays)
    return backend.array(value) if isinstance(value, np.ndarray) else value


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("tokens, inputs, outputs", [(1, 70, 50), (513, 96, 33), (40, 33, 700), (0, 8, 5), (7, 1, 1)])
def test_linear(backend, tokens, inputs, outputs):
    values = dict(x=normal(tokens, inputs), weight=normal(outputs, inputs, seed=1), bias=normal(outputs, seed=2))
    agree(backend, "linear", values)


@pytest.mark.parametrize("tokens, width", [(1, 1), (129, 100), (64, 31), (65, 768)])
@pytest.mark.parametrize("rate", [0, 0.3])
def test_add_layernorm(backend, tokens, width, rate):
    numbers = np.arange(tokens)
    dropout = Dropout(rate, KEY, 77 << 8, numbers // 7, numbers % 7)
    values = dict(
        x=normal(tokens, width),
        residual=normal(tokens, width, seed=1),
        weight=normal(width, seed=2),
        bias=normal(width, seed=3),
    )
    agree(backend, "add_layernorm", values, eps=1e-12, dropout=dropout if rate else None)


@pytest.mark.parametrize("op", ["gelu", "gelu_tanh", "tanh"])
def test_activations(backend, op):
    agree(backend, op, dict(x=3 * normal(67, 129)))


@pytest.mark.parametrize("lengths", [(1,), (31, 32, 33), (127, 1, 128), (512, 3), (65, 64)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads, width, rate", [(2, 32, 0.0), (3, 20, 0.25)])
def test_attention(backend, lengths, causal, heads, width, rate):
    attention(backend, lengths, None, causal, heads, width, rate)


@pytest.mark.parametrize("rows", [(0, 5, 31, 33), (40, 41, 129), ()])
def test_attention_of_a_few_rows(backend, rows):
    """Some sequences have no row that asks, and in one case none has."""
    attention(backend, (31, 9, 90), rows, False, 2, 16, 0.25)


def attention(backend, lengths, rows, causal, heads, width, rate):
    cu_seqlens = running_sum(lengths)
    rows = np.arange(cu_seqlens[-1]) if rows is None else np.array(rows, int)
    queries = Sequences(*layout(rows, cu_seqlens, np.arange(len(lengths)) + 70_000))
    dropout = Dropout(rate, KEY, 5 << 8, queries.sequence_numbers, queries.positions) if rate else None
    query, key, value = (normal(n, heads * width, seed=i) for i, n in enumerate([len(rows)] + 2 * [cu_seqlens[-1]]))
    agree(
        backend,
        "attention",
        dict(query=query, key=key, value=value),
        heads=heads,
        cu_seqlens_q=queries.cu_seqlens,
        cu_seqlens_k=cu_seqlens,
        positions_q=queries.positions,
        causal=causal,
        dropout=dropout,
    )


@pytest.mark.parametrize("rows, size", [(1, 2), (70, 1000), (3, 17), (0, 9)])
def test_cross_entropy(backend, rows, size):
    labels = np.random.default_rng(1).integers(0, size, rows).astype(np.int32)
    agree(backend, "cross_entropy", dict(logits=4 * normal(rows, size)), labels=labels, count=max(rows, 1))


def test_embedding(backend):
    ids = [np.random.default_rng(i).integers(0, n, 500).astype(np.int32) for i, n in enumerate((300, 64, 2))]
    tables = [normal(n, 50, seed=n) for n in (300, 64, 2)]
    d_y, results = normal(500, 50), []
    for each in (backend, load_backend("reference")):
        y, cache = each.embedding_forward(*(each.array(array) for array in (*ids, *tables)))
        results.append([each.numpy(a) for a in (y, *each.embedding_backward(each.array(d_y), cache))])
    assert all(np.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(*results, strict=True))


def test_gradients_that_are_given_are_added_to(backend):
    """linear, embedding and gather_rows: in place, and by exactly what they return otherwise."""
    x, weight, bias, d_y = normal(9, 5), normal(4, 5, seed=1), normal(4, seed=2), normal(9, 4, seed=3)
    _, cache = backend.linear_forward(*(backend.array(a) for a in (x, weight, bias)))
    check_added(backend, backend.linear_backward, backend.array(d_y), cache, [x.shape, weight.shape, bias.shape])
    ids = [backend.array(np.array(i, np.int32)) for i in ([3, 1, 3], [0, 1, 2], [0, 0, 1])]
    tables = [normal(n, 6, seed=n) for n in (5, 3, 2)]
    _, cache = backend.embedding_forward(*ids, *(backend.array(table) for table in tables))
    check_added(backend, backend.embedding_backward, backend.array(normal(3, 6)), cache, [t.shape for t in tables])
    _, cache = backend.gather_rows_forward(backend.array(x), ids[0])
    check_added(backend, backend.gather_rows_backward, backend.array(normal(3, 5)), cache, [x.shape])


def check_added(backend, backward, d_y, cache, shapes):
    def as_list(gradients):
        return [backend.numpy(g) for g in (gradients if isinstance(gradients, tuple) else (gradients,))]

    alone = as_list(backward(d_y, cache))
    for chosen in range(len(shapes) + 1):  # each alone, and all together
        before = [normal(*shape, seed=9) for shape in shapes]
        given = [backend.array(b.copy()) if chosen in (i, len(shapes)) else None for i, b in enumerate(before)]
        result = backward(d_y, cache, accumulate_into=given if len(given) > 1 else given[0])
        result = result if isinstance(result, tuple) else (result,)
        for i, (array, gradient) in enumerate(zip(result, alone, strict=True)):
            if given[i] is None:
                assert np.allclose(backend.numpy(array), gradient, rtol=0, atol=1e-13)
            else:
                assert array is given[i]
                assert np.allclose(backend.numpy(array), before[i] + gradient, rtol=0, atol=1e-13)


def test_count_correct_is_argmax(backend):
    logits = np.round(2 * normal(200, 7)).astype(np.float32)  # with many ties
    labels = np.random.default_rng(3).integers(0, 7, 200).astype(np.int32)
    expected = (logits.argmax(axis=1) == labels).sum()
    assert int(backend.count_correct(backend.array(logits), backend.array(labels))) == expected
    assert 0 < expected < 200


STEPS = 50


def losses_of_training(backend, dtype):
    """The losses of fifty steps, with dropout, on two batches of ragged sequences that take turns."""
    config = small_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    model = BertForPreTraining(config, backend, dtype=dtype, seed=1)
    optimizer, losses = AdamW(model.parameters, AdamWSettings(beta2=0.98)), []
    for step in range(1, STEPS + 1):
        model.parameters.zero_gradients()
        total, cache = run_losses(model, random_batch(config, seed=step % 2), (1, step))
        run_backward(model, cache)
        optimizer.step(step, 2e-3)
        losses.append(float(total.total))
    return np.array(losses)


@pytest.fixture(scope="module")
def reference_losses():
    return {dtype: losses_of_training("reference", dtype) for dtype in ("float32", "float64")}


@pytest.mark.slow
def test_fifty_steps_in_float64_equal_the_references(backend, reference_losses):
    losses = losses_of_training(backend, "float64")
    assert losses[-1] < 0.9 * losses[0]  # it did train
    assert np.abs(losses / reference_losses["float64"] - 1).max() <= 1e-8


@pytest.mark.slow
def test_fifty_steps_in_float32_differ_no_more_than_rounding_does(backend, reference_losses):
    """Training amplifies rounding; so the bound is four times what it does to the reference itself."""
    gap = np.abs(reference_losses["float32"] - reference_losses["float64"]).max()
    losses = losses_of_training(backend, "float32")
    assert np.abs(losses - reference_losses["float64"]).max() <= 4 * gap
