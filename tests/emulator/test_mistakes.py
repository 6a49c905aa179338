"""A gallery of wrong kernels (mistakes.cu): each is caught, as what it is, with its line, block and thread."""

import ctypes
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from minibert import emulator
from minibert.emulator import memory

pytestmark = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

FILE = Path(__file__).parent / "mistakes.cu"
F, I, H = np.float32, np.int32, np.int16  # noqa: E741


def zeros(size, dtype=F):
    return np.zeros(size, dtype)


def values(size, dtype=F):
    return np.arange(size, dtype=dtype)


def unwritten(size, dtype=F):
    return memory.empty(size, dtype)


def overlapping_views():
    array = values(96)
    return array[:64], array[8:72]


def neighbouring_views():
    array = memory.empty(64)
    array[:] = 0
    return array[:32], array[32:]


RACE, BOUNDS, UNWRITTEN = emulator.RaceError, emulator.OutOfBoundsError, emulator.UninitialisedError
DIVERGENCE, MISALIGNED, NUMBER = emulator.DivergenceError, emulator.MisalignedError, emulator.NumberError

# kernel: (grid, block, arguments, error, x of the block and of the thread of which it tells, words in its message)
GALLERY = {
    "missing_barrier": (1, 64, lambda: [values(64)], RACE, 0, 32, "element 32 of shared memory `scratch`"),
    "missing_second_barrier": (1, 64, lambda: [values(64)], RACE, 0, 32, "element 31 of shared memory"),
    "missing_warp_barrier": (1, 32, lambda: [values(32)], RACE, 0, 1, "thread (0, 0, 0) wrote at mistakes.cu"),
    "warp_barrier_for_a_block": (1, 64, lambda: [values(64)], RACE, 0, 32, "thread (0, 0, 0) read"),
    "shuffle_as_barrier": (1, 32, lambda: [values(32)], RACE, 0, 0, "thread (31, 0, 0) wrote"),
    "read_by_all_lanes": (1, 32, lambda: [zeros(32)], RACE, 0, 31, "which other threads read at mistakes.cu"),
    "read_by_all_warps": (1, 64, lambda: [zeros(64)], RACE, 0, 63, "which other threads read at mistakes.cu"),
    "same_element": (1, 2, lambda: [zeros(1)], RACE, 0, 1, "element 0 of argument 0 (float*)"),
    "across_blocks": (3, 32, lambda: [zeros(32)], RACE, 1, 0, "no barrier orders blocks"),
    "reads_another_block": (2, 8, lambda: [zeros(128)], RACE, 1, 0, "thread (0, 0, 0) of another block wrote"),
    "read_by_all_blocks": (2, 64, lambda: [zeros(1)], RACE, 1, 0, "which other threads of another block read"),
    "not_atomic": (1, 2, lambda: [zeros(2, I)], RACE, 0, 1, "atomic write of element 0"),
    "atomic_then_plain": (1, 2, lambda: [zeros(4, I)], RACE, 0, 1, "thread (0, 0, 0) read at mistakes.cu"),
    "halves_of_a_word": (1, 126, lambda: [zeros(126, H)], RACE, 0, 124, "which thread (1, 0, 0) wrote"),
    "overlapping": (1, 64, overlapping_views, RACE, 0, 8, "element 8 of argument 0 (const float*)"),
    "write_beyond": (2, 64, lambda: [zeros(100), I(100)], BOUNDS, 1, 36, "element 100 of argument 0 (float*), which"),
    "read_before": (1, 8, lambda: [zeros(8), zeros(8)], BOUNDS, 0, 0, "element -1 of argument 0"),
    "far_away": (1, 1, lambda: [zeros(8)], BOUNDS, 0, 0, "in none of the arrays"),
    "null_pointer": (1, 1, lambda: [np.uintp(0), zeros(1)], BOUNDS, 0, 0, "null pointer"),
    "into_the_neighbour": (1, 32, neighbouring_views, BOUNDS, 0, 31, "element 32 of argument 0"),
    "through_a_cache": (1, 1, lambda: [zeros(8), zeros(1), I(8)], BOUNDS, 0, 0, "element 8 of argument 0"),
    "half_a_vector_beyond": (1, 2, lambda: [zeros(6)], BOUNDS, 0, 1, "read of 16 bytes at element 4"),
    "beyond_dynamic": (1, 16, lambda: [zeros(16)], BOUNDS, 0, 15, "byte 64 of dynamic shared memory"),
    "from_one_room_into_the_next": (1, 32, lambda: [zeros(32)], BOUNDS, 0, 0, "element 32 of shared memory `first`"),
    "index_of_row": (1, 32, lambda: [zeros(32)], BOUNDS, 0, 31, "index 33"),
    "index_of_local_array": (1, 8, lambda: [zeros(8)], BOUNDS, 0, 4, "index 4"),
    "index_in_struct": (1, 8, lambda: [zeros(8)], BOUNDS, 0, 4, "index 4"),
    "inside_a_helper": (1, 1, lambda: [zeros(8), I(8)], BOUNDS, 0, 0, "called at mistakes.cu"),
    "half_of_scratch": (1, 64, lambda: [zeros(64)], UNWRITTEN, 0, 32, "element 32 of shared memory `scratch`"),
    "left_by_another_block": (2, 64, lambda: [zeros(64)], UNWRITTEN, 1, 0, "element 0 of shared memory"),
    "index_nobody_wrote": (1, 32, lambda: [zeros(32)], UNWRITTEN, 0, 0, "element 0 of shared memory `scratch`"),
    "dynamic_unwritten": (1, 16, lambda: [zeros(16)], UNWRITTEN, 0, 0, "byte 0 of dynamic shared memory"),
    "adds_to_nothing": (1, 16, lambda: [unwritten(16)], UNWRITTEN, 0, 0, "element 0 of argument 0"),
    "counts_from_nothing": (1, 1, lambda: [unwritten(1, I)], UNWRITTEN, 0, 0, "element 0 of argument 0"),
    "barrier_in_a_branch": (1, 64, lambda: [zeros(64)], DIVERGENCE, 0, 0, "24 threads (first: 40, 0, 0) wait"),
    "early_return": (2, 64, lambda: [zeros(64), I(50)], DIVERGENCE, 0, 0, "14 threads (first: 50, 0, 0) ended"),
    "different_rounds": (1, 64, lambda: [zeros(64)], DIVERGENCE, 0, 32, "32 threads (first: 0, 0, 0) ended"),
    "partial_shuffle": (1, 64, lambda: [zeros(64)], DIVERGENCE, 0, 0, "16 threads (first: 16, 0, 0) ended"),
    "shuffle_after_return": (1, 64, lambda: [zeros(64), I(60)], DIVERGENCE, 0, 32, "4 threads (first: 60, 0, 0) ended"),
    "not_in_its_mask": (1, 32, lambda: [zeros(32)], DIVERGENCE, 0, 16, "lane 16 is not in its own mask"),
    "source_not_in_mask": (1, 32, lambda: [zeros(32)], DIVERGENCE, 0, 15, "lane 16, which is not in the mask"),
    "source_does_not_exist": (1, 40, lambda: [zeros(40)], DIVERGENCE, 0, 32, "lane 16, which the block does not have"),
    "vote_in_a_branch": (1, 32, lambda: [zeros(32, I)], DIVERGENCE, 0, 4, "28 threads"),
    "odd_vector": (1, 1, lambda: [zeros(8)], MISALIGNED, 0, 0, "multiple of 16 bytes; this one is 4 beyond"),
    "odd_double": (1, 1, lambda: [zeros(8)], MISALIGNED, 0, 0, "multiple of 8 bytes"),
    "vector_of_a_view": (1, 1, lambda: [zeros(9)[5:]], MISALIGNED, 0, 0, "this one is 4 beyond"),
    "odd_row": (1, 4, lambda: [zeros(4)], MISALIGNED, 0, 1, "multiple of 16 bytes"),
    "too_large_a_product": (1, 1, lambda: [zeros(1), I(65536), I(65536)], NUMBER, 0, 0, "65536 * 65536 does not fit"),
    "too_large_a_sum": (1, 1, lambda: [np.array([2**31 - 1, 0], I)], NUMBER, 0, 0, "2147483647 + 1"),
    "zero_divisor": (1, 1, lambda: [zeros(1, I), I(0)], NUMBER, 0, 0, "division by zero"),
    "too_far_a_shift": (1, 1, lambda: [zeros(1, I), I(32)], NUMBER, 0, 0, "shifted by 32 bits"),
}  # fmt: skip
SHARED = {"beyond_dynamic": 64, "dynamic_unwritten": 64}  # bytes


