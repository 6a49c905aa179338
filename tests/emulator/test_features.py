"""What learners' kernels use of CUDA's headers, against values computed independently; failed assertions and traps."""

import sys

import ml_dtypes
import numpy as np
import pytest

from minibert import emulator
from minibert.emulator.compiler import find_compiler
from minibert.emulator.source import read_source
from minibert.emulator.unsupported import UNSUPPORTED, explain_refusal

pytestmark = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

ENDINGS = r"""
#include <cassert>
#include <cuda_runtime.h>
__global__ void fails(const int* x) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    assert(x[i] < 5);
}
__global__ void traps() { if (threadIdx.x == 3) __trap(); }
__global__ void aborts() { if (threadIdx.x == 2) abort(); }
__global__ void exits() { if (threadIdx.x == 1) exit(3); }
__global__ void prints(int n) {
    assert(n == 7);
    printf("thread %d of block %d: %.2f\n", int(threadIdx.x), int(blockIdx.x), threadIdx.x * 0.5f);
}
"""


@pytest.fixture(scope="module")
def endings():
    return emulator.Module(ENDINGS)


def test_a_failed_assertion_is_an_exception_with_its_line_block_and_thread(endings):
    x = np.arange(8, dtype=np.int32)
    with pytest.raises(emulator.AssertionFailedError, match=r"fails: assertion: `x\[i\] < 5` is false") as caught:
        endings.kernel("fails")(4, 2, (x,))
    error = caught.value
    assert (error.file, error.line, error.block, error.thread) == ("kernel.cu", 6, (2, 0, 0), (1, 0, 0))
    endings.kernel("fails")(4, 1, (x,))  # the process, and the library, continue


@pytest.mark.parametrize("name, line, thread", [("traps", 8, 3), ("aborts", 9, 2), ("exits", 10, 1)])
def test_a_trap_is_an_exception(endings, name, line, thread):
    for _ in range(2):
        with pytest.raises(emulator.TrapError) as caught:
            endings.kernel(name)(1, 8, ())
        assert caught.value.thread == (thread, 0, 0) and caught.value.line == line


@pytest.mark.skipif(
    emulator.compiler_status() is None and find_compiler().is_zig, reason="ziglang brings no library for exceptions"
)
def test_an_exception_that_nobody_catches_is_one_of_python():
    kernel = emulator.Module("__global__ void throws() { if (threadIdx.x == 4) throw 7; }").kernel()
    with pytest.raises(emulator.TrapError, match="an exception was not caught") as caught:
        kernel(1, 8, ())
    assert caught.value.thread == (4, 0, 0)


def test_printf_comes_out_in_order(endings, capfd):
    print("before")
    endings.kernel("prints")(1, 2, (np.int32(7),))
    print("after")
    sys.stdout.flush()
    printed = "thread 0 of block 0: 0.00\nthread 1 of block 0: 0.50\n"
    assert capfd.readouterr().out == f"before\n{printed}after\n"


@pytest.fixture(scope="module")
def features():
    return emulator.Module(GROUPS + PHILOX + HALVES)  # one module, since compiling takes longer than running


GROUPS = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;

__device__ int sum_over(cg::thread_group group, int* scratch, int value) {
    for (int half = group.size() / 2; half > 0; half /= 2) {
        scratch[group.thread_rank()] = value;
        group.sync();
        if (group.thread_rank() < half) value += scratch[group.thread_rank() + half];
        group.sync();
    }
    return value;
}

