"""What CUDA C++ offers gives the right numbers, in every order and in check mode, which raises no false alarm."""

from pathlib import Path

import numpy as np
import pytest

from minibert import emulator
from minibert.emulator import memory

pytestmark = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

FILE = Path(__file__).parent / "right.cu"
TEMPLATES = ["scale<float, 1>", "scale<double, 3>", "scale<int, 2>", "transpose<float, 8>", "transpose<double, 5>"]
F, D, I, U = np.float32, np.float64, np.int32, np.uint32  # noqa: E741


@pytest.fixture(scope="module")
def module():
    plain = emulator.Module(FILE).names
    return emulator.Module(FILE, names=[*plain, *TEMPLATES, "deep::inside"])


@pytest.fixture(params=["fast forward", "fast reverse", "fast random", "check forward", "check random"])
def run(request, module):
    """run(name, grid, block, arguments, shared=0), in each mode and order."""
    speed, order = request.param.split()

    def launch(name, grid, block, *arguments, shared=0):
        with emulator.checking(speed == "check"), emulator.ordered(order, seed=5):
            module.kernel(name)(grid, block, arguments, shared=shared)

    return launch


def test_threads_and_blocks_know_where_they_are(run):
    out = memory.empty(2 * 3 * 2 * 40, I)
    run("places", (2, 3, 2), (5, 4, 2), out)
    numbers = np.arange(out.size)
    assert (out == numbers * 10 + numbers % 40 % 32 % 10).all()


@pytest.mark.parametrize("name, dtype, times", [("float, 1", F, 1), ("double, 3", D, 3), ("int, 2", I, 2)])
def test_templates(run, name, dtype, times):
    x = np.arange(100, dtype=dtype)
    run(f"scale<{name}>", 4, 32, x, I(99), dtype(3))
    assert (x[:99] == np.arange(99) * 3**times).all() and x[99] == 99


def test_a_kernel_in_a_namespace(run):
    x = np.zeros(4, I)
    run("deep::inside", 1, 4, x)
    assert x.tolist() == [7] * 4


def test_constants_and_device_variables(module, run):
    x, count, before = np.zeros(6, F), np.zeros(1, I), np.zeros(1, I)
    run("uses_table", 1, 6, x, before)
    run("uses_table", 1, 6, x, count)
    assert x.tolist() == [1, 10, 100] * 2 and count - before == 6


@pytest.mark.parametrize("name, dtype, side", [("float, 8", F, 8), ("double, 5", D, 5)])
def test_shared_arrays_of_two_dimensions(run, name, dtype, side):
    x = np.arange(side * side, dtype=dtype).reshape(side, side)
    y = np.zeros_like(x)
    run(f"transpose<{name}>", 1, (side, side), x, y)
    assert (y == x.T).all()


def test_all_kinds_of_shared_declarations(run):
    out = np.zeros(40, I)
    run("declarations", 1, 40, out, shared=16)
    assert out.tolist() == [1 + 2 + 3 + 4 + 5 + 6 + 1] * 40


def test_shared_arrays_of_device_functions(run):
    out = np.zeros(3, D)
    run("totals", 2 - 1, 32, out)
    assert out.tolist() == [32, 31 * 16, 31 * 32]


def test_sum_by_a_tree(run):
    x = np.arange(3 * 128, dtype=F)
    y = memory.empty(3)
    run("tree", 3, 128, x, y, shared=128 * 4)
    assert (y == x.reshape(3, 128).sum(axis=1)).all()


def test_halves_of_a_warp(run):
    out = np.zeros(32, I)
    run("half_warps", 1, 32, out)
    assert out.tolist() == [100] * 16 + [2 + (lane ^ 1) for lane in range(15, -1, -1)]


def test_shuffles_of_parts_and_then_of_the_whole_warp(run):
    out = np.zeros(32, I)
    run("uneven_shuffles", 1, 32, out)
    values = [lane + (lane ^ 1) if lane < 16 else lane for lane in range(32)]
    assert out.tolist() == values[1:] + values[:1]


@pytest.mark.parametrize("width", [32, 16, 4])
@pytest.mark.parametrize("distance", [0, 1, 3, 8, 17])
def test_shuffles(run, distance, width):
    x, out = np.arange(100, 132, dtype=I), np.zeros((32, 4), I)
    run("shuffles", 1, 32, x, out, I(distance), I(width))
    for lane in range(32):
        group = lane // width * width
        exchanged = lane ^ distance
        sources = [
            group + distance % width,
            lane - distance if lane - distance >= group else lane,
            lane + distance if lane + distance < group + width else lane,
            exchanged if exchanged < group + width else lane,
        ]
        assert out[lane].tolist() == x[sources].tolist()


