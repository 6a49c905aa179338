"""Attention on CUDA cores, in every dtype, against the reference in float64.

Bounds are those of test_attention_tensor_cores.py, where they are derived: here weights are not rounded to 16 bits on
the way, so they are wider than need be for 16-bit tensors, and right for float32 with u = 2 ** -24.
"""

from contextlib import nullcontext

import numpy as np
import pytest

from minibert import emulator
from minibert.ops.gpu import attention
from minibert.ops.reference import attention as reference
from tests.ops.gpu.helpers import (
    CLOSE,
    DTYPES,
    device,
    emulator_only,
    every_dtype,
    exact,
    host,
    sixteen_bits,
    slow,
    thorough,
    within,
)
from tests.ops.gpu.test_attention_tensor_cores import FEW_ROWS, LENGTHS, MASKS, NAMES, Case

LARGE = ["float32", "float64"]


class OnCudaCores(Case):
    """The same batches, computed by attention.cu and attention_backward.cu."""

    def run(self):
        tensors, layout = [device(x) for x in (self.query, self.key, self.value)], self.layout(device)
        context, log_sums = attention.forward_on_cuda_cores(*tensors, *layout)
        d_context = device(self.d_context)
        delta = attention.delta_of(d_context, context, self.heads)
        gradients = attention.backward_on_cuda_cores(d_context, *tensors, *layout, log_sums, delta)
        return context, log_sums, *gradients


def agree(case):
    """The kernels' five results are the reference's, within what rounding explains; in float64 to 1e-10."""
    ours, expected = case.run(), case.expected()
    sums = "float64" if case.dtype == "float64" else "float32"
    errors = [0.0] * 5 if case.dtype == "float64" else case.errors(expected)
    scale = max(np.abs(x).max(initial=0) for x in expected[2:])  # of a lone token all gradients but d_value are zero
    for name, array, right, error in zip(NAMES, ours, expected, errors, strict=True):
        if case.dtype == "float64":
            assert np.abs(host(array) - right).max(initial=0) <= CLOSE * max(np.abs(right).max(initial=0), 1e-3 * scale)
        else:
            within(array, right, error, sums if name == "log_sums" else case.dtype)


@emulator_only
@pytest.mark.parametrize(
    "dtype, lengths, width, mask, rows",
    [
        ("float32", (1,), 8, "dropout", None),
        ("float32", (33, 5), 20, "causal, dropout", None),
        ("float32", (6, 3), 7, "causal, dropout", None),  # rows that are no multiple of a vector
        ("float32", (70,), 32, "plain", None),
        slow("float64", (3, 40), 16, "dropout", (1, 2)),  # a sequence in which nobody asks
        ("float32", (3, 4), 16, "causal", ()),
        slow("bfloat16", (40, 9), 64, "dropout", (3, 38)),
        ("float32", (69,), 40, "causal", None),
        slow("float64", (34,), 128, "causal, dropout", None),
    ],
)
def test_check_mode_finds_nothing(dtype, lengths, width, mask, rows):
    with emulator.checking():
        agree(OnCudaCores(dtype, lengths, width, *MASKS[mask], rows=rows))


