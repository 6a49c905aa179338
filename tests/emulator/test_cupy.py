"""The stand-in for CuPy: it computes as CuPy does, and refuses more."""

import gc

import ml_dtypes
import numpy as np
import pytest

from minibert.emulator import (
    ArgumentError,
    LaunchError,
    UninitialisedError,
    checking,
    compiler_status,
)
from minibert.emulator import (
    cupy as cp,
)
from minibert.emulator.cupy import products
from minibert.emulator.cupy.cuda.limits import MOST_SHARED

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
needs_compiler = pytest.mark.skipif(compiler_status() is not None, reason=str(compiler_status()))


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def forget():
    cp.launches.clear()
    cp.synchronisations.clear()


def host(array):
    return array.get()


# ----------------------------------------------------------------------------------------------- host and device


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_there_and_back(random, dtype):
    numbers = random.normal(size=(3, 4)).astype(dtype)
    array = cp.asarray(numbers)
    assert isinstance(array, cp.ndarray) and array.dtype == dtype and array.data.ptr % 256 == 0
    assert host(array).dtype == dtype and np.array_equal(host(array), numbers)
    numbers[...] = 0
    assert host(array).any()  # a copy


def mixtures():
    device, numbers = cp.ones(3), np.ones(3)
    return {
        "device + host": lambda: device + numbers,
        "host + device": lambda: numbers + device,
        "host += device": lambda: numbers.__iadd__(device),
        "device == host": lambda: device == numbers,
        "device[...] = host": lambda: device.__setitem__(..., numbers),
        "device[host]": lambda: device[np.array([0])],
        "device[list]": lambda: device[[0, 1]],
        "numpy function": lambda: np.sqrt(device),
        "numpy reduction": lambda: np.sum(device),
        "numpy.asarray": lambda: np.asarray(device),
        "assign to host": lambda: numbers.__setitem__(..., device),
        "function of host": lambda: cp.sqrt(numbers),
        "reduction of host": lambda: cp.sum(numbers),
        "matmul": lambda: cp.matmul(cp.ones((3, 3)), np.ones((3, 3))),
        "add": lambda: cp.add(device, numbers),
        "list of device arrays": lambda: cp.asarray([device, device]),
        "fill": lambda: device.fill(numbers),
        "concatenate": lambda: cp.concatenate([device, numbers]),
        "where": lambda: cp.where(device > 0, numbers, 0.0),
    }


@pytest.mark.parametrize("mixture", mixtures())
def test_host_and_device_do_not_mix(mixture):
    with pytest.raises(TypeError):
        mixtures()[mixture]()


def test_set_demands_the_same_dtype_and_shape():
    array = cp.empty((2, 3), np.float32)
    array.set(np.full((2, 3), 7, np.float32))
    assert (host(array) == 7).all()
    with pytest.raises(TypeError, match="float64 array cannot be set to a float32"):
        array.set(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="shape"):
        array.set(np.zeros(6, np.float32))
    with pytest.raises(RuntimeError, match="non-contiguous"):
        array.T.set(np.zeros((3, 2), np.float32))


def test_strings_and_objects_are_refused():
    for numbers in (np.array(["a"]), np.array([None]), np.zeros(2, ">f4"), np.zeros(2, np.complex64)):
        with pytest.raises(TypeError, match="cannot be on the device"):
            cp.asarray(numbers)


def test_what_is_not_there_says_so():
    with pytest.raises(AttributeError, match="check that CuPy has it"):
        cp.einsum  # noqa: B018
    with pytest.raises(AttributeError, match="check that CuPy's arrays have it"):
        cp.ones(2).argmax()


# ------------------------------------------------------------------------------------------- operators and functions


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_operators_compute_as_numpy_does(random, dtype):
    a, b = (random.uniform(1, 2, size=(3, 4)).astype(dtype) for _ in range(2))
    x, y = cp.asarray(a), cp.asarray(b)
    two = dtype.type(2)
    pairs = [
        (x + y, a + b),
        (x - y, a - b),
        (x * y, a * b),
        (x / y, a / b),
        (-x, -a),
        (abs(-x), a),
        (x * two, a * two),
        (two * x, two * a),
        (two - x, two - a),
        (two / x, two / a),
        (x < y, a < b),
        (x >= y, a >= b),
        (x == x, a == a),
        (cp.sqrt(x), np.sqrt(a)),
        (cp.minimum(x, y), np.minimum(a, b)),
        (cp.maximum(x, two), np.maximum(a, two)),
        (cp.isfinite(x), np.isfinite(a)),
        (cp.where(x < y, x, y), np.where(a < b, a, b)),
        (x.T, a.T),
        (x.reshape(2, 6), a.reshape(2, 6)),
        (x.T.reshape(-1), a.T.reshape(-1)),
        (x.astype(np.float32), a.astype(np.float32)),
        (x.max(axis=0), a.max(axis=0)),
        (x.min(), np.asarray(a.min())),
        (cp.concatenate([x, y], axis=1), np.concatenate([a, b], axis=1)),
    ]
    for ours, numpys in pairs:
        assert ours.dtype == numpys.dtype and ours.shape == numpys.shape
        assert np.array_equal(host(ours), numpys)
    x += y
    x *= two
    x -= y
    x /= two
    assert np.array_equal(host(x), ((a + b) * two - b) / two)


