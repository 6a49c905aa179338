"""Attention on tensor cores, with wmma and with mma.sync, in float16 and bfloat16, against the reference in float64.

How far may a result be off?  u is the largest relative error of rounding to the dtype, t the largest absolute one near
zero, e that of float32.  Tensor cores multiply exactly and add up in float32.  So with |x| for the size of each entry:

    scores          a product of D terms, and exp doubles errors near the top:
                    x = (D + 4) e |q| @ |k|.T / sqrt(D) + 4 e (|scores| + |log_sums|)
    weights         exp(score - maximum), at most 1, off by x relative, then rounded to 16 bits: u relative, or t
    context         the sum of rounded weights times values, over the sum of unrounded weights:
                    (u + x) dropped @ |v| + t mask @ |v|; x also has the additions in float32, one for each key
    d_value         the same sum over queries
    d_dropped       exact products, D terms: (D + 2) e |d_context| @ |v|.T
    delta           d_context . context: given by the test in float32, from the context that the kernel rounded
    d_scores        p (mask d_dropped - delta), p and both terms off as above, then rounded to 16 bits: u relative, or t
    d_query, d_key  sums of rounded d_scores times keys and queries

and each result is rounded once more at the end (`within` in helpers.py does that).
"""

from contextlib import nullcontext

import numpy as np
import pytest

from minibert import emulator
from minibert.ops import Dropout
from minibert.ops.gpu import attention_tensor_cores as tensor_cores
from minibert.ops.reference import attention as reference
from tests.ops.gpu.helpers import (
    DTYPES,
    KEY,
    NEAR_ZERO,
    ROUNDING,
    SIXTEEN,
    E,
    device,
    emulator_only,
    exact,
    host,
    numbers,
    sixteen_bits,
    slow,
    thorough,
    within,
)

LENGTHS = [(1,), (31, 32, 33), (127, 1, 128), (65, 64)]
MASKS = {"plain": (False, 0.0), "causal": (True, 0.0), "dropout": (False, 0.25), "causal, dropout": (True, 0.25)}
FEW_ROWS = [(0, 5, 31, 33), (40, 41, 129), ()]  # of sequences of 31, 9 and 90 tokens
VERSIONS = {"wmma": tensor_cores.WMMA, "mma": tensor_cores.MMA}
each_version = pytest.mark.parametrize("version", VERSIONS)
NAMES = "context", "log_sums", "d_query", "d_key", "d_value"