@emulator_only
def test_the_plain_kernel_in_check_mode():
    case = OnCudaCores("float32", (5, 1, 7), 20, causal=True)
    with emulator.checking():
        attention.forward_plain(*(device(x) for x in (case.query, case.key, case.value)), *case.layout(device)[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", LARGE)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("width", [1, 20, 64, 128, *map(thorough, (32, 80))])
@pytest.mark.parametrize("mask", MASKS)
def test_against_the_reference(dtype, lengths, width, mask):
    agree(OnCudaCores(dtype, lengths, width, *MASKS[mask]))


@sixteen_bits
@pytest.mark.parametrize("width", [20, slow(64)])
@pytest.mark.parametrize("mask", MASKS)
def test_sixteen_bits_on_devices_whose_tensor_cores_do_not_take_them(dtype, width, mask):
    agree(OnCudaCores(dtype, (31, 32, 33), width, *MASKS[mask]))


def test_long_sequences():
    agree(OnCudaCores("float32", (512, 3), 64, *MASKS["dropout"], heads=1))


@every_dtype
@pytest.mark.parametrize("rows", FEW_ROWS)
@pytest.mark.parametrize("mask", ["causal", "dropout"])
def test_a_few_rows_ask(dtype, rows, mask):
    """Some sequences have no row that asks, and in one case none has."""
    agree(OnCudaCores(dtype, (31, 9, 90), 20, *MASKS[mask], rows=rows))


@pytest.mark.parametrize("mask", ["plain", "causal"])
def test_large_scores(mask):
    """The maximum of a row rises from tile to tile, by so much that older weights vanish."""
    case = OnCudaCores("float32", (100,), 32, *MASKS[mask])
    case.key = (np.arange(100)[:, None] / 4 * exact(case.key)).astype(case.key.dtype)
    agree(case)


@emulator_only
@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
@pytest.mark.parametrize("width", [20, 64, 128])
def test_the_order_of_threads_and_blocks_changes_no_bit(dtype, width):
    case, results = OnCudaCores(dtype, (70, 3, 33), width, *MASKS["causal, dropout"]), []
    for order in (nullcontext(), emulator.ordered("reverse"), emulator.ordered("random", seed=3)):
        with order:
            results.append([host(array).tobytes() for array in case.run()])
    assert results[0] == results[1] == results[2]


# Sectors beyond the least: a row of 40 bytes begins anywhere in a sector; and where four numbers are no vector, each
# is fetched by itself, and the sectors of all four with it.  Positions and log_sums are not vectors either.
@pytest.mark.slow
@emulator_only
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("width, factor", [(32, 1.06), (64, 1.06), (128, 1.06), (20, 1.6), (37, 4)])
def test_access_is_coalesced_and_no_product_waits_for_a_bank(dtype, width, factor):
    with emulator.counting() as counts:
        OnCudaCores(dtype, (70, 33), width, *MASKS["causal, dropout"]).run()
    assert len(counts) == 4
    for kernel, count in counts.items():
        assert count.sectors <= factor * count.least_sectors, f"{kernel}\n{counts}"
        conflicts = [line for line in count.lines if line.space == "shared" and line.transfers > line.least]
        # only weights on their way into the scratch wait, once a tile: threads side by side write eight numbers each
        assert all(line.action == "write" for line in conflicts), f"{kernel}\n{counts}"
        assert count.bank_conflicts <= 0.03 * count.turns, f"{kernel}\n{counts}"


@every_dtype
@pytest.mark.parametrize("lengths", LENGTHS[:2])
@pytest.mark.parametrize("width", [1, 20, 64, 128])
@pytest.mark.parametrize("causal", [False, True])
def test_the_plain_kernel(dtype, lengths, width, causal):
    case = OnCudaCores(dtype, lengths, width, causal)
    layout = case.layout(device)[:-1]
    context = attention.forward_plain(*(device(x) for x in (case.query, case.key, case.value)), *layout)
    expected = case.expected()
    if dtype == "float64":
        assert np.abs(host(context) - expected[0]).max() <= CLOSE * np.abs(expected[0]).max()
    else:
        within(context, expected[0], case.errors(expected)[0], dtype)


def test_heads_that_do_not_fit_are_refused():
    x, cu_seqlens = device(np.zeros((2, 258), np.float32)), device(np.array([0, 2], np.int32))
    positions = device(np.array([0, 1], np.int32))
    with pytest.raises(ValueError, match=r"the number of heads \(4\) does not divide the hidden size \(258\)"):
        attention.attention_forward(x, x, x, 4, cu_seqlens, cu_seqlens, positions)
    with pytest.raises(ValueError, match="129 features is too wide"):
        attention.attention_forward(x, x, x, 2, cu_seqlens, cu_seqlens, positions)


def test_shared_memory_fits_every_device(monkeypatch):
    """64 KiB is what sm_75 has; only heads of more than 64 features in float64 need more."""
    wanted = {}

    def launch(self, name, dtype, grid, block, *arguments, shared=0):
        wanted[np.dtype(dtype).name, name] = shared

    monkeypatch.setattr("minibert.ops.gpu.kernels.CudaFile.launch", launch)
    for dtype in LARGE:
        for width in attention.WIDTHS:
            OnCudaCores(dtype, (3,), width).run()
    assert len(wanted) == 2 * (3 * len(attention.WIDTHS) + 1)
    for (dtype, name), size in wanted.items():
        assert size <= 64 * 1024 or (dtype == "float64" and "128" in name)


@every_dtype
def test_dropout_is_the_references_bit_for_bit(dtype):
    """Seen through the identity matrix; probabilities are alike, since queries are zero."""
    tokens, heads = 40, 2
    case = OnCudaCores(dtype, (tokens,), 64, rate=0.25, heads=heads)
    one = np.tile(np.eye(tokens, 64), heads).astype(DTYPES[dtype])  # [N, H]
    kept = reference.probabilities_mask(case.dropout, 0, slice(0, tokens), np.empty((heads, tokens, tokens))) > 0
    case.query[:] = 0
    case.value = case.d_context = one
    context, _, _, _, d_value = case.run()
    context, d_value = (reference.split_heads(host(array), heads) for array in (context, d_value))  # [A, T, D]
    assert ((context[:, :, :tokens] > 0) == kept).all()
    assert ((d_value[:, :, :tokens] > 0) == kept.transpose(0, 2, 1)).all()


@pytest.mark.parametrize("capability, refused", [("75", True), ("86", True), ("80", False), ("90", False)])
def test_wide_heads_in_float64_are_refused_where_they_do_not_fit(monkeypatch, capability, refused):
    class Device:
        id, compute_capability = 0, capability

    case = OnCudaCores("float64", (3,), 128)
    monkeypatch.setattr(attention.cp.cuda, "Device", Device)
    with pytest.raises(ValueError, match="in float64 needs .* use float32 or more heads") if refused else nullcontext():
        case.run()