def test_sums_of_sixteen_bits_are_rounded_once():
    ones = cp.ones(5000, np.float16)
    assert float(ones.sum()) == 5000  # added up in float16 it would stop at 2048
    assert cp.ones(5000, BFLOAT16).sum().dtype == BFLOAT16
    assert float(cp.ones(5000, BFLOAT16).sum()) == float(BFLOAT16.type(5000))  # in bfloat16 at 256


def test_sums_of_integers_are_wide():
    assert cp.full(3, 2**30, np.int32).sum().dtype == np.int64
    assert int(cp.full(3, 2**30, np.int32).sum()) == 3 * 2**30


def test_reductions_and_elements_are_zero_dimensional_arrays():
    x = cp.arange(6, dtype=np.float32)
    for result in (x.sum(), cp.max(x), cp.min(x), x[3], cp.dot(x, x)):
        assert isinstance(result, cp.ndarray) and result.shape == ()


def test_a_slice_is_a_view_and_an_index_array_copies():
    x = cp.zeros((4, 3), np.float32)
    x[1:3] = 5
    x[0, 1] = cp.full((), 9, np.float32)
    x[:, 2][...] += np.float32(1)
    assert host(x).tolist() == [[0, 9, 1], [5, 5, 6], [5, 5, 6], [0, 0, 1]]
    rows = x[cp.asarray(np.array([3, 0]))]
    rows.fill(0)
    assert host(x)[0, 1] == 9
    with pytest.raises(IndexError):
        x[cp.asarray(np.array([4]))]  # CuPy would wrap it around
    with pytest.raises(TypeError, match="only to slices"):
        x[cp.asarray(np.array([0, 0]))] = 1


def test_python_floats_beside_bfloat16_are_refused():
    with pytest.raises(TypeError, match="bfloat16 array and a Python float"):
        cp.ones(2, BFLOAT16) * 0.5


def test_what_thrust_cannot_sort():
    assert host(cp.sort(cp.asarray(np.array([3, 1, 2])))).tolist() == [1, 2, 3]
    assert host(cp.argsort(cp.asarray(np.array([3, 1, 1])))).tolist() == [1, 2, 0]
    with pytest.raises(TypeError, match="bfloat16"):
        cp.sort(cp.ones(3, BFLOAT16))
    with pytest.raises(NotImplementedError, match="non-contiguous"):
        cp.sort(cp.ones((2, 3)).T)


def test_cumsum_is_for_integers():
    lengths = cp.asarray(np.array([2, 0, 5], np.int32))
    assert host(cp.cumsum(lengths)).tolist() == [2, 2, 7]
    assert host(cp.searchsorted(cp.cumsum(lengths), cp.arange(7), side="right")).tolist() == [0, 0, 2, 2, 2, 2, 2]
    with pytest.raises(TypeError, match="run to run"):
        cp.cumsum(cp.ones(3))


# ----------------------------------------------------------------------------------------------------- products


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_products_are_rounded_once(random, dtype):
    a, b = random.normal(size=(5, 7)).astype(dtype), random.normal(size=(6, 7)).astype(dtype)
    out = cp.empty((5, 6), dtype)
    result = cp.matmul(cp.asarray(a), cp.asarray(b).T, out=out)
    wide = np.float64 if dtype == np.float64 else np.float32
    assert result is out and out.dtype == dtype
    assert np.array_equal(host(out), (a.astype(wide) @ b.astype(wide).T).astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS[:2], ids=str)
def test_products_of_sixteen_bits_add_up_in_float32(dtype):
    result = cp.matmul(cp.ones((2, 5000), dtype), cp.ones((5000, 2), dtype))
    assert (host(result) == dtype.type(5000)).all()


def test_the_one_by_one_product_rounds_each_of_its_products():
    a = cp.full((1, 2), 1 + 2**-10, np.float16)  # its square needs more bits
    b = cp.asarray(np.array([[1 + 2**-10], [-1]], np.float16))
    assert float(cp.matmul(a, b)[0, 0]) == 2**-10
    assert float(cp.matmul(cp.concatenate([a, a]), b)[0, 0]) == np.float16(2**-10 + 2**-20)