__global__ void groups(const int* x, int* y) {
    __shared__ int scratch[64];
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
    auto quad = cg::tiled_partition<4>(warp);
    int i = block.thread_rank(), value = x[i];
    int* row = y + i * 12;
    row[0] = sum_over(block, scratch, value);
    row[1] = warp.thread_rank() + 100 * warp.size() + 10000 * warp.meta_group_rank();
    row[2] = warp.shfl(value, 5);
    row[3] = warp.shfl_down(value, 3);
    row[4] = quad.shfl_up(value, 1);
    row[5] = quad.shfl_xor(value, 2);
    row[6] = cg::reduce(warp, value, cg::plus<int>());
    row[7] = cg::reduce(quad, value, cg::greater<int>());
    row[8] = quad.ballot(value % 2);
    row[9] = warp.any(value == 40) + 2 * quad.all(value > 3);
    row[10] = cg::tiled_partition(block, 8).thread_rank();
    cg::sync(block);
    row[11] = block.group_dim().x * 1000 + block.thread_index().y;
}
__global__ void lanes(const int* x, unsigned* y) {
    long long begin = clock64();
    int value = x[threadIdx.x];
    unsigned* row = y + threadIdx.x * 8;
    row[0] = __reduce_add_sync(0xffffffffu, value);
    row[1] = __reduce_min_sync(0xffffffffu, value);
    row[2] = __reduce_max_sync(0xffffffffu, unsigned(value));
    unsigned half = threadIdx.x % 2 ? 0xaaaaaaaau : 0x55555555u;
    row[3] = __reduce_add_sync(half, unsigned(value));
    row[4] = __reduce_and_sync(half, unsigned(value));
    row[5] = __reduce_or_sync(half, unsigned(value));
    row[6] = __reduce_xor_sync(half, unsigned(value));
    row[7] = clock64() > begin;
}
"""


@pytest.mark.parametrize("order", ["forward", "random"])
def test_cooperative_groups(features, order):
    x = np.random.default_rng(0).integers(0, 50, 64).astype(np.int32)
    y = np.zeros((64, 12), np.int32)
    with emulator.checking(), emulator.ordered(order, seed=1):
        features.kernel("groups")(1, (32, 2), (x, y))
    i = np.arange(64)
    warp, quad = i // 32 * 32, i // 4 * 4
    assert y[0, 0] == x.sum()
    expected = {
        1: i % 32 + 3200 + 10000 * (i // 32),
        2: x[warp + 5],
        3: np.where(i % 32 < 29, x[np.minimum(i + 3, 63)], x),
        4: np.where(i % 4 > 0, x[i - 1], x),
        5: x[quad + (i % 4 ^ 2)],
        6: x.reshape(2, 32).sum(1)[i // 32],
        7: x.reshape(16, 4).max(1)[i // 4],
        8: ((x.reshape(16, 4) % 2) << np.arange(4)).sum(1)[i // 4],
        9: (x.reshape(2, 32) == 40).any(1)[i // 32] + 2 * (x.reshape(16, 4) > 3).all(1)[i // 4],
        10: i % 8,
        11: 32000 + i // 32,
    }
    for column, values in expected.items():
        np.testing.assert_array_equal(y[:, column], values, f"column {column}")


@pytest.mark.parametrize("threads", [32, 20])
def test_reductions_of_a_warp(features, threads):
    x = np.random.default_rng(1).integers(-(2**31), 2**31, threads).astype(np.int32)
    y = np.zeros((threads, 8), np.uint32)
    with emulator.checking():
        features.kernel("lanes")(1, threads, (x, y))
    bits = x.view(np.uint32)
    assert (y[:, :3] == [bits.sum(dtype=np.uint32), x.min().astype(np.uint32), bits.max()]).all()
    for first in 0, 1:
        part = bits[first::2]
        values = [part.sum(dtype=np.uint32)]
        values += [getattr(np, f"bitwise_{name}").reduce(part) for name in ("and", "or", "xor")]
        assert (y[first::2, 3:7] == values).all()
    assert y[:, 7].all()


PHILOX = """
#include <curand_kernel.h>
__global__ void draw(unsigned* bits, float* uniform, float* normal, unsigned long long seed,
                     unsigned long long offset) {
    int i = threadIdx.x;
    curandStatePhilox4_32_10_t state;
    curand_init(seed, i + (1ull << 33) * (i == 3), offset, &state);
    for (int k = 0; k < 6; k++) bits[i * 10 + k] = curand(&state);
    uint4 four = curand4(&state);
    bits[i * 10 + 6] = four.x, bits[i * 10 + 7] = four.y, bits[i * 10 + 8] = four.z, bits[i * 10 + 9] = four.w;
    for (int k = 0; k < 5; k++) uniform[i * 5 + k] = curand_uniform(&state);
    for (int k = 0; k < 5; k++) normal[i * 5 + k] = curand_normal(&state);
}
"""


def philox_4x32_10(counter, key):
    """The block cipher of Salmon et al. 2011, on Python integers: four words and two words -> four words."""
    mask = 2**32 - 1
    for _ in range(10):
        left, right = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [right >> 32 ^ counter[1] ^ key[0], right & mask, left >> 32 ^ counter[3] ^ key[1], left & mask]
        key = [key[0] + 0x9E3779B9 & mask, key[1] + 0xBB67AE85 & mask]
    return counter


def test_the_independent_philox_gives_the_papers_known_answers():
    """From Random123's file of known answers."""
    assert philox_4x32_10([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 2**32 - 1
    assert philox_4x32_10([ones] * 4, [ones] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("seed, offset", [(0, 0), (1234567890123456789, 6), (42, 2**34 - 5)])
def test_philox_has_the_bits_of_curand(features, seed, offset):
    bits, uniform, normal = np.zeros((4, 10), np.uint32), np.zeros((4, 5), np.float32), np.zeros((4, 5), np.float32)
    with emulator.checking():
        features.kernel("draw")(1, 4, (bits, uniform, normal, np.uint64(seed), np.uint64(offset)))
    for i, subsequence in enumerate([0, 1, 2, 3 + 2**33]):

        def number(index, subsequence=subsequence):
            counter = index // 4 + (subsequence << 64)
            words = [counter >> shift & 2**32 - 1 for shift in (0, 32, 64, 96)]
            return philox_4x32_10(words, [seed & 2**32 - 1, seed >> 32])[index % 4]

        numbers = [number(offset + index) for index in range(21)]
        assert bits[i].tolist() == numbers[:10]
        expected = np.array(numbers[10:15], np.uint32).astype(np.float32) * np.float32(2**-32) + np.float32(2**-33)
        assert uniform[i].tolist() == expected.tolist()
        pairs = np.array(numbers[15:21], np.float64).reshape(3, 2) * 2.0**-32 + 2.0**-33
        radius, angle = np.sqrt(-2 * np.log(pairs[:, 0])), 2 * np.pi * pairs[:, 1]
        boxes = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).reshape(-1)
        np.testing.assert_allclose(normal[i], boxes[:5], rtol=2e-5, atol=2e-6)


HALVES = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
template <typename T, typename T2> __device__ void pairs_of(const T2* x, T2* y, T* sums, T2* pair_sums) {
    int i = threadIdx.x, n = blockDim.x;
    T2 a = x[i], b = x[n + i], c = x[2 * n + i];
    y[i] = __hadd2(a, b), y[n + i] = __hmul2(a, b), y[2 * n + i] = __hfma2(a, b, c), y[3 * n + i] = __hmax2(a, b);
    y[4 * n + i] = __hmin2(-a, b), y[5 * n + i] = __habs2(__hsub2(a, c)), y[6 * n + i] = __h2div(a, b);
    T2 d = a;
    d += b;
    d *= c;
    y[7 * n + i] = d;
    T one(1.0f);
    atomicAdd(&sums[i % 2], one);
    atomicAdd(pair_sums, T2(one, T(0.5f)));
}
__global__ void halves(const __half* x, __half* y, __half* sums) {
    pairs_of<__half>((const half2*)x, (half2*)y, sums, (half2*)(sums + 2));
}
__global__ void bfloats(const __nv_bfloat16* x, __nv_bfloat16* y, __nv_bfloat16* sums) {
    pairs_of<__nv_bfloat16>((const nv_bfloat162*)x, (nv_bfloat162*)y, sums, (nv_bfloat162*)(sums + 2));
}
__global__ void fused(const __nv_bfloat16* x, __nv_bfloat16* y) { y[0] = __hfma(x[0], x[1], x[2]); }
"""


@pytest.mark.parametrize("name, dtype", [("halves", np.float16), ("bfloats", ml_dtypes.bfloat16)])
def test_pairs_of_sixteen_bit_numbers(features, name, dtype):
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((3, 64)) * 2.0 ** rng.integers(-6, 7, (3, 64))).astype(dtype)
    x[2, :8] = np.array([2.0**-20] * 8).astype(dtype)  # far below the product: it decides only ties
    y, sums = np.zeros((8, 64), dtype), np.zeros(4, dtype)
    with emulator.checking():
        features.kernel(name)(1, 32, (x, y, sums))
    a, b, c = x.astype(np.float64)  # sums and products of 16-bit numbers of this range are exact in 64 bits
    twice = (((a + b).astype(dtype)).astype(np.float64) * c).astype(dtype)
    expected = [
        a + b,
        a * b,
        a * b + c,
        np.maximum(a, b),
        np.minimum(-a, b),
        np.abs((a - c).astype(dtype)),
        a / b,
        twice,
    ]
    for row, values in zip(y, expected, strict=True):
        np.testing.assert_array_equal(row, np.asarray(values).astype(dtype))
    assert sums.astype(float).tolist() == [16, 16, 32, 16]


def test_fused_multiply_add_rounds_once(features):
    """The product is halfway between two bfloat16 numbers: the addend decides, though a double cannot hold the sum."""
    kernel = features.kernel("fused")
    spacing = 2.0**-7
    for factor, tiny, expected in [
        (1 + spacing, -(2.0**-100), 1.5 + spacing),
        (1 + spacing, 2.0**-100, 1.5 + 2 * spacing),
        (1 + 3 * spacing, -(2.0**-100), 1.5 + 4 * spacing),
        (1 + 3 * spacing, 2.0**-100, 1.5 + 5 * spacing),
    ]:
        for sign in 1, -1:
            x, y = np.array([sign * 1.5, factor, sign * tiny], ml_dtypes.bfloat16), np.zeros(1, ml_dtypes.bfloat16)
            with emulator.checking():
                kernel(1, 1, (x, y))
            assert float(y[0]) == sign * expected


def test_what_is_unknown_is_refused_by_name():
    source = "#include <curand_kernel.h>\n__global__ void f() { curandState state; }"
    with pytest.raises(emulator.CompileError, match=r"kernel\.cu:2: curandState is not emulated; it is the XORWOW gen"):
        emulator.Module(source).library(False)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_the_first_line_says_what_to_use_instead(name):
    source = read_source(f"\n#ifndef MINIBERT_EMULATOR\n{name} x;\n#endif\nint y = z;")
    says = explain_refusal(f"kernel.cu:3: error: '{name}' was not declared in this scope", source)
    assert says is not None and says.startswith(f"kernel.cu:3: {name} is not emulated; ")
    assert explain_refusal("kernel.cu:5: error: 'z' was not declared", source) is None  # the #ifndef leaves it out
