"""Blocks of memory: used again as soon as nobody refers to them, and not a moment before."""

import gc

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.models import BertForPreTraining
from minibert.ops import load_backend
from minibert.ops.cpu.memory import BUFFERS, FORGOTTEN, LINE, SMALLEST, Buffers
from tests.objectives import run_backward, run_losses


def test_a_block_serves_again_once_its_array_is_gone():
    buffers = Buffers()
    first = buffers.empty((100, 200), np.float32)
    address = first.ctypes.data
    part = first[10:20].T  # a view keeps it
    del first
    other = buffers.empty((100, 200), np.float32)
    assert other.ctypes.data != address
    del part
    assert buffers.empty((100, 201), np.float32).ctypes.data == address  # a little larger fits too
    assert len(buffers.blocks) == 2


def test_arrays_that_live_never_share_memory():
    buffers, random = Buffers(), np.random.default_rng(0)
    live = []
    for _ in range(400):
        live.append(buffers.empty((int(random.integers(10_000, 90_000)),), random.choice(["float32", "float64"])))
        if len(live) > 12:
            live.pop(int(random.integers(12)))
    ends = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for array in live)
    assert all(before[1] <= after[0] for before, after in zip(ends, ends[1:], strict=False))
    assert len(buffers.blocks) < 60


def test_arrays_are_contiguous_and_start_at_a_line_of_the_cache():
    array = Buffers().empty((77, 1001), np.float64)
    assert array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % LINE == 0
    assert array.shape == (77, 1001) and array.dtype == np.float64


def test_a_block_does_not_serve_arrays_of_less_than_half_its_size():
    buffers = Buffers()
    buffers.empty((SMALLEST * 10,), np.uint8)
    buffers.empty((SMALLEST * 2,), np.uint8)
    assert len(buffers.blocks) == 2


def test_blocks_that_nobody_wants_are_let_go():
    buffers = Buffers()
    buffers.empty((SMALLEST * 128,), np.uint8)
    held = buffers.empty((SMALLEST * 60,), np.uint8)
    for _ in range(FORGOTTEN + 1):
        buffers.empty((SMALLEST,), np.uint8)
    buffers.empty((SMALLEST * 3,), np.uint8)  # a new block: time to tidy up
    sizes = sorted(block.size // SMALLEST for block in buffers.blocks)
    assert sizes == [1, 3, 60]
    assert held.nbytes == SMALLEST * 60


def test_numbers_of_different_types_are_refused_before_a_kernel_misreads_them():
    cpu = load_backend("cpu")
    x, weight, bias = np.ones((2, 3), np.float32), np.ones((4, 3)), np.ones(4, np.float32)
    with pytest.raises(TypeError, match="all float32 or all float64, got float32, float64"):
        cpu.linear_forward(x, weight, bias)
    with pytest.raises(TypeError, match="got float16"):
        cpu.linear_forward(*(a.astype(np.float16) for a in (x, weight, bias)))


def test_steps_of_training_ask_for_no_new_memory_once_they_have_begun():
    config = small_config(hidden_size=96, intermediate_size=384, vocab_size=2000)
    model = BertForPreTraining(config, "cpu")
    batch = random_batch(config, lengths=(33,) * 16)

    def step():
        losses, cache = run_losses(model, batch, (1, 2))
        run_backward(model, cache)

    step()
    step()
    gc.collect()
    blocks = len(BUFFERS.blocks)
    for _ in range(5):
        step()
    assert len(BUFFERS.blocks) == blocks
    assert blocks > 10  # the step's arrays do come from there
