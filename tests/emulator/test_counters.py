"""Sectors and bank conflicts on patterns for which one can count them by hand."""

import numpy as np
import pytest

from minibert import emulator

pytestmark = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

SOURCE = """
__global__ void strided(const float* x, float* y, int stride, int first) {
    float value = x[threadIdx.x * stride + first];
    y[threadIdx.x] = value;
}
template <typename T> __global__ void shared(T* x, int stride) {
    __shared__ T scratch[1024];
    scratch[threadIdx.x * stride] = x[0];
}
__global__ void column(float* x) {
    __shared__ float tile[32][32], padded[32][33];
    for (int row = 0; row < 32; row++) {
        tile[row][threadIdx.x] = 0;
        padded[row][threadIdx.x] = 0;
    }
    __syncwarp();
    x[threadIdx.x] = tile[threadIdx.x][5];
    x[threadIdx.x] += padded[threadIdx.x][5];
}
template <typename T> struct alignas(16) Vec { T at[16 / sizeof(T)]; };
__global__ void copy(const float* from, float* to, int n) {
    for (int i = threadIdx.x; i < n / 4; i += blockDim.x) {
        Vec<float> vec = reinterpret_cast<const Vec<float>*>(from)[i];
        for (int k = 0; k < 4; k++) vec.at[k] += 1;
        reinterpret_cast<Vec<float>*>(to)[i] = vec;
    }
}
__global__ void one_word(float* x) {
    __shared__ float scratch[1];
    if (threadIdx.x == 0) scratch[0] = 1;
    __syncthreads();
    x[threadIdx.x] = scratch[0];
}
"""


@pytest.fixture(scope="module")
def module():
    types = [f"shared<{name}>" for name in ("float", "float2", "float4", "unsigned char")]
    return emulator.Module(SOURCE, names=["strided", "column", "copy", "one_word", *types])


def count(module, name, block, *arguments, grid=1):
    with emulator.counting() as counts:
        module.kernel(name)(grid, block, arguments)
    return counts[name]


@pytest.mark.parametrize(
    "stride, first, sectors",
    [(1, 0, 4), (2, 0, 8), (4, 0, 16), (8, 0, 32), (32, 0, 32), (0, 0, 1), (1, 1, 5), (1, 8, 4)],
)
def test_sectors(module, stride, first, sectors):
    x, y = np.zeros(1200, np.float32), np.zeros(32, np.float32)
    counts = count(module, "strided", 32, x, y, np.int32(stride), np.int32(first))
    read, write = counts.lines
    assert (read.line, read.space, read.action, read.accesses) == (3, "global", "read", 1)
    assert (read.transfers, read.least) == (sectors, 1 if stride == 0 else 4)
    assert (write.line, write.action, write.transfers, write.least) == (4, "write", 4, 4)
    assert (counts.sectors, counts.least_sectors) == (sectors + 4, read.least + 4)


@pytest.mark.parametrize(
    "name, stride, turns, least",
    [("float", 1, 1, 1), ("float", 2, 2, 1), ("float", 3, 1, 1), ("float", 16, 16, 1), ("float", 32, 32, 1)]
    + [("float", 0, 1, 1), ("unsigned char", 1, 1, 1), ("unsigned char", 32, 8, 1)]
    + [("float2", 1, 2, 2), ("float2", 2, 4, 2), ("float2", 16, 32, 2)]
    + [("float4", 1, 4, 4), ("float4", 2, 8, 4), ("float4", 3, 4, 4), ("float4", 8, 32, 4)],
)
def test_bank_conflicts(module, name, stride, turns, least):
    x = np.zeros(4, np.uint8 if name == "unsigned char" else np.float32)
    with emulator.counting() as counts:
        try:
            module.kernel(f"shared<{name}>")(1, 32, (x, np.int32(stride)))
        except emulator.RaceError:
            assert stride == 0  # all write to one place
            return
    (counts,) = counts.values()
    assert (counts.turns, counts.least_turns, counts.bank_conflicts) == (turns, least, turns - least)


def test_a_column_and_a_padded_column(module):
    counts = count(module, "column", 32, np.zeros(32, np.float32))
    reads = [line for line in counts.lines if line.space == "shared" and line.action == "read"]
    assert [line.transfers for line in reads] == [32, 1]


def test_the_same_word_for_all_is_no_conflict(module):
    assert count(module, "one_word", 64, np.zeros(64, np.float32)).bank_conflicts == 0


def test_vectors_are_one_access(module):
    """Sixteen bytes at once fill sixteen sectors for a warp, whatever the kernel then does with the elements."""
    x, y = np.zeros(512, np.float32), np.zeros(512, np.float32)
    counts = count(module, "copy", 32, x, y, np.int32(512))
    assert (y == 1).all()
    assert [(line.accesses, line.transfers, line.least) for line in counts.lines] == [(4, 64, 64), (4, 64, 64)]


def test_a_few_lanes_and_several_blocks(module):
    x, y = np.zeros(64, np.float32), np.zeros(32, np.float32)
    counts = count(module, "strided", 5, x, y, np.int32(8), np.int32(0))
    assert (counts.sectors, counts.least_sectors) == (5 + 1, 1 + 1)
    counts = count(module, "one_word", 40, np.zeros(40, np.float32))
    assert sum(line.accesses for line in counts.lines if line.space == "global") == 2  # warps


def test_counts_add_up_over_launches(module):
    x, y = np.zeros(64, np.float32), np.zeros(32, np.float32)
    with emulator.counting() as counts:
        for _ in range(3):
            module.kernel("strided")(1, 32, (x, y, np.int32(2), np.int32(0)))
    assert counts["strided"].launches == 3 and counts["strided"].sectors == 3 * 12
    assert "kernel.cu:3  global read: 3 warp accesses, 24 sectors (minimum possible: 12)" in str(counts)
