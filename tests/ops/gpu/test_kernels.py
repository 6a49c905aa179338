"""Every kernel but attention's: no race, no access out of bounds, the same bits in any order, coalesced access.

Each run calls an op forward and backward, at a width that has its rows aligned to vectors, and at one that has not.
"""

import numpy as np
import pytest

from minibert import emulator
from minibert.ops import AdamWStep
from minibert.ops.gpu import (
    activations,
    columns,
    distances,
    dropout,
    embedding,
    layernorm,
    linear,
    losses,
    lstm,
    optimizer,
    scatter,
)
from minibert.ops.gpu import rows as row_ops
from minibert.ops.gpu.kernels import sum_type
from tests.ops.gpu.helpers import (
    BFLOAT16,
    DTYPES,
    cp,
    device,
    dropout_of_rows,
    emulator_only,
    host,
    numbers,
    slow,
    thorough,
)

pytestmark = emulator_only
ROWS = 9
WIDTHS = {"aligned": 40, "not aligned": 37}


def normal(dtype, *shape, seed=0):
    return device(numbers(*shape, dtype=dtype, seed=seed))


def ids(count, below, seed=0):
    return device(np.random.default_rng(seed).integers(0, below, count).astype(np.int32))


def run_activations(dtype, rows, width):
    for name in ("gelu", "gelu_tanh", "tanh"):
        y, cache = getattr(activations, f"{name}_forward")(normal(dtype, rows, width))
        yield y
        yield getattr(activations, f"{name}_backward")(normal(dtype, rows, width, seed=1), cache)


def run_dropout(dtype, rows, width):
    yield dropout.dropout_forward(normal(dtype, rows, width), dropout_of_rows(rows)[0])[0]


def run_layernorm(dtype, rows, width):
    for drops in (None, dropout_of_rows(rows)[0]):
        inputs = [normal(dtype, *shape, seed=i) for i, shape in enumerate([(rows, width)] * 2 + [(width,)] * 2)]
        y, cache = layernorm.add_layernorm_forward(*inputs, 1e-5, drops)
        yield y
        yield from layernorm.add_layernorm_backward(normal(dtype, rows, width, seed=4), cache)


def run_plain_layernorm(dtype, rows, width):
    x, weight, bias = (normal(dtype, *shape) for shape in ((rows, width), (width,), (width,)))
    y, eps = cp.empty(x.shape, x.dtype), sum_type(x.dtype)(1e-5)
    arguments = x, weight, bias, y, np.int64(rows), np.int32(width), eps
    layernorm.LAYERNORM.launch("layernorm_forward_plain<{T}>", x.dtype, 1, 128, *arguments)
    yield y


def run_linear(dtype, rows, width):
    x, weight, bias = (normal(dtype, *shape) for shape in ((rows, 5), (width, 5), (width,)))
    y, cache = linear.linear_forward(x, weight, bias)
    yield y
    buffers = [cp.zeros(a.shape, t) for a, t in ((x, x.dtype), (weight, sum_type(x.dtype)), (bias, sum_type(x.dtype)))]
    yield from linear.linear_backward(normal(dtype, rows, width, seed=1), cache, buffers)


def run_columns(dtype, rows, width):
    yield columns.column_sums(normal(dtype, columns.SLAB + rows, width))  # two slabs


def run_embedding(dtype, rows, width):
    tables = [normal(dtype, n, width) for n in (12, 5, 2)]
    y, cache = embedding.embedding_forward(ids(rows, 12), ids(rows, 5), ids(rows, 2), *tables)
    yield y
    yield from embedding.embedding_backward(normal(dtype, rows, width), cache)


def run_scatter(dtype, rows, width):
    for of_table in (DTYPES[dtype], sum_type(DTYPES[dtype])):
        for chunk in (2, 3):
            table = cp.zeros((3, width), of_table)
            scatter.scatter_add(normal(dtype, rows, width), ids(rows, 3), table, chunk)
            yield table
    # a table sixteen bytes behind a multiple of 32, as parameters may lie in a flat buffer
    flat = cp.zeros(4 + 3 * width, np.float32)
    if dtype != "float64":
        scatter.scatter_add(normal(dtype, rows, width), ids(rows, 3), flat[4:].reshape(3, width))
    yield flat


def run_gather_rows(dtype, rows, width):
    y, cache = row_ops.gather_rows_forward(normal(dtype, 6, width), ids(rows, 6))
    yield y
    yield row_ops.gather_rows_backward(y, cache)


def run_mean_pool(dtype, rows, width):
    cu_seqlens = device(np.array([0, 1, rows], np.int32))
    y, cache = row_ops.mean_pool_forward(normal(dtype, rows, width), cu_seqlens)
    yield y
    yield row_ops.mean_pool_backward(y, cache)