class Case:
    """One batch: tensors on the host, and what attention needs to know beside them."""

    def __init__(self, dtype, lengths, width, causal=False, rate=0.0, rows=None, heads=2, version=None):
        self.dtype, self.heads, self.causal = dtype, heads, causal
        self.version = VERSIONS.get(version)
        self.cu_seqlens_k = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)  # [B + 1]
        tokens = int(self.cu_seqlens_k[-1])
        rows = np.arange(tokens) if rows is None else np.array(rows, int)  # [Nq]
        self.cu_seqlens_q = np.searchsorted(rows, self.cu_seqlens_k).astype(np.int32)  # [B + 1]
        sequence = np.searchsorted(self.cu_seqlens_k, rows, side="right") - 1  # [Nq]
        self.positions_q = (rows - self.cu_seqlens_k[sequence]).astype(np.int32)  # [Nq]
        indices = 70_000 + np.arange(len(lengths), dtype=np.int32), self.positions_q
        self.dropout = Dropout(rate, KEY, 5 << 8, *indices) if rate else None
        counts = len(rows), tokens, tokens, len(rows)
        query, key, value, d_context = (
            numbers(n, heads * width, dtype=dtype, seed=i) for i, n in enumerate(counts)
        )  # [Nq, H], [N, H], [N, H], [Nq, H]
        self.query, self.key, self.value, self.d_context = query, key, value, d_context

    def layout(self, position):
        """What forward and backward take after the tensors, its arrays as `place` puts them."""
        dropout = self.dropout
        if dropout is not None:
            arrays = position(dropout.sequences), position(dropout.positions)
            dropout = Dropout(dropout.rate, dropout.key, dropout.site, *arrays)
        indices = (position(a) for a in (self.cu_seqlens_q, self.cu_seqlens_k, self.positions_q))
        return self.heads, *indices, self.causal, dropout

    def run(self):
        """By the kernels: context, log_sums, d_query, d_key, d_value, on the device."""
        tensors, layout = [device(x) for x in (self.query, self.key, self.value)], self.layout(device)
        context, log_sums = tensor_cores.forward(*tensors, *layout, version=self.version)
        delta = device(self.delta(exact(host(context))).astype(np.float32))
        gradients = tensor_cores.backward(device(self.d_context), *tensors, *layout, log_sums, delta, self.version)
        return context, log_sums, *gradients

    def delta(self, context):
        """d_context . context of each head, [A, Nq]."""
        products = exact(self.d_context) * context
        return reference.split_heads(products, self.heads).sum(axis=2)

    def expected(self):
        """By the reference in float64: the same five."""
        context, cache = reference.attention_forward(*exact(self.query, self.key, self.value), *self.layout(np.array))
        return context, cache[-1], *reference.attention_backward(exact(self.d_context), cache)

    def errors(self, expected):
        """How far each of the five may be off before its last rounding: see the top of this file."""
        context, log_sums = expected[:2]
        bounds = [np.zeros_like(array) for array in expected]
        tensors = exact(self.query, self.key, self.value, self.d_context)
        u, t, root = ROUNDING[self.dtype], NEAR_ZERO[self.dtype], (tensors[0].shape[1] / self.heads) ** -0.5
        for sequence, (queries, keys) in enumerate(reference.spans(self.cu_seqlens_q, self.cu_seqlens_k)):
            spans = queries, keys, keys, queries
            q, k, v, d_out = (reference.split_heads(x[s], self.heads) for x, s in zip(tensors, spans, strict=True))
            if q.shape[1] == 0:
                continue
            out = reference.split_heads(context[queries], self.heads)  # [A, Tq, D]
            scores = reference.attention_scores(q, k, self.positions_q[queries], self.causal)  # [A, Tq, Tk]
            p = np.exp(scores - log_sums[:, queries, None])  # [A, Tq, Tk]
            mask = np.ones_like(p)
            if self.dropout is not None:
                mask = reference.probabilities_mask(self.dropout, sequence, queries, p)
            dropped, sizes = p * mask, (np.abs(x) for x in (q, k, v, d_out))
            size_q, size_k, size_v, size_d = sizes
            depth, terms = q.shape[2], p.shape[1] + p.shape[2]
            large = np.where(p > 0, np.abs(scores), 0) + np.abs(log_sums[:, queries, None])
            x = 2 * E * ((depth + 4) * root * (size_q @ turned(size_k)) + 4 * large + terms + 8)  # [A, Tq, Tk]
            error = (u + x) * dropped + t * mask  # [A, Tq, Tk], of the dropped probabilities
            e_out = error @ size_v  # [A, Tq, D]
            e_delta = (size_d * (e_out + u * np.abs(out) + t)).sum(axis=2, keepdims=True)  # [A, Tq, 1]
            d_dropped, e_dropped = d_out @ turned(v), (depth + 2) * E * size_d @ turned(size_v)  # [A, Tq, Tk]
            delta = (d_out * out).sum(axis=2, keepdims=True)  # [A, Tq, 1]
            d_scores = p * (mask * d_dropped - delta)  # [A, Tq, Tk]
            e_terms = mask * e_dropped + 4 * E * (mask * np.abs(d_dropped) + np.abs(delta)) + e_delta
            e_scores = (u + x) * np.abs(d_scores) + p * e_terms + t  # [A, Tq, Tk]
            bounds[0][queries] = reference.merge_heads(e_out)
            bounds[1][:, queries] = (p * x).sum(axis=2) + 4 * E
            bounds[2][queries] = reference.merge_heads(root * e_scores @ size_k)
            bounds[3][keys] = reference.merge_heads(root * turned(e_scores) @ size_q)
            bounds[4][keys] = reference.merge_heads(turned(error) @ size_d)
        return bounds


def turned(x):
    """[A, M, N] -> [A, N, M]"""
    return x.transpose(0, 2, 1)


def agree(case):
    """The kernels' five results are the reference's, within what rounding explains."""
    ours, expected = case.run(), case.expected()
    for name, array, right, error in zip(NAMES, ours, expected, case.errors(expected), strict=True):
        within(array, right, error, "float32" if name == "log_sums" else case.dtype)


