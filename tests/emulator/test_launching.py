"""What a launch takes: grids, blocks, arguments; everything else is refused in words that help."""

import threading

import numpy as np
import pytest

from minibert import emulator

pytestmark = pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))

SOURCE = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
struct Two { int first; float second; };
__global__ void many(const float* x, double* y, int n, long long big, unsigned u, float f, double d, bool flag,
                     Two two) {
    y[0] = double(x[0]) + n + big + u + f + d + flag + two.first + two.second;
}
__global__ void add_one(int* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1;
}
__global__ void sixteen(const __half* x, __nv_bfloat16* y, unsigned char* z, void* w, const float4* v) {}
__global__ void asks_null(const float* x, int* out) { out[0] = x == nullptr; }
__global__ void needs_shared(int* x) {
    extern __shared__ int scratch[];
    scratch[threadIdx.x] = 1;
    x[threadIdx.x] = scratch[threadIdx.x];
}
"""


@pytest.fixture(scope="module")
def module():
    return emulator.Module(SOURCE)


def arguments(**changes):
    two = np.array((7, 8), dtype=[("first", np.int32), ("second", np.float32)])[()]
    given = dict(x=np.ones(1, np.float32), y=np.zeros(1), n=np.int32(2), big=np.int64(2**40), u=np.uint32(3))
    given |= dict(f=np.float32(0.5), d=np.float64(0.25), flag=np.bool_(True), two=two)
    return tuple((given | changes).values())


@pytest.mark.parametrize("checked", [False, True])
def test_every_type_of_parameter(module, checked):
    with emulator.checking(checked):
        for given in (arguments(), arguments(big=2**40, d=0.25, flag=True)):  # Python numbers where CUDA has 64 bits
            module.kernel("many")(1, 1, given)
            assert given[1][0] == 1 + 2 + 2**40 + 3 + 0.5 + 0.25 + 1 + 7 + 8


def test_parameters_are_described(module):
    described = [tuple(parameter) for parameter in module.kernel("many").parameters[:4]]
    assert described == [
        ("const float*", 8, True, np.float32),
        ("double*", 8, True, np.float64),
        ("int", 4, False, np.int32),
        ("long long", 8, False, np.int64),
    ]
    kinds = [parameter.dtype and parameter.dtype.name for parameter in module.kernel("sixteen").parameters]
    assert kinds == ["float16", "bfloat16", "uint8", None, "float32"]


WRONG = [
    (dict(n=2), "argument 2 (int): expected int32, got int64 (a Python int is passed in 64 bits)"),
    (dict(f=0.5), "argument 5 (float): expected float32, got float64 (a Python float is passed in 64 bits)"),
    (dict(u=np.int32(3)), "argument 4 (unsigned int): expected uint32, got int32"),
    (dict(flag=np.int8(1)), "argument 7 (bool): expected bool, got int8"),
    (dict(n=np.zeros(1, np.int32)), "argument 2 (int): expected a value, got an array of shape (1,)"),
    (dict(n="two"), "argument 2 (int): str 'two' cannot be passed"),
    (dict(two=np.int32(1)), "argument 8 (Two): expected a structured scalar of 8 bytes, got int32"),
    (dict(x=np.float32(1)), "expected an array (or np.uintp(0))"),
    (dict(x=[1.0]), "argument 0 (const float*): expected an array (or np.uintp(0)), got list [1.0]"),
    (dict(x=np.uintp(4096)), "expected an array (or np.uintp(0))"),
    (dict(x=np.ones(1)), "argument 0 (const float*): expected an array of float32, got float64"),
    (dict(x=np.ones((4, 4), np.float32).T), "argument 0 (const float*): the array of shape (4, 4) is not contiguous"),
    (dict(x=np.ones(8, np.float32)[::2]), "argument 0 (const float*): the array of shape (4,) is not contiguous"),
]


@pytest.mark.parametrize("changes, message", WRONG)
def test_wrong_arguments(module, changes, message):
    with pytest.raises(emulator.ArgumentError) as caught:
        module.kernel("many")(1, 1, arguments(**changes))
    assert message in str(caught.value) and str(caught.value).startswith("many: ")
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, emulator.LaunchError)


def test_wrong_number_of_arguments(module):
    with pytest.raises(emulator.LaunchError, match=r"add_one: expected 2 arguments \(int\*, int\), got 1"):
        module.kernel("add_one")(1, 1, (np.zeros(1, np.int32),))


def test_read_only_arrays(module):
    x, y = np.ones(1, np.float32), np.zeros(1)
    x.flags.writeable = False
    module.kernel("many")(1, 1, arguments(x=x, y=y))  # a pointer to constants
    y.flags.writeable = False
    with pytest.raises(emulator.ArgumentError, match="read-only"):
        module.kernel("many")(1, 1, arguments(y=y))


def test_null_pointers(module):
    for null in (np.uintp(0), None):
        out = np.zeros(1, np.int32)
        module.kernel("asks_null")(1, 1, (null, out))
        assert out[0] == 1


def test_empty_arrays(module):
    with emulator.checking():
        module.kernel("add_one")(1, 32, (np.zeros(0, np.int32), np.int32(0)))


@pytest.mark.parametrize(
    "grid, block, message",
    [
        (0, 32, "grid is 0; expected 1 to"),
        ((1, 65536), 32, "grid is (1, 65536); expected"),
        (1, 1025, "block is 1025; expected"),
        (1, (32, 33), "block (32, 33, 1) has 1056 threads; expected at most 1024"),
        (1, (1, 1, 65), "block is (1, 1, 65); expected"),
        ((1, 1, 1, 1), 1, "expected a number of blocks or a tuple of one to three"),
        (1, 1.5, "block is 1.5; expected a number of threads"),
        (1, 0, "block is 0"),
    ],
)
def test_wrong_sizes(module, grid, block, message):
    with pytest.raises(emulator.LaunchError) as caught:
        module.kernel("add_one")(grid, block, (np.zeros(1, np.int32), np.int32(1)))
    assert message in str(caught.value)


def test_sizes_may_be_numbers_or_tuples(module):
    for grid, block in ((2, 16), ((2,), (16,)), ((2, 1), (16, 1)), ((1, 2, 1), [np.int64(16), 1, 1])):
        x = np.zeros(32, np.int32)
        module.kernel("add_one")(grid, block, (x, np.int32(32)))
        assert x.sum() == (32 if grid != (1, 2, 1) else 32)


def test_dynamic_shared_memory_must_be_asked_for(module):
    kernel, x = emulator.Module(SOURCE).kernel("needs_shared"), np.zeros(32, np.int32)
    kernel(1, 32, (x,), shared=128)
    assert x.tolist() == [1] * 32
    with pytest.raises(emulator.LaunchError, match="set max_dynamic_shared_size_bytes first"):
        kernel(1, 32, (x,), shared=48 * 1024 + 1)
    with pytest.raises(emulator.LaunchError, match="at most 232448"):
        kernel.max_dynamic_shared_size_bytes = 228 * 1024
    kernel.max_dynamic_shared_size_bytes = 227 * 1024
    kernel(1, 32, (x,), shared=227 * 1024)


def test_kernels_are_found_by_name(module):
    assert module.kernel("add_one") is module.kernel("add_one")
    with pytest.raises(KeyError, match="no kernel 'add_two'.*add_one"):
        module.kernel("add_two")


def test_arrays_may_be_of_any_alignment(module):
    """NumPy's memory begins anywhere; a GPU's at multiples of 256 bytes, and so it does for the kernel."""
    raw = np.zeros(4 * 100 + 1, np.uint8)
    for start in (0, 1):
        x = np.ndarray(100, np.int32, raw[start:], 0)
        module.kernel("add_one")(4, 32, (x, np.int32(100)))
        assert (x == 1).all()
        raw[:] = 0


def test_threads_of_python_take_turns(module):
    arrays = [np.zeros(1000, np.int32) for _ in range(4)]

    def launch_often(x):
        for _ in range(20):
            module.kernel("add_one")(8, 128, (x, np.int32(1000)))

    threads = [threading.Thread(target=launch_often, args=(x,)) for x in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((x == 20).all() for x in arrays)


def test_modes_end_with_their_block(module):
    from minibert.emulator import modes

    before = modes.current()
    with pytest.raises(KeyError), emulator.checking(), emulator.ordered("random", 3), emulator.time_limit(5):
        assert modes.current() == modes.Mode(checked=True, order="random", seed=3, seconds=5)
        raise KeyError
    assert modes.current() == before


def test_ctrl_c_stops_a_kernel():
    import signal

    kernel = emulator.Module("__global__ void endless(volatile int* x) { while (x[0] == 0) {} }").kernel()
    kernel.parameters  # noqa: B018  (compiled now)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        kernel(1, 1, (np.zeros(1, np.int32),))
    timer.join()