def run_lstm(dtype, rows, width):
    """Sequences that end at different steps; several blocks in the first step where there are many rows."""
    cu_seqlens = np.array([0, rows // 2, rows - 1, rows], np.int32)
    shapes = (rows, width), (4 * width, width), (4 * width, width), (4 * width,)
    arguments = [normal(dtype, *shape, seed=i) for i, shape in enumerate(shapes)]
    h, cache = lstm.lstm_forward(*arguments, cu_seqlens, reverse=True)
    yield h
    yield from lstm.lstm_backward(normal(dtype, rows, width, seed=4), cache)


def run_losses(dtype, rows, width):
    for size in (width, losses.SHORT + width):  # a warp for each row, and a block
        logits, labels = normal(dtype, 2, size), ids(2, size)
        loss, cache = losses.cross_entropy_forward(logits, labels, 2)
        yield loss
        yield losses.cross_entropy_backward(0.5, cache)
        yield losses.count_correct(logits, labels)
        loss, cache = distances.kl_divergence_forward(logits, normal(dtype, 2, size, seed=1), 2.0, 2)
        yield loss
        yield distances.kl_divergence_backward(0.5, cache)


def run_plain_losses(dtype, rows, width):
    of_rows, log_sums = cp.empty(rows, sum_type(DTYPES[dtype])), cp.empty(rows, sum_type(DTYPES[dtype]))
    arguments = normal(dtype, rows, width), ids(rows, width), of_rows, log_sums, np.int32(rows), np.int32(width)
    losses.LOSSES.launch("cross_entropy_forward_plain<{T}>", DTYPES[dtype], 1, 128, *arguments)
    yield from (of_rows, log_sums)


def run_distances(dtype, rows, width):
    x, target = normal(dtype, rows, width), normal(dtype, rows, width, seed=1)
    for name in ("mse", "cosine"):
        loss, cache = getattr(distances, f"{name}_forward")(x, target, rows)
        yield loss
        yield getattr(distances, f"{name}_backward")(0.5, cache)


def run_optimizer(dtype, rows, width):
    wide = np.dtype(sum_type(DTYPES[dtype])).name
    buffers = [normal(wide, rows * width, seed=i) for i in range(3)]
    buffers += [buffers[0] * buffers[0], device(np.arange(rows * width) % 3 == 0)]
    norm, scale, good = optimizer.global_norm(buffers[1]), cp.full((), 2.0, wide), cp.zeros((), np.int32)
    yield norm
    step = AdamWStep(learning_rate=0.1, beta1=0.9, beta2=0.99, eps=1e-6, weight_decay=0.1, max_norm=1.0)
    copy = cp.empty(rows * width, DTYPES[dtype]) if DTYPES[dtype].itemsize == 2 else None
    optimizer.adamw(*buffers, step, norm, gradient_scale=scale, copy=copy)
    yield from buffers[:4]
    if copy is not None:
        yield copy
    if wide == "float32":
        optimizer.update_scale(scale, good, norm, 1)
        yield scale


RUNS = {name.removeprefix("run_"): run for name, run in globals().copy().items() if name.startswith("run_")}
every_run = pytest.mark.parametrize("run", RUNS)
every_width = pytest.mark.parametrize("width", WIDTHS)


@pytest.mark.parametrize("dtype", ["float32", slow("float16"), *map(thorough, ("bfloat16", "float64"))])
@every_width
@every_run
def test_check_mode_finds_nothing(run, width, dtype):
    with emulator.checking():
        for array in RUNS[run](dtype, ROWS, WIDTHS[width]):
            assert np.isfinite(host(array).astype(np.float64)).all()


@pytest.mark.parametrize("dtype", ["float32", BFLOAT16])
@every_width
@every_run
def test_the_order_of_threads_and_blocks_changes_no_bit(run, width, dtype):
    results = []
    for order in ("forward", "reverse", "random"):
        with emulator.ordered(order, seed=3):
            results.append([host(array) for array in RUNS[run](dtype, 3 * ROWS, WIDTHS[width])])
    for forward, *others in zip(*results, strict=True):
        assert all(other.tobytes() == forward.tobytes() for other in others)


# A row that is not aligned begins anywhere in a sector: 32 numbers of 16 bits then lie in three sectors, not in two.
@pytest.mark.slow
@pytest.mark.parametrize("width, factor", [(256, 1.05), (257, 1.5)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@every_run
def test_access_is_coalesced_and_meets_no_bank_twice(run, dtype, width, factor):
    with emulator.counting() as counts:
        list(RUNS[run](dtype, ROWS, width))
    assert counts
    for kernel, count in counts.items():
        share = count.sectors / count.least_sectors
        if "plain" in kernel:  # the first step of a ladder: what the others are better than
            assert share > 3
        else:
            assert share <= factor, f"{kernel}\n{counts}"
        assert count.bank_conflicts == 0, f"{kernel}\n{counts}"
