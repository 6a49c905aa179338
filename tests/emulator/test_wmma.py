"""Tensor cores on the emulator: products of all shapes, layouts and types, and the mistakes that must be caught."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from minibert import emulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status())),
]

SHAPES = [(16, 16, 16), (32, 8, 16), (8, 32, 16)]
TYPES = {"__half": np.float16, "__nv_bfloat16": ml_dtypes.bfloat16, "float": np.float32}
LAYOUTS = ["row_major", "col_major"]

PRODUCT = """
#include <mma.h>
using namespace nvcuda;
using wmma::row_major;
using wmma::col_major;

// d = 2 a b + 3, d of the layout asked for; the 2 and the 3 element by element
template <int M, int N, int K, typename T, typename LA, typename LB, typename D>
__global__ void product(const T* a, const T* b, D* d, unsigned lda, unsigned ldb, unsigned ldd, int by_rows) {
    wmma::fragment<wmma::matrix_a, M, N, K, T, LA> a_part;
    wmma::fragment<wmma::matrix_b, M, N, K, T, LB> b_part;
    wmma::fragment<wmma::accumulator, M, N, K, D> sum, doubled;
    wmma::fill_fragment(sum, D(3.0f));
    wmma::load_matrix_sync(a_part, a, lda);
    wmma::load_matrix_sync(b_part, b, ldb);
    for (int i = 0; i < a_part.num_elements; i++) a_part.x[i] = T(2.0f) * a_part.x[i];
    wmma::mma_sync(doubled, a_part, b_part, sum);
    wmma::store_matrix_sync(d, doubled, ldd, by_rows ? wmma::mem_row_major : wmma::mem_col_major);
}

// c + d by way of fragments, one loaded by rows, the other by columns
template <int M, int N, int K, typename D>
__global__ void add(const D* c, const D* d, D* sum, unsigned ld_c, unsigned ld_d) {
    wmma::fragment<wmma::accumulator, M, N, K, D> c_part, d_part;
    wmma::load_matrix_sync(c_part, c, ld_c, wmma::mem_row_major);
    wmma::load_matrix_sync(d_part, d, ld_d, wmma::mem_col_major);
    for (int i = 0; i < c_part.num_elements; i++) d_part.x[i] = c_part.x[i] + d_part.x[i];
    wmma::store_matrix_sync(sum, d_part, ld_c, wmma::mem_row_major);
}