@pytest.fixture(scope="module")
def module():
    return emulator.Module(FILE)


def launch(module, name):
    grid, block, arguments, *_ = GALLERY[name]
    module.kernel(name)(grid, block, tuple(arguments()), shared=SHARED.get(name, 0))


def marked_line(name):
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if re.search(rf"// <- {name}$", line))


@pytest.mark.parametrize("name", GALLERY)
def test_is_caught_with_line_block_and_thread(module, name):
    *_, error, block, thread, words = GALLERY[name]
    with emulator.checking(), pytest.raises(emulator.CudaError) as caught:
        launch(module, name)
    assert type(caught.value) is error
    assert (caught.value.file, caught.value.line) == ("mistakes.cu", marked_line(name))
    assert (caught.value.block, caught.value.thread) == ((block, 0, 0), (thread, 0, 0))
    assert caught.value.kernel == name and words in str(caught.value)


@pytest.mark.parametrize("order", ["reverse", "random"])
@pytest.mark.parametrize("name", GALLERY)
def test_is_caught_in_every_order(module, name, order):
    """The kind may differ: who reads before the other one has written finds memory that nobody has written."""
    kinds = {GALLERY[name][3]} | ({RACE, UNWRITTEN} if GALLERY[name][3] in (RACE, UNWRITTEN) else set())
    with emulator.checking(), emulator.ordered(order, seed=3), pytest.raises(tuple(kinds)):
        launch(module, name)