def test_shuffles_of_eight_bytes(run):
    x = np.random.default_rng(0).normal(size=32)
    expected = [*x[1:], x[31]]
    run("shuffles_of_eight_bytes", 1, 32, x)
    assert x.tolist() == expected


def test_votes(run):
    x, out = np.arange(64, dtype=I) % 5, np.zeros((64, 4), U)
    run("votes", 1, 64, x, out)
    for warp in (slice(0, 32), slice(32, 64)):
        values = x[warp]
        assert (out[warp, 0] == sum(1 << lane for lane in range(32) if values[lane] > 2)).all()
        assert not out[warp, 1].any() and not out[warp, 2].any()
        alike = [sum(1 << other for other in range(32) if values[other] == value) for value in values]
        assert out[warp, 3].tolist() == alike


def test_votes_of_a_block(run):
    x, out = np.arange(1, 71, dtype=I) % 9 + 1, np.zeros((70, 3), I)
    run("block_votes", 1, 70, x, out)
    assert (out == [(x > 2).sum(), (x > 8).any(), True]).all()


def test_warps_may_end_before_others(run):
    out = np.zeros(96, I)
    run("warps_end_early", 1, 96, out, I(2))
    assert out.tolist() == [32] * 32 + [33] * 32 + [0] * 32


def test_histogram(run):
    x, counts = np.random.default_rng(0).integers(0, 8, 1000).astype(I), np.zeros(8, U)
    run("histogram", 3, 64, x, counts, I(1000))
    assert (counts == np.bincount(x, minlength=8)).all()


def test_atomics(run):
    x, y, f, big = np.zeros(7, I), np.array([2**32 - 1, 0, 0, 0, 0], U), np.zeros(1, F), np.zeros(1, np.uint64)
    run("atomics", 1, 30, x, y, f, big)
    assert x.tolist() == [435, -435, 29, -29, 9, 0, 60]
    assert y.tolist() == [0b11 << 30, 2**30 - 1, 2**30 - 1, 0, 0]
    assert f[0] == 15 and big[0] == 30 << 40


def test_a_lock(run):
    lock, out = np.zeros(1, I), np.zeros(1, I)
    run("locked", 2, 256, lock, out)
    assert (lock[0], out[0]) == (0, 16)


def test_functions_of_numbers(run):
    from math import erf, exp, log, tanh

    a, b, out = 2.25, 0.75, np.zeros(21, F)
    run("functions", 1, 1, np.array([a, b], F), out)
    expected = [a**-0.5, exp(b), log(a), a / b, a * b + 1, a, b, 1.5, tanh(b), erf(b), b, a, b, exp(b), a**b, a**-0.5]
    np.testing.assert_allclose(out, [*expected, 1, 0, 0, b, b], rtol=3e-7)


def test_functions_of_integers(run):
    a, b, out = 0xD2511F53, 0x00812345, np.zeros(15, U)
    run("integers", 1, 1, np.array([a, b], U), out)
    reversed_bits = int(f"{a:032b}"[::-1], 2)
    expected = [a * b >> 32, (a - 2**32) * b >> 32 & 0xFFFFFFFF, a.bit_count(), 32 - b.bit_length(), 1, reversed_bits]
    assert out.tolist() == [*expected, 0x3F800000, 3, a, b, a >> 1, 32, b, 0x80000000, 1]


def test_vectors(run):
    x, y = np.random.default_rng(0).normal(size=(9, 4)).astype(F), np.zeros((9, 2), D)
    run("vectors", 1, 32, x, y, I(9))
    assert (y == np.stack([x[:, 0] + x[:, 1], x[:, 2] + x[:, 3]], axis=1)).all()


def test_sizes_and_alignments_are_those_of_cuda(run):
    out = np.zeros(12, I)
    run("sizes", 1, 1, out)
    assert out.tolist() == [8, 8, 12, 4, 16, 16, 4, 4, 8, 16, 12, 12]


# ---------------------------------------------------------------------------------------------------------- orders


def test_orders_differ_and_repeat(module):
    """The order in which threads come shows in what an atomic hands out; the seed decides the random one."""
    source = (
        "__global__ void queue(int* next, int* place) { place[blockIdx.x * 40 + threadIdx.x] = atomicAdd(next, 1); }"
    )
    kernel = emulator.Module(source).kernel()

    def positions(order, seed=0):
        next_position, position = np.zeros(1, I), np.zeros(120, I)
        with emulator.ordered(order, seed):
            kernel(3, 40, (next_position, position))
        return position.tolist()

    assert positions("forward") == list(range(120))
    assert positions("reverse") == list(range(119, -1, -1))
    assert positions("random", 1) == positions("random", 1) != positions("random", 2)
    assert sorted(positions("random", 1)) == list(range(120))
    with pytest.raises(ValueError, match="sideways"):
        emulator.ordered("sideways")
