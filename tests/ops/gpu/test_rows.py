"""Looking up rows and adding up their gradients on the GPU, in every dtype, against the reference in float64."""

import numpy as np
import pytest

from minibert.ops import reference
from minibert.ops.gpu import embedding, rows, scatter
from tests.ops.gpu.helpers import (
    DTYPES,
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

SHAPES = [(0, 8), (1, 1), (1, 768), (9, 3), (33, 32), (130, 100), (70, 257)]
VOCABULARY, POSITIONS, SEGMENTS = 40, 16, 2


def some_ids(count, below, seed) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, below, count).astype(np.int32)


@every_dtype
@pytest.mark.parametrize("count, width", SHAPES)
def test_embedding(count, width, dtype):
    """y: two additions in float32.  A table's row: as many as there are tokens with that id, and the chunks' sums."""
    ids = [some_ids(count, n, i) for i, n in enumerate((VOCABULARY, POSITIONS, SEGMENTS))]
    tables = [numbers(n, width, dtype=dtype, seed=n) for n in (VOCABULARY, POSITIONS, SEGMENTS)]
    y, cache = embedding.embedding_forward(*(device(a) for a in (*ids, *tables)))
    expected, exact_cache = reference.embedding_forward(*ids, *exact(*tables))
    sizes, _ = reference.embedding_forward(*ids, *(np.abs(table) for table in exact(*tables)))
    within(y, expected, 2 * E * sizes, tensor=dtype)

    d_y, of_tables = numbers(count, width, dtype=dtype, seed=5), parameter_dtype(dtype)
    given = [numbers(n, width, dtype=of_tables, seed=n + 1) for n in (VOCABULARY, POSITIONS, SEGMENTS)]
    buffers = [device(g) for g in given]
    gradients = embedding.embedding_backward(device(d_y), cache)
    added = embedding.embedding_backward(device(d_y), cache, buffers)
    expected = reference.embedding_backward(exact(d_y), exact_cache)
    sizes = reference.embedding_backward(np.abs(exact(d_y)), exact_cache)
    for i in range(3):
        carried = (np.bincount(ids[i], minlength=len(given[i])).max(initial=0) + 8) * E * sizes[i]
        within(gradients[i], expected[i], carried, of_tables, tensor=dtype)
        before = exact(given[i])
        within(added[i], before + expected[i], carried + E * np.abs(before), of_tables, tensor=dtype)
        assert added[i] is buffers[i]


@every_dtype
@pytest.mark.parametrize("count, width", SHAPES)
def test_gather_rows(count, width, dtype):
    """The forward pass copies; the backward pass adds up in float32 and rounds once."""
    x, chosen = numbers(20, width, dtype=dtype), some_ids(count, 20, 1)
    y, cache = rows.gather_rows_forward(device(x), device(chosen))
    assert np.array_equal(host(y), x[chosen])
    d_y, before = numbers(count, width, dtype=dtype, seed=2), numbers(20, width, dtype=dtype, seed=3)
    expected = reference.gather_rows_backward(exact(d_y), (chosen, x.shape))
    sizes = reference.gather_rows_backward(np.abs(exact(d_y)), (chosen, x.shape))
    carried = (np.bincount(chosen, minlength=20).max(initial=0) + 8) * E * sizes
    within(rows.gather_rows_backward(device(d_y), cache), expected, carried, tensor=dtype)
    given = device(before)
    within(rows.gather_rows_backward(device(d_y), cache, given), exact(before) + expected, carried, tensor=dtype)
    assert host(given).tobytes() != before.tobytes() or not count


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 64])
@pytest.mark.parametrize(
    "ids",
    [
        [3],
        [3, 3, 3, 5, 5, 5, 7, 7, 7, 7, 7, 7, 7, 9, 9, 9],  # as in the picture in scatter.cu
        [2] * 13,  # one run in all chunks
        [0, 1, 2, 3, 4, 5, 6],  # no two alike
        [9, 0, 9, 0, 9, 0, 9, 0, 9, 0],
        [1, 1, 0, 0, 2, 2],  # runs that end where a chunk does
    ],
)
def test_runs_and_chunks_of_any_length(ids, chunk):
    d_y, ids = numbers(len(ids), 6, dtype="float64"), np.array(ids, np.int32)
    before = numbers(10, 6, dtype="float64", seed=1)
    table = device(before)
    scatter.scatter_add(device(d_y), device(ids), table, chunk)
    expected = before.copy()
    np.add.at(expected, ids, d_y)
    assert np.abs(host(table) - expected).max() < 1e-14
    assert np.array_equal(host(table)[~np.isin(np.arange(10), ids)], before[~np.isin(np.arange(10), ids)])


def test_sorted_positions_are_those_of_a_stable_sort():
    ids = some_ids(700, 9, 0)
    sorted_ids, positions = scatter.sorted_positions(device(ids), np.float32)
    order = np.argsort(ids, kind="stable")
    assert np.array_equal(host(positions), order) and np.array_equal(host(sorted_ids), ids[order])


@every_dtype
@pytest.mark.parametrize("lengths", [(1,), (3, 1, 5), (33, 64)])
@pytest.mark.parametrize("width", [1, 31, 96, 257])
def test_mean_pool(lengths, width, dtype):
    """As many roundings as a sequence has tokens, and the slices' sums; a division each way."""
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    x, d_y = numbers(sum(lengths), width, dtype=dtype), numbers(len(lengths), width, dtype=dtype, seed=1)
    y, cache = rows.mean_pool_forward(device(x), device(cu_seqlens))
    expected, exact_cache = reference.mean_pool_forward(exact(x), cu_seqlens)
    sizes, _ = reference.mean_pool_forward(np.abs(exact(x)), cu_seqlens)
    within(y, expected, (max(lengths) + 9) * E * sizes, tensor=dtype)
    expected = reference.mean_pool_backward(exact(d_y), exact_cache)
    within(rows.mean_pool_backward(device(d_y), cache), expected, E * np.abs(expected), tensor=dtype)


def test_the_mean_of_no_tokens_is_no_number_and_disturbs_nobody():
    """The other backends raise ValueError; this one cannot look at lengths without waiting for the device."""
    y, _ = rows.mean_pool_forward(cp.ones((3, 2), np.float32), device(np.array([0, 2, 2, 3], np.int32)))
    assert np.isnan(host(y)[1]).all() and (host(y)[[0, 2]] == 1).all()


def test_a_table_that_starts_between_two_vectors():
    d_y, ids = numbers(5, 8, dtype="float32"), some_ids(5, 3, 0)
    flat = cp.zeros(1 + 3 * 8, np.float32)
    table = flat[1:].reshape(3, 8)
    scatter.scatter_add(device(d_y), device(ids), table)
    expected = np.zeros((3, 8))
    np.add.at(expected, ids, d_y)
    assert np.abs(host(table) - expected).max() < 8 * ROUNDING["float32"] * 5 and host(flat)[0] == 0


def test_embedding_of_ids_in_int64():
    table = numbers(4, 3, dtype="float32")
    ids = device(np.array([3, 0, 3], np.int64))
    y, cache = embedding.embedding_forward(ids, ids, ids, *(device(table) for _ in range(3)))
    assert np.array_equal(host(y), table[[3, 0, 3]] * np.float32(3)) or np.allclose(host(y), 3 * table[[3, 0, 3]])
    assert DTYPES["float32"] == embedding.embedding_backward(y, cache)[0].dtype