__global__ void shares(const float* c, float* held) {
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> part;
    wmma::load_matrix_sync(part, c, 16, wmma::mem_row_major);
    for (int i = 0; i < part.num_elements; i++) held[threadIdx.x * part.num_elements + i] = part.x[i];
}
"""


def instance(shape, T, layout_a, layout_b, D):
    return f"product<{shape[0]}, {shape[1]}, {shape[2]}, {T}, {layout_a}, {layout_b}, {D}>"


KINDS = [("__half", "float"), ("__half", "__half"), ("__nv_bfloat16", "float")]
CASES = [(shape, T, a, b, D) for shape in SHAPES for T, D in KINDS for a, b in itertools.product(LAYOUTS, LAYOUTS)]


@pytest.fixture(scope="module")
def module():
    names = [instance(*case) for case in CASES] + ["shares"]
    names += [f"add<{m}, {n}, {k}, {D}>" for m, n, k in SHAPES for D in ("float", "__half")]
    return emulator.Module(PRODUCT, names=names)


def laid_out(matrix, layout, extra):
    """A matrix in memory as a layout wants it, with `extra` elements of NaN after each row or column."""
    lines = matrix if layout == "row_major" else matrix.T
    scratch = np.full((len(lines), lines.shape[1] + extra), np.nan, matrix.dtype)
    scratch[:, : lines.shape[1]] = lines
    return scratch


@pytest.mark.parametrize("case", CASES, ids=lambda case: instance(*case))
def test_products(module, case):
    (m, n, k), T, layout_a, layout_b, D = case
    rng = np.random.default_rng(0)
    for values, extra in (lambda *shape: rng.integers(-8, 9, shape), 0), (lambda *shape: rng.normal(size=shape), 8):
        a, b = values(m, k).astype(TYPES[T]), values(k, n).astype(TYPES[T])
        in_memory_a, in_memory_b = laid_out(a, layout_a, extra), laid_out(b, layout_b, 2 * extra)
        exact = 2 * a.astype(np.float64) @ b.astype(np.float64) + 3
        # rounding: of each product of the sum in float32, and of the result
        size = 2 * np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64)) + 3
        bound = (k + 1) * 2.0**-24 * size + (2.0**-11 * np.abs(exact) if D == "__half" else 0)
        for by_rows in 1, 0:
            layout = LAYOUTS[1 - by_rows]
            d = laid_out(np.zeros((m, n), TYPES[D]), layout, extra)
            lds = [np.uint32(array.shape[1]) for array in (in_memory_a, in_memory_b, d)]
            module.kernel(instance(*case))(1, 32, (in_memory_a, in_memory_b, d, *lds, np.int32(by_rows)))
            lines = (m, n) if by_rows else (n, m)
            assert np.isnan(d[:, lines[1] :].astype(np.float32)).all()  # nothing was written beyond the matrix
            result = d[:, : lines[1]] if by_rows else d[:, : lines[1]].T
            error = np.abs(result.astype(np.float64) - exact)
            assert np.all(error <= (bound if extra else 0)), error.max()


@pytest.mark.parametrize("D", ["float", "__half"])
@pytest.mark.parametrize("shape", SHAPES)
def test_element_by_element(module, shape, D):
    """Fragments of one type hold the same elements at the same lines, however they were loaded."""
    m, n, k = shape
    rng = np.random.default_rng(1)
    c, d = (rng.integers(-99, 99, (m, n)).astype(TYPES[D]) for _ in range(2))
    total = np.zeros((m, n), TYPES[D])
    by_columns = np.ascontiguousarray(d.T)
    module.kernel(f"add<{m}, {n}, {k}, {D}>")(1, 32, (c, by_columns, total, np.uint32(n), np.uint32(m)))
    assert np.array_equal(total, c + d)


def test_shares_are_scrambled(module):
    """Every element is held once, and in no order that a kernel could come to count on."""
    c = np.arange(256, dtype=np.float32).reshape(16, 16)
    held = np.zeros((32, 8), np.float32)
    module.kernel("shares")(1, 32, (c, held))
    assert sorted(held.ravel().tolist()) == list(range(256))
    rows, columns = held // 16, held % 16
    for lane in range(32):
        assert len(set(rows[lane])) > 2 and len(set(columns[lane])) > 2
    assert np.mean(np.diff(held.ravel()) == 1) < 0.05


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_many_warps_and_blocks_in_any_order(order):
    """C = A B, each warp a tile of 16 x 16, two warps in a block."""
    source = """
    #include <mma.h>
    using namespace nvcuda;
    __global__ void multiply(const __half* a, const __half* b, float* c, int n, int k) {
        int row = 16 * (2 * blockIdx.y + threadIdx.x / 32), column = 16 * blockIdx.x;
        wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a_part;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::row_major> b_part;
        wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
        wmma::fill_fragment(sum, 0.0f);
        for (int at = 0; at < k; at += 16) {
            wmma::load_matrix_sync(a_part, a + row * k + at, k);
            wmma::load_matrix_sync(b_part, b + at * n + column, n);
            wmma::mma_sync(sum, a_part, b_part, sum);
        }
        wmma::store_matrix_sync(c + row * n + column, sum, n, wmma::mem_row_major);
    }
    """
    rng = np.random.default_rng(2)
    a, b = rng.integers(-8, 9, (64, 48)).astype(np.float16), rng.integers(-8, 9, (48, 80)).astype(np.float16)
    c = np.zeros((64, 80), np.float32)
    kernel = emulator.Module(source, names=["multiply"]).kernel("multiply")
    with emulator.ordered(order, seed=3):
        kernel((5, 2), 64, (a, b, c, np.int32(80), np.int32(48)))
        with emulator.checking():
            kernel((5, 2), 64, (a, b, c, np.int32(80), np.int32(48)))
    assert np.array_equal(c, a.astype(np.float32) @ b.astype(np.float32))


# ------------------------------------------------------------------------------------------------- mistakes

# A product by way of shared memory, which is right; each mistake changes one line of it.
SHARED = """
#include <mma.h>
using namespace nvcuda;
__global__ void multiply(const __half* a, const __half* b, float* d) {
    __shared__ alignas(32) __half a_tile[16 * 24];
    __shared__ alignas(32) float d_tile[16 * 20];
    int lane = threadIdx.x;
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> a_part;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> b_part;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    wmma::fill_fragment(sum, 0.0f);
    for (int i = lane; i < 256; i += 32) a_tile[i / 16 * 24 + i % 16] = a[i];
    __syncthreads();
    wmma::load_matrix_sync(a_part, a_tile, 24);
    wmma::load_matrix_sync(b_part, b, 16);
    wmma::mma_sync(sum, a_part, b_part, sum);
    wmma::store_matrix_sync(d_tile, sum, 20, wmma::mem_row_major);
    __syncwarp();
    for (int i = lane; i < 256; i += 32) d[i] = d_tile[i / 16 * 20 + i % 16];
}
"""


def line_of(source, text):
    """The number of the first line with that text."""
    return next(number for number, line in enumerate(source.splitlines(), 1) if text in line)


def multiply(kernel, check, threads=32):
    """Runs a kernel that should compute a b^T.  Returns what it computed and what is right."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(16, 16)).astype(np.float16), rng.normal(size=(16, 16)).astype(np.float16)
    d = np.zeros((16, 16), np.float32)
    with emulator.checking(check):
        kernel(1, threads, (a, b, d))
    return d, a.astype(np.float32) @ b.astype(np.float32).T


