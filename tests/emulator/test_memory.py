"""Arrays as on a GPU: aligned, guarded, and known not to be written until they are."""

import gc

import numpy as np
import pytest

from minibert import emulator
from minibert.emulator import memory

SOURCE = """
__global__ void fill(float* x, int from, int to) { if (threadIdx.x >= from && threadIdx.x < to) x[threadIdx.x] = 1; }
__global__ void copy(const float* x, float* y, int from, int to) {
    if (threadIdx.x >= from && threadIdx.x < to) y[threadIdx.x] = x[threadIdx.x];
}
"""
VIEWS = """
__global__ void through(const float* whole, const float* part, float* other) {
    other[0] = 5;
    other[1] = whole[40] + part[0];
}
"""
needs_compiler = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))


def test_memory_is_aligned_and_full_of_nonsense():
    for shape, dtype in ((5, np.float32), ((3, 4), np.float64), ((), np.float16), ((2, 0), np.int32)):
        array = memory.empty(shape, dtype)
        assert array.shape == (shape if isinstance(shape, tuple) else (shape,)) and array.dtype == dtype
        assert array.ctypes.data % 256 == 0
        assert np.isnan(array).all() if array.dtype.kind == "f" else (array == -1).all()
        assert not memory.is_initialised(array).any()


def test_what_was_written_is_marked():
    array = memory.empty((4, 6), np.float64)
    memory.mark_initialised(array[1])
    memory.mark_initialised(array[:, 2])
    memory.mark_initialised(array[3, ::-2])
    expected = np.zeros((4, 6), bool)
    expected[1] = expected[:, 2] = expected[3, 1::2] = True
    assert (memory.is_initialised(array) == expected).all()
    assert (memory.is_initialised(array.T[2:, ::2]) == expected.T[2:, ::2]).all()
    memory.mark_initialised(array)
    assert memory.is_initialised(array).all()
    assert memory.is_initialised(np.zeros(3)).all()  # not ours


def test_memory_that_is_gone_is_forgotten():
    before = len(memory.registry.begins)
    arrays = [memory.empty(10) for _ in range(5)]
    view = arrays[2][3:]
    del arrays
    gc.collect()
    assert len(memory.registry.begins) == before + 1
    assert not memory.is_initialised(view).any()
    del view
    gc.collect()
    assert len(memory.registry.begins) == before


@needs_compiler
def test_kernels_mark_what_they_write():
    module = emulator.Module(SOURCE)
    fill, copy = module.kernel("fill"), module.kernel("copy")
    with emulator.checking():
        x, y = memory.empty(64), memory.empty(64)
        fill(1, 64, (x, np.int32(10), np.int32(20)))
        assert memory.is_initialised(x).tolist() == [10 <= i < 20 for i in range(64)]
        copy(1, 64, (x, y, np.int32(10), np.int32(20)))
        assert (y[10:20] == 1).all() and np.isnan(y[20:]).all()
        with pytest.raises(emulator.UninitialisedError, match="element 20 of argument 0") as caught:
            copy(1, 64, (x, y, np.int32(10), np.int32(21)))
        assert caught.value.thread == (20, 0, 0)
        view = memory.empty(100)[36:]
        fill(1, 64, (view, np.int32(0), np.int32(64)))
        copy(1, 64, (view, y, np.int32(0), np.int32(64)))
    assert (y == 1).all()


@needs_compiler
@pytest.mark.parametrize("checked", [False, True])
def test_views_of_one_array_share_its_memory(checked):
    array = np.arange(64, dtype=np.float32)
    with emulator.checking(checked):
        emulator.Module(VIEWS).kernel()(1, 1, (array, array[8:16], array[40:60]))
    assert array[38:44].tolist() == [38, 39, 5, 13, 42, 43]


@needs_compiler
def test_in_fast_mode_whatever_is_handed_over_counts_as_written():
    module = emulator.Module(SOURCE)
    x, y = memory.empty(64), memory.empty(64)
    module.kernel("fill")(1, 64, (x, np.int32(0), np.int32(64)))
    assert memory.is_initialised(x).all()
    module.kernel("copy")(1, 64, (y, x, np.int32(0), np.int32(0)))  # y is a pointer to constants
    assert not memory.is_initialised(y).any()