@pytest.mark.parametrize("name", [name for name, row in GALLERY.items() if row[3] is DIVERGENCE])
def test_divergence_is_caught_in_fast_mode_too(module, name):
    with pytest.raises(DIVERGENCE) as caught:
        launch(module, name)
    assert caught.value.line == marked_line(name)


def test_an_error_leaves_the_emulator_ready(module):
    for name in GALLERY:
        with emulator.checking(), pytest.raises(emulator.CudaError):
            launch(module, name)
    x = zeros(100)
    with emulator.checking():
        module.kernel("write_beyond")(1, 64, (x, I(99)))
    assert x.sum() == 64


def test_wrong_addresses_do_not_end_python(module):
    """In fast mode nothing is checked; but what the processor refuses becomes an error as well."""
    with pytest.raises(BOUNDS, match="emulator.checking") as caught:
        module.kernel("null_pointer")(1, 1, (np.uintp(0), zeros(1)))
    assert caught.value.line == marked_line("null_pointer")
    with pytest.raises(NUMBER, match="division by zero"):
        module.kernel("zero_divisor")(1, 1, (zeros(1, I), I(0)))


def test_in_fast_mode_what_nobody_wrote_is_nonsense(module):
    """So that a wrong kernel gives wrong numbers, and not by chance those of the block before."""
    x = zeros(64)
    module.kernel("half_of_scratch")(1, 64, (x,))
    assert (x[:32] == 1).all() and np.isnan(x[32:]).all()
    module.kernel("left_by_another_block")(2, 64, (x,))
    assert np.isnan(x).all()
    module.kernel("dynamic_unwritten")(1, 64, (x,), shared=256)
    assert np.isnan(x).all()


def test_views_lie_as_on_a_gpu(module):
    """As far from a multiple of sixteen bytes as from the beginning of their array, wherever NumPy has put that."""
    array = zeros(64)
    for start in (4, 8, 60):
        with emulator.checking():
            module.kernel("vector_of_a_view")(1, 1, (array[start : start + 4],))
        assert array[start : start + 4].tolist() == [1, 2, 3, 4]


def test_small_overruns_in_fast_mode_do_no_harm(module):
    """What lies around an array belongs to nobody, also in fast mode."""
    array = values(300)
    module.kernel("write_beyond")(2, 64, (array[100:200], I(100)))
    assert array[100:200].tolist() == [1] * 100
    assert array[200] == 200


@pytest.mark.slow
@pytest.mark.parametrize("checked", [False, True])
def test_what_does_not_end_is_stopped(module, checked):
    with emulator.checking(checked):
        with pytest.raises(emulator.EndlessError, match="atomic"):
            module.kernel("waits_for_a_lock")(1, 32, (zeros(1, I),))
        with pytest.raises(emulator.EndlessError, match="another block"):
            module.kernel("waits_for_another_block")(2, 1, (zeros(1, I),))
        with emulator.time_limit(1), pytest.raises(emulator.EndlessError, match="1 seconds"):
            module.kernel("endless")(1, 1, (zeros(1, I),))


@pytest.mark.slow
@pytest.mark.parametrize("checked", [False, True])
def test_threads_that_meet_at_barriers_for_ever_are_stopped(checked):
    """The scheduler runs most of the time, not a thread."""
    kernel = emulator.Module("__global__ void endless(volatile int* x) { while (x[0] == 0) __syncthreads(); }").kernel()
    with emulator.checking(checked), emulator.time_limit(1), pytest.raises(emulator.EndlessError):
        kernel(1, 256, (zeros(1, I),))


@pytest.mark.slow
def test_a_kernel_that_is_stopped_keeps_no_lock_of_the_process():
    """In check mode each access to a variable of the library asks the dynamic loader, which has a lock."""
    source = (
        "__device__ int table[4] = {1, 1, 1, 1}; __global__ void endless(int* x) { while (table[x[0] & 3]) x[1]++; }"
    )
    kernel = emulator.Module(source).kernel()
    with emulator.checking(), emulator.time_limit(1), pytest.raises(emulator.EndlessError):
        kernel(1, 1, (zeros(2, I),))
    other = threading.Thread(target=ctypes.CDLL, args=(None,), daemon=True)
    other.start()
    other.join(10)
    assert not other.is_alive()


def test_too_much_memory(module):
    with pytest.raises(emulator.LaunchError, match="49168 bytes"):
        module.kernel("too_much_shared")(1, 32, (zeros(32),))
    kernel = module.kernel("static_and_dynamic")
    with pytest.raises(emulator.LaunchError, match="a block needs 65536 bytes"):
        kernel(1, 32, (zeros(32),), shared=32 * 1024)
    kernel.max_dynamic_shared_size_bytes = 64 * 1024
    x = zeros(32)
    kernel(1, 32, (x,), shared=32 * 1024)
    assert x.tolist() == [2] * 32
    with pytest.raises(emulator.LaunchError, match="local variables"):
        module.kernel("deep_stack")(1, 1, (zeros(1, I), I(300000)))