# who comes too early, in whichever order, meets either what was not written yet or what is being written
TOO_EARLY = emulator.RaceError, emulator.UninitialisedError
# what is wrong: the right text, the wrong text, the error, the text of a line that it names, only in check mode?
MISTAKES = {
    "no barrier before a tile is loaded": (
        "    __syncthreads();", "", TOO_EARLY, "load_matrix_sync(a_part", True),
    "no barrier after a tile was stored": (
        "    __syncwarp();", "", TOO_EARLY, "d[i] = d_tile", True),
    "rows that are 9 * 2 bytes apart": (
        "a_tile, 24);", "a_tile, 9);", emulator.MisalignedError, "load_matrix_sync(a_part", False),
    "rows of floats that are 18 * 4 bytes apart": (
        "sum, 20,", "sum, 18,", emulator.MisalignedError, "store_matrix_sync", False),
    "a matrix that begins 16 bytes into a line": (
        "load_matrix_sync(a_part, a_tile", "load_matrix_sync(a_part, a_tile + 8", emulator.MisalignedError,
        "load_matrix_sync(a_part", False),
    "half of a warp loads": (
        "    wmma::load_matrix_sync(b_part", "    if (lane < 16) wmma::load_matrix_sync(b_part",
        emulator.DivergenceError, "load_matrix_sync(b_part", False),
    "half of a warp multiplies": (
        "    wmma::mma_sync", "    if (lane % 2) wmma::mma_sync", emulator.DivergenceError, "mma_sync", False),
    "a lane has gone": (
        "    __syncthreads();", "    __syncthreads(); if (lane == 31) return;", emulator.DivergenceError,
        "load_matrix_sync(a_part", False),
    "each lane loads from elsewhere": (
        "b_part, b,", "b_part, b + 16 * (lane % 2),", emulator.DivergenceError, "load_matrix_sync(b_part", False),
    "each lane has its own leading dimension": (
        "b_part, b, 16", "b_part, b, lane < 31 ? 16 : 8", emulator.DivergenceError, "load_matrix_sync(b_part", False),
    "the matrix is longer than its array": (
        "b_part, b, 16", "b_part, b, 24", emulator.OutOfBoundsError, "load_matrix_sync(b_part", True),
    "the tile is longer than its array": (
        "sum, 20,", "sum, 24,", emulator.OutOfBoundsError, "store_matrix_sync", True),
    "half of the tile was never written": (
        "i < 256; i += 32) a_tile", "i < 128; i += 32) a_tile", emulator.UninitialisedError,
        "load_matrix_sync(a_part", True),
    "the sum begins with nothing": (
        "    wmma::fill_fragment(sum, 0.0f);", "", emulator.UninitialisedError, "mma_sync", True),
    "a load is no barrier": (
        "    wmma::load_matrix_sync(b_part, b, 16);",
        "    d_tile[lane] = 1; wmma::load_matrix_sync(b_part, b, 16); if (d_tile[lane ^ 1] > 9) return;",
        TOO_EARLY, "load_matrix_sync(b_part", True),
    "a product is no barrier": (
        "    wmma::mma_sync(sum, a_part, b_part, sum);",
        "    d_tile[lane] = 1; wmma::mma_sync(sum, a_part, b_part, sum); if (d_tile[lane ^ 1] > 9) return;",
        TOO_EARLY, "mma_sync", True),
    "rows of the result overlap": (
        "sum, 20,", "sum, 12,", emulator.RaceError, "store_matrix_sync", True),
}  # fmt: skip