@pytest.mark.parametrize(
    "a, b, out, error",
    [
        (cp.ones((2, 3, 3)), cp.ones((2, 3, 3)), None, ValueError),
        (cp.ones(3), cp.ones((3, 3)), None, ValueError),
        (cp.ones((2, 3)), cp.ones((2, 3)), None, ValueError),
        (cp.ones((2, 3)), cp.ones((3, 2), np.float32), None, TypeError),
        (cp.ones((2, 3), np.int32), cp.ones((3, 2), np.int32), None, TypeError),
        (cp.ones((2, 3)), cp.ones((3, 2)), cp.ones((4,)), ValueError),  # CuPy looks at its size only
        (cp.ones((2, 3)), cp.ones((3, 2)), cp.ones((2, 2)).T[:, ::-1], ValueError),
        (cp.ones((2, 3)), cp.ones((3, 2)), cp.ones((2, 2), np.float32), TypeError),
    ],
)
def test_doubtful_products_are_refused(a, b, out, error):
    with pytest.raises(error):
        cp.matmul(a, b, out=out)


def test_a_product_into_its_own_operand_is_refused():
    a = cp.ones((3, 3))
    with pytest.raises(ValueError, match="overlaps"):
        cp.matmul(a, a, out=a)


def test_tf32_rounds_the_operands(random):
    a = random.normal(size=(8, 8)).astype(np.float32)
    exact = a.astype(np.float64) @ a.astype(np.float64)
    tf32 = cp._core._routines_linalg.COMPUTE_TYPE_TF32
    cp._core.set_compute_type(np.float32, tf32)
    try:
        assert cp._core.get_compute_type(np.float32) == tf32
        error = np.abs(host(cp.matmul(cp.asarray(a), cp.asarray(a))) - exact).max()
    finally:
        cp._core.set_compute_type(np.float32, cp._core._routines_linalg.COMPUTE_TYPE_DEFAULT)
    assert 1e-5 < error < 16 * 8 * 2.0**-12 * np.abs(a).max() ** 2
    assert np.abs(host(cp.matmul(cp.asarray(a), cp.asarray(a))) - exact).max() < 1e-5


def test_rounding_to_tf32():
    numbers = np.array([1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20, np.inf, -np.inf], np.float32)
    rounded = [1 + 2**-10, 1, 1 + 2**-9, 1 + 2**-10, np.inf, -np.inf]
    assert products.round_to_tf32(numbers).tolist() == rounded
    assert np.isnan(products.round_to_tf32(np.array([np.nan], np.float32))).all()


# ---------------------------------------------------------------------------------------- waiting for the device

WAITING = {
    "get": lambda x: x.get(),
    "asnumpy": lambda x: cp.asnumpy(x),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "bool": lambda x: bool(x[0] > 0),
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "repr": lambda x: repr(x),
    "indexing by a mask": lambda x: x[x > 0],
    "set from memory that is not pinned": lambda x: x.set(np.ones(4, np.float32)),
    "cuda.Stream.synchronize": lambda x: cp.cuda.get_current_stream().synchronize(),
    "cuda.Device.synchronize": lambda x: cp.cuda.Device().synchronize(),
    "cuda.runtime.deviceSynchronize": lambda x: cp.cuda.runtime.deviceSynchronize(),
}


@pytest.mark.parametrize("operation", WAITING)
def test_what_waits_is_counted_and_can_be_forbidden(operation):
    x = cp.ones(4, np.float32)
    WAITING[operation](x)
    assert cp.synchronisations == {operation: 1}
    with pytest.raises(cp.SynchronisationError, match=operation), cp.no_synchronisation():
        WAITING[operation](x)
    WAITING[operation](x)
    assert cp.synchronisations == {operation: 2}


def test_what_does_not_wait():
    stream = cp.cuda.Stream(non_blocking=True)
    pinned = np.frombuffer(cp.cuda.alloc_pinned_memory(16), np.float32, 4)
    with cp.no_synchronisation():
        x = cp.asarray(np.ones(4, np.float32))
        x.set(pinned[:4], stream=stream)
        event = stream.record()
        cp.cuda.get_current_stream().wait_event(event)
        x += x.sum() * x[1:2]
        x[cp.asarray(np.array([0, 1]))].astype(np.float16)
        event.synchronize()  # of an event that is over
    assert cp.synchronisations == {"cuda.Event.synchronize": 1}


def test_streams_and_events():
    stream = cp.cuda.Stream()
    with stream as entered:
        assert entered is stream and cp.cuda.get_current_stream() is stream
    assert cp.cuda.get_current_stream() is cp.cuda.Stream.null
    first, last = cp.cuda.Event(), cp.cuda.Event()
    with pytest.raises(ValueError, match="never recorded"):
        stream.wait_event(first)
    first.record(stream)
    last.record()
    assert cp.cuda.get_elapsed_time(first, last) >= 0


# ------------------------------------------------------------------------------------------------------- memory