@emulator_only
@pytest.mark.parametrize(
    "dtype, lengths, width, mask, rows",
    [
        slow("float16", (1,), 8, "dropout", None),
        ("float16", (33, 5), 20, "causal, dropout", None),
        thorough("float16", (66,), 32, "plain", None),
        ("float16", (3, 70), 16, "dropout", (1, 2)),  # a sequence in which nobody asks
        ("float16", (3, 4), 16, "causal", ()),
        slow("float16", (5, 66), 24, "causal, dropout", None),
        thorough("float16", (9, 34), 7, "dropout", None),
        slow("bfloat16", (40, 9), 64, "dropout", (3, 38)),
        thorough("bfloat16", (35,), 40, "causal", None),
        slow("bfloat16", (130,), 64, "causal, dropout", None),
        thorough("float16", (35,), 80, "causal", None),
        thorough("float16", (34,), 128, "causal, dropout", None),
    ],
)
@each_version
def test_check_mode_finds_nothing(dtype, lengths, width, mask, rows, version):
    with emulator.checking():
        agree(Case(dtype, lengths, width, *MASKS[mask], rows=rows, version=version))


@sixteen_bits
@pytest.mark.parametrize("size", [(16, 16, 16), (32, 64, 48)])
def test_the_smallest_product(dtype, size):
    """c [M, N] = a [M, K] b [K, N]: K exact products, added up in float32."""
    rows, columns, depth = size
    a, b = numbers(rows, depth, dtype=dtype), numbers(depth, columns, dtype=dtype, seed=1)
    c = device(np.empty((rows, columns), np.float32))
    grid, sizes = (columns // 16, rows // 16), (np.int32(columns), np.int32(depth))
    tensor_cores.PRODUCT.launch("wmma_product<{T}>", a.dtype, grid, 32, device(a), device(b), c, *sizes)
    within(c, exact(a) @ exact(b), depth * E * (np.abs(exact(a)) @ np.abs(exact(b))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "version, dtype",
    [
        ("mma", "bfloat16"),
        ("wmma", "float16"),
        pytest.param("mma", "float16", marks=pytest.mark.thorough),
        pytest.param("wmma", "bfloat16", marks=pytest.mark.thorough),
    ],
)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", [8, 20, 64, 128, *map(thorough, (32, 80))])
@pytest.mark.parametrize("mask", MASKS)
def test_against_the_reference(dtype, lengths, width, mask, version):
    agree(Case(dtype, lengths, width, *MASKS[mask], version=version))


@pytest.mark.slow
@sixteen_bits
@pytest.mark.parametrize("rows", FEW_ROWS)
@pytest.mark.parametrize("width", [20, 64, 128])
@pytest.mark.parametrize("mask", ["causal", "dropout"])
@each_version
def test_a_few_rows_ask(dtype, rows, width, mask, version):
    """Some sequences have no row that asks, and in one case none has."""
    agree(Case(dtype, (31, 9, 90), width, *MASKS[mask], rows=rows, version=version))


@pytest.mark.slow
@pytest.mark.parametrize("mask", ["plain", "causal"])
@each_version
def test_large_scores(mask, version):
    """The maximum of a row rises from tile to tile, by so much that older weights vanish."""
    case = Case("bfloat16", (100,), 32, *MASKS[mask], version=version)
    case.key = (np.arange(100)[:, None] / 4 * exact(case.key)).astype(case.key.dtype)
    agree(case)


@pytest.mark.slow
@emulator_only
@sixteen_bits
@pytest.mark.parametrize("width", [20, 64, 128])
@each_version
def test_the_order_of_threads_and_blocks_changes_no_bit(dtype, width, version):
    case, results = Case(dtype, (70, 3, 33), width, *MASKS["causal, dropout"], version=version), []
    for order in (nullcontext(), emulator.ordered("reverse"), emulator.ordered("random", seed=3)):
        with order:
            results.append([host(array).tobytes() for array in case.run()])
    assert results[0] == results[1] == results[2]


# (sectors, of the least; bank conflicts, of the turns at the shared memory) that each version may have for a width.  A
# row of 40 bytes begins anywhere in a sector, and with mma.sync is written number by number.  Tiles of rows of 80 bytes
# are written in twice the turns; the emulator writes them twice, since a copy of cp.async first spoils its target.
TRAFFIC = {
    "wmma": {32: (1.05, 0.1), 64: (1.05, 0), 128: (1.05, 0), 20: (1.25, 0.1)},
    "mma": {32: (1.05, 0.35), 64: (1.05, 0), 128: (1.05, 0), 20: (1.6, 0.35)},
}


@pytest.mark.slow
@emulator_only
@pytest.mark.parametrize("width", TRAFFIC["wmma"])
@each_version
def test_access_is_coalesced_and_banks_are_met_once(width, version):
    with emulator.counting() as counts:
        Case("bfloat16", (70, 33), width, *MASKS["causal, dropout"], version=version).run()
    assert len(counts) == 3
    sectors, conflicts = TRAFFIC[version][width]
    for kernel, count in counts.items():
        assert count.sectors <= sectors * count.least_sectors, f"{kernel}\n{counts}"
        assert count.bank_conflicts <= conflicts * count.turns, f"{kernel}\n{counts}"


@pytest.mark.slow
@sixteen_bits
@each_version
def test_what_is_dropped_is_what_the_reference_drops(dtype, version):
    """All three kernels, seen through the identity matrix; probabilities are alike, since queries are zero."""
    tokens, heads = 100, 2
    case = Case(dtype, (tokens,), 128, rate=0.25, heads=heads, version=version)
    one = np.tile(np.eye(tokens, 128), heads).astype(case.key.dtype)  # [N, H]
    drawn = reference.probabilities_mask(case.dropout, 0, slice(0, tokens), np.empty((heads, tokens, tokens)))
    kept = drawn > 0  # [A, Tq, Tk]
    case.query[:] = 0
    case.value = case.d_context = one
    context, _, _, _, d_value = case.run()
    context, d_value = (reference.split_heads(host(array), heads) for array in (context, d_value))  # [A, T, D]
    assert ((context[:, :, :tokens] > 0) == kept).all()
    assert ((d_value[:, :, :tokens] > 0) == turned(kept)).all()
    # d_scores = p (mask d_dropped - delta): above zero where kept, below where dropped
    case.key, case.value, case.d_context = one, np.ones_like(one), np.ones_like(one)
    d_query = reference.split_heads(host(case.run()[2]), heads)  # [A, Tq, D]
    assert ((d_query[:, :, :tokens] > 0) == kept).all() and (d_query[:, :, :tokens] != 0).all()


def test_where_tensor_cores_are_used():
    assert all(tensor_cores.use_tensor_cores(DTYPES[name], width) for name in SIXTEEN for width in (1, 64, 128))
    assert not any(tensor_cores.use_tensor_cores(DTYPES[name], 64) for name in ("float32", "float64"))
    assert not tensor_cores.use_tensor_cores(DTYPES["float16"], 129)


@pytest.mark.parametrize("capability, expected", [("61", []), ("75", ["float16"]), ("80", SIXTEEN)])
def test_tensor_cores_of_older_devices(monkeypatch, capability, expected):
    class Device:
        compute_capability = capability

    monkeypatch.setattr(tensor_cores.cp.cuda, "Device", Device)
    assert [name for name in SIXTEEN if tensor_cores.use_tensor_cores(DTYPES[name], 64)] == expected


@pytest.mark.parametrize("capability, expected", [("75", "wmma"), ("80", "mma"), ("90", "mma")])
def test_newer_devices_get_the_newer_version(monkeypatch, capability, expected):
    class Device:
        compute_capability = capability

    monkeypatch.setattr(tensor_cores.cp.cuda, "Device", Device)
    assert tensor_cores.best_version(DTYPES["float16"]) is VERSIONS[expected]


def test_shared_memory_fits_every_device():
    """64 KiB is what sm_75 has, 99 KiB sm_86; 48 KiB need not be asked for."""
    for version, most in ((tensor_cores.WMMA, 64), (tensor_cores.MMA, 99)):
        assert all(size <= most * 1024 for width in tensor_cores.WIDTHS for size in version.shared_memory(width))
        assert all(size <= 48 * 1024 for width in (32, 64) for size in version.shared_memory(width))