def spoilt(right, wrong):
    assert SHARED.count(right) == 1
    return SHARED.replace(right, wrong)


SOURCES = {
    "nothing": SHARED,
    "no fill": spoilt("    wmma::fill_fragment(sum, 0.0f);", ""),
    "a block of 48 threads": spoilt("int lane = threadIdx.x;", "int lane = threadIdx.x % 32;"),
} | {name: spoilt(*mistake[:2]) for name, mistake in MISTAKES.items()}


@pytest.fixture(scope="module")
def spoilt_kernel():
    """spoilt_kernel(name): the kernel with that mistake.  They are compiled together, and all begin at line 1."""
    text = "".join(
        f'#line 1 "kernel.cu"\n{source.replace("multiply", f"multiply_{number}")}'
        for number, source in enumerate(SOURCES.values())
    )
    module = emulator.Module(text)
    return lambda name: module.kernel(f"multiply_{list(SOURCES).index(name)}")


@pytest.mark.parametrize("check", [False, True])
def test_the_right_kernel_is_right(spoilt_kernel, check):
    d, expected = multiply(spoilt_kernel("nothing"), check)
    assert np.allclose(d, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(spoilt_kernel, mistake):
    _, _, error, text, only_checked = MISTAKES[mistake]
    kernel, line = spoilt_kernel(mistake), line_of(SOURCES[mistake], text)
    with pytest.raises(error) as caught:
        multiply(kernel, check=True)
    assert f"kernel.cu:{line}" in str(caught.value)
    assert caught.value.file == "kernel.cu" and caught.value.line is not None and caught.value.kernel == kernel.name
    assert tuple(caught.value.block) == (0, 0, 0) and caught.value.thread is not None
    if not only_checked:
        with pytest.raises(error) as caught:
            multiply(kernel, check=False)
        assert f"kernel.cu:{line}" in str(caught.value)


def test_a_warp_that_is_not_full(spoilt_kernel):
    with pytest.raises(emulator.DivergenceError, match="16 threads"):
        multiply(spoilt_kernel("a block of 48 threads"), check=False, threads=48)


def test_a_forgotten_fill_gives_nan(spoilt_kernel):
    d, _ = multiply(spoilt_kernel("no fill"), check=False)
    assert np.isnan(d).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "declaration",
    [
        "wmma::fragment<wmma::matrix_a, 16, 16, 8, __half, wmma::row_major> f;",
        "wmma::fragment<wmma::matrix_a, 16, 16, 16, float, wmma::row_major> f;",
        "wmma::fragment<wmma::matrix_a, 16, 16, 16, __half> f;",
        "wmma::fragment<wmma::accumulator, 16, 16, 16, __nv_bfloat16> f;",
    ],
)
def test_fragments_that_do_not_exist(declaration):
    source = f"#include <mma.h>\nusing namespace nvcuda;\n__global__ void f() {{ {declaration} }}"
    with pytest.raises(Exception, match="wmma|is row_major or col_major"):
        emulator.Module(source, names=["f"]).kernel("f")(1, 32, ())