def test_the_pool_counts_what_is_in_use_and_what_it_keeps():
    pool = cp.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()
    before = pool.used_bytes()
    assert pool.total_bytes() == before
    array = cp.empty(1000, np.float32)
    part = array[10:20]
    del array
    assert pool.used_bytes() == before + 4096  # multiples of 512; the view keeps it
    del part
    assert pool.used_bytes() == before and pool.total_bytes() == before + 4096
    pool.free_all_blocks()
    assert pool.total_bytes() == before


def test_memory_runs_out():
    pool = cp.get_default_memory_pool()
    pool.set_limit(size=pool.used_bytes() + 2048)
    try:
        cp.empty(512, np.float32)
        with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="allocating 4,096 bytes"):
            cp.empty(1000, np.float32)
    finally:
        pool.set_limit(size=0)
    assert issubclass(cp.cuda.memory.OutOfMemoryError, MemoryError)
    with pytest.raises(cp.cuda.memory.OutOfMemoryError):
        cp.empty(2**40, np.float32)


def test_reading_what_nobody_wrote_is_found_in_check_mode():
    x = cp.empty((2, 3), np.float32)
    x[0] = 1
    with checking():
        assert host(x[0]).tolist() == [1, 1, 1]
        for read in (x.get, x.copy, x.sum, lambda: x + x, lambda: cp.matmul(x, x.T), lambda: x[cp.arange(2)]):
            with pytest.raises(UninitialisedError, match=r"element \(1, 0\)"):
                read()


# ------------------------------------------------------------------------------------------------------ kernels

SCALE = """
template <typename T> __global__ void scale(T* x, int n, T factor) {
    extern __shared__ unsigned char scratch[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = factor * x[i];
}
"""


@pytest.fixture(scope="module")
def module():
    return cp.RawModule(code=SCALE, options=("--std=c++17",), name_expressions=["scale<float>", "scale<double>"])


@needs_compiler
def test_a_kernel_runs_and_is_noted(module):
    kernel, x = module.get_function("scale<float>"), cp.arange(100, dtype=np.float32)
    kernel((4,), (32,), (x, np.int32(100), np.float32(3)), shared_mem=64)
    assert np.array_equal(host(x), 3 * np.arange(100))
    assert list(cp.launches) == [("scale<float>", (4,), (32,), 64)]


X, N, FACTOR = cp.ones(8, np.float32), np.int32(8), np.float32(2)


@needs_compiler
@pytest.mark.parametrize(
    "grid, block, arguments, error",
    [
        ((1,), (32,), (X, N, 2.0), ArgumentError),  # a Python float is a double
        ((1,), (32,), (X, 8, FACTOR), ArgumentError),  # a Python int is 64 bits wide
        ((1,), (32,), (X, N, np.float64(2)), ArgumentError),
        ((1,), (32,), (cp.ones(8), N, FACTOR), ArgumentError),
        ((1,), (32,), (cp.ones(16, np.float32)[::2], N, FACTOR), ArgumentError),
        ((1,), (32,), (X, N), ArgumentError),
        ((1,), (32,), (np.ones(8, np.float32), N, FACTOR), TypeError),
        ((1,), (32,), (None, N, FACTOR), TypeError),
        ((0,), (32,), (X, N, FACTOR), LaunchError),  # CuPy would launch one block
        ((1,), (2048,), (X, N, FACTOR), LaunchError),
        (1, (32,), (X, N, FACTOR), TypeError),
    ],
)
def test_wrong_launches_are_refused(module, grid, block, arguments, error):
    with pytest.raises(error):
        module.get_function("scale<float>")(grid, block, arguments)


@needs_compiler
def test_shared_memory_has_the_limits_of_the_device(monkeypatch):
    kernel = cp.RawModule(code=SCALE, name_expressions=["scale<float>"]).get_function("scale<float>")
    with pytest.raises(LaunchError, match="max_dynamic_shared_size_bytes"):
        kernel((1,), (32,), (X, N, FACTOR), shared_mem=50_000)
    kernel.max_dynamic_shared_size_bytes = 50_000
    kernel((1,), (32,), (X, N, FACTOR), shared_mem=50_000)
    monkeypatch.setattr(cp.cuda.Device, "compute_capability", "75")
    with pytest.raises(LaunchError, match="75 can have 65536"):
        kernel.max_dynamic_shared_size_bytes = 65_537
    assert min(MOST_SHARED.values()) == 64


def test_modules_refuse_what_the_emulator_cannot_do():
    with pytest.raises(NotImplementedError, match="macros"):
        cp.RawModule(code=SCALE, options=("-DN=3",), name_expressions=["scale<float>"])
    with pytest.raises(KeyError, match="no kernel"):
        cp.RawModule(code=SCALE, name_expressions=["scale<float>"]).get_function("scale<int>")
