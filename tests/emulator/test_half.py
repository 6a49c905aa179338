"""The emulator's __half and __nv_bfloat16: every bit pattern, all roundings, and what CUDA refuses to compile."""

import math
import shutil
import subprocess
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from minibert import emulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status())),
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast"),  # NaN from bfloat16
]

TYPES = {"__half": np.dtype(np.float16), "__nv_bfloat16": np.dtype(ml_dtypes.bfloat16)}
MANTISSA = {"__half": 10, "__nv_bfloat16": 7}  # bits
SMALLEST = {"__half": -24, "__nv_bfloat16": -133}  # the smallest number is two to the power of this
NUMBERS = {
    "float": np.float32, "double": np.float64, "int": np.int32, "unsigned": np.uint32,
    "long long": np.int64, "unsigned long long": np.uint64, "short": np.int16, "unsigned char": np.uint8,
}  # fmt: skip
INTEGERS = [name for name, dtype in NUMBERS.items() if np.issubdtype(dtype, np.integer)]

SOURCE = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename From, typename To> __global__ void convert(const From* from, To* to, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = static_cast<To>(from[i]);
}

template <typename T> __global__ void calculate(const T* a, const T* b, T* sum, T* difference, T* product, T* quotient,
                                                T* minus, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    sum[i] = a[i] + b[i];
    difference[i] = a[i];
    difference[i] -= b[i];
    product[i] = a[i] * b[i];
    quotient[i] = a[i];
    quotient[i] /= b[i];
    minus[i] = -a[i];
}

template <typename T> __global__ void compare(const T* a, const T* b, int* results, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    results[i] = (a[i] == b[i]) | (a[i] != b[i]) << 1 | (a[i] < b[i]) << 2 | (a[i] <= b[i]) << 3 | (a[i] > b[i]) << 4 |
                 (a[i] >= b[i]) << 5 | (a[i] ? 1 : 0) << 6;
}

__global__ void by_name(const float* from, __half* halves, __nv_bfloat16* bfloats, float* back) {
    float x = from[threadIdx.x];
    halves[threadIdx.x] = __float2half_rn(x);
    bfloats[threadIdx.x] = __float2bfloat16_rn(x);
    float2 pair = __half22float2(__floats2half2_rn(x, -x));
    float2 other = __bfloat1622float2(__floats2bfloat162_rn(x, -x));
    float* mine = back + 4 * threadIdx.x;
    mine[0] = __half2float(__float2half(x));
    mine[1] = __bfloat162float(__float2bfloat16(x));
    mine[2] = pair.y;
    mine[3] = other.y;
}
"""
NAMES = [f"convert<{a}, {b}>" for T in TYPES for N in NUMBERS for a, b in ((T, N), (N, T))]
NAMES += ["convert<__half, __nv_bfloat16>", "convert<__nv_bfloat16, __half>", "by_name"]
NAMES += [f"{kernel}<{T}>" for T in TYPES for kernel in ("calculate", "compare")]


@pytest.fixture(scope="module")
def module():
    return emulator.Module(SOURCE, names=NAMES)


def run(module, name, inputs, outputs):
    """Launch a kernel with a thread for each element; outputs are dtypes.  Returns the arrays it wrote."""
    n = len(inputs[0])
    arrays = [np.zeros(n, dtype) for dtype in outputs]
    module.kernel(name)(-(-n // 256), 256, (*inputs, *arrays, np.int32(n)))
    return arrays


def convert(module, x, source, target):
    return run(module, f"convert<{source}, {target}>", [x], [TYPES.get(target) or NUMBERS[target]])[0]


def every(name):
    """All 65,536 numbers of a type."""
    return np.arange(65536, dtype=np.uint16).view(TYPES[name])


def same(a, b):
    """Equal bit for bit, but for NaN, of which there are many."""
    a, b = np.asarray(a), np.asarray(b)
    bits = f"u{a.dtype.itemsize}"
    nan = np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64))
    return bool(np.all(nan | (a.view(bits) == b.view(bits))))


def rounded(exact: Fraction, name: str) -> float:
    """The number of the type that is nearest to a fraction, ties to even, worked out with integers alone."""
    if exact == 0:
        return 0.0
    exponent = math.floor(math.log2(abs(exact.numerator)) - math.log2(exact.denominator))
    while Fraction(2) ** (exponent + 1) <= abs(exact):
        exponent += 1
    while Fraction(2) ** exponent > abs(exact):
        exponent -= 1
    unit = Fraction(2) ** max(exponent - MANTISSA[name], SMALLEST[name])
    nearest = float(round(exact / unit) * unit)  # Python rounds ties to even
    largest = float(ml_dtypes.finfo(TYPES[name]).max)
    return math.copysign(math.inf, nearest) if abs(nearest) > largest else nearest


SPECIAL = np.array(
    [0, 6e-8, 2.98e-8, 2.9802322e-8, 2.9802326e-8, 6.1e-5, 6.1035156e-5, 6.0975552e-5, 65504, 65519.996, 65520, 65536,
     1, 1.00048828125, 1.0014648437, 3.38e38, 3.3961775e38, 3.3961776e38, 1e-45, 1e-40, 9.2e-41, np.inf, np.nan],
    np.float32,
)  # fmt: skip
SPECIAL = np.concatenate([SPECIAL, -SPECIAL])


@pytest.mark.parametrize("name", TYPES)
class TestConversions:
    def test_every_pattern_to_float_and_double(self, module, name):
        numbers = every(name)
        assert same(convert(module, numbers, name, "float"), numbers.astype(np.float32))
        assert same(convert(module, numbers, name, "double"), numbers.astype(np.float64))

    def test_every_pattern_comes_back_unchanged(self, module, name):
        numbers = every(name)
        for through in "float", "double":
            assert same(convert(module, convert(module, numbers, name, through), through, name), numbers)

    def test_random_floats(self, module, name):
        rng = np.random.default_rng(0)
        any_bits = rng.integers(0, 2**32, 300_000, dtype=np.uint32).view(np.float32)
        usual = rng.normal(size=100_000).astype(np.float32)
        x = np.concatenate([any_bits, usual, usual * 1e-6, usual * 3e4, SPECIAL]).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            expected = x.astype(TYPES[name])
        result = convert(module, x, "float", name)
        assert same(result, expected)
        assert np.all(result.view(np.uint16)[np.isnan(x)] == 0x7FFF)  # the NaN that a GPU makes

    def test_just_beside_every_tie(self, module, name):
        """Half-way between two neighbours, and the floats next to that: where rounding goes wrong first."""
        numbers = every(name).astype(np.float64)
        numbers = np.unique(numbers[np.isfinite(numbers)])
        ties = ((numbers[1:] + numbers[:-1]) / 2).astype(np.float32)  # exact: they have one bit more
        x = np.concatenate([ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))])
        assert same(convert(module, x, "float", name), x.astype(TYPES[name]))

    def test_doubles_are_rounded_once(self, module, name):
        """A hair beside a tie the float in between would be the tie itself."""
        numbers = every(name).astype(np.float64)
        numbers = np.unique(numbers[np.isfinite(numbers)])
        ties = (numbers[1:] + numbers[:-1]) / 2
        x = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
        upper, lower = numbers[1:], numbers[:-1]
        result = convert(module, x, "double", name).astype(np.float64)
        assert np.all(np.isin(result[: len(ties)], numbers))
        assert np.array_equal(result[len(ties) : 2 * len(ties)], upper)
        assert np.array_equal(result[2 * len(ties) :], lower)
        if name == "__half":  # NumPy rounds once too; ml_dtypes goes through float
            rng = np.random.default_rng(1)
            usual = rng.normal(size=100_000)
            x = np.concatenate([usual, usual * 1e-6, usual * 7e4])
            with np.errstate(over="ignore"):
                assert same(convert(module, x, "double", name), x.astype(np.float16))

    @pytest.mark.parametrize("integer", INTEGERS)
    def test_integers_are_rounded_once(self, module, name, integer):
        rng = np.random.default_rng(2)
        dtype = np.dtype(NUMBERS[integer])
        limits = np.iinfo(dtype)
        anything = rng.integers(limits.min, limits.max, 2000, dtype=dtype, endpoint=True)
        sizes = rng.integers(0, 8 * dtype.itemsize, 2000).astype(dtype)
        beside_ties = []
        for power in range(9, 8 * dtype.itemsize - 2):
            tie = (1 << power) + (1 << (power - MANTISSA[name] - 1)) if power > MANTISSA[name] else 1 << power
            beside_ties += [tie - 1, tie, tie + 1]
        beside_ties = [x for x in beside_ties if x <= limits.max]
        x = np.concatenate([anything, anything >> sizes, np.array([limits.min, limits.max, 0, 1, *beside_ties], dtype)])
        expected = np.array([rounded(Fraction(int(i)), name) for i in x])
        assert np.array_equal(convert(module, x, integer, name).astype(np.float64), expected)

    @pytest.mark.parametrize("integer", INTEGERS)
    def test_to_integers_cut_off_and_saturated(self, module, name, integer):
        numbers = every(name)
        limits = np.iinfo(NUMBERS[integer])
        not_a_number = 0 if limits.bits < 64 else (1 << 63) - (0 if limits.min == 0 else 1 << 64)
        expected = [
            not_a_number if math.isnan(x) else int(limits.max if x > 2.0**65 else limits.min if x < -(2.0**65)
            else min(max(math.trunc(x), limits.min), limits.max))
            for x in numbers.astype(np.float64)
        ]  # fmt: skip
        assert convert(module, numbers, name, integer).tolist() == expected


def test_from_one_to_the_other(module):
    halves, bfloats = every("__half"), every("__nv_bfloat16")
    with np.errstate(over="ignore"):
        assert same(convert(module, halves, "__half", "__nv_bfloat16"), halves.astype(np.float32).astype(bfloats.dtype))
        assert same(convert(module, bfloats, "__nv_bfloat16", "__half"), bfloats.astype(np.float32).astype(np.float16))


def test_functions_convert_as_casts_do(module):
    x = SPECIAL[:32].copy()
    halves, bfloats = (np.zeros(32, dtype) for dtype in TYPES.values())
    back = np.zeros((32, 4), np.float32)
    module.kernel("by_name")(1, 32, (x, halves, bfloats, back))
    assert same(halves, convert(module, x, "float", "__half"))
    assert same(bfloats, convert(module, x, "float", "__nv_bfloat16"))
    halves, bfloats = halves.astype(np.float32), bfloats.astype(np.float32)
    assert same(back, np.stack([halves, bfloats, -halves, -bfloats], axis=1))


@pytest.mark.parametrize("name", TYPES)
class TestOperators:
    def pairs(self, name):
        """Random numbers of all sizes, of similar sizes, and special ones."""
        rng = np.random.default_rng(3)
        a, b = rng.permutation(every(name))[:1500], rng.permutation(every(name))[:1500]
        c, d = (rng.normal(size=1500).astype(TYPES[name]) for _ in range(2))
        special = np.concatenate([SPECIAL, [0.0, 1.0]]).astype(TYPES[name])
        e, f = (grid.ravel() for grid in np.meshgrid(special, special))
        return np.concatenate([a, c, e]), np.concatenate([b, d, f])

    def test_each_is_rounded_once(self, module, name):
        with np.errstate(over="ignore"):
            a, b = self.pairs(name)
        results = run(module, f"calculate<{name}>", [a, b], [TYPES[name]] * 5)
        *results, minus = (result.astype(np.float64) for result in results)
        exact = [
            lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y if y else None,
        ]  # fmt: skip
        checked = 0
        for i, (x, y) in enumerate(zip(a.astype(np.float64).tolist(), b.astype(np.float64).tolist(), strict=True)):
            assert minus[i] == -x or math.isnan(x)
            if not (math.isfinite(x) and math.isfinite(y)):
                continue
            for operator, result in zip(exact, results, strict=True):
                fraction = operator(Fraction(x), Fraction(y))
                if fraction is not None:
                    assert result[i] == rounded(fraction, name), (x, y)
                    checked += 1
        assert checked > 15_000

    def test_infinity_and_nan(self, module, name):
        with np.errstate(over="ignore"):
            a, b = self.pairs(name)
        results = run(module, f"calculate<{name}>", [a, b], [TYPES[name]] * 5)
        x, y = a.astype(np.float64), b.astype(np.float64)
        special = ~(np.isfinite(x) & np.isfinite(y)) | (y == 0)
        with np.errstate(all="ignore"):
            expected = [x + y, x - y, x * y, x / y]
            for result, value in zip(results, expected, strict=False):
                assert same(result[special], value.astype(np.float32).astype(TYPES[name])[special])

    def test_comparisons(self, module, name):
        with np.errstate(over="ignore"):
            a, b = self.pairs(name)
        (results,) = run(module, f"compare<{name}>", [a, b], [np.int32])
        x, y = a.astype(np.float32), b.astype(np.float32)
        expected = [x == y, x != y, x < y, x <= y, x > y, x >= y, x != 0]
        assert np.array_equal(results, sum(value.astype(np.int32) << i for i, value in enumerate(expected)))


# ------------------------------------------------------------------------------------------------ what compiles

# which operations on a __half (or __nv_bfloat16) h and the other type's x CUDA's compiler accepts: h + x, h += x,
# h = x, x = h, h < x and T(x), one character each
ACCEPTED = {
    "h": "yyyyyy", "float": "nyyyny", "double": "nyyyny", "int": "nyyyny", "unsigned": "nyyyny",
    "long": "nynyny", "long long": "nyyyny", "bool": "nyyyny", "other": "nnnnny", "void*": "nnnnnn",
}  # fmt: skip
RULES = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>

template <typename T> T& variable();
template <typename A, typename B, typename = void> struct Adds { static constexpr bool value = false; };
template <typename A, typename B, typename = void> struct Accumulates { static constexpr bool value = false; };
template <typename A, typename B, typename = void> struct Assigns { static constexpr bool value = false; };
template <typename A, typename B, typename = void> struct Compares { static constexpr bool value = false; };
template <typename A, typename B, typename = void> struct Converts { static constexpr bool value = false; };
template <typename...> struct Ignore { using type = void; };
#define WHERE(expression) typename Ignore<decltype(expression)>::type
template <typename A, typename B> struct Adds<A, B, WHERE(variable<A>() + variable<B>())> {
    static constexpr bool value = true;
};
template <typename A, typename B> struct Accumulates<A, B, WHERE(variable<A>() += variable<B>())> {
    static constexpr bool value = true;
};
template <typename A, typename B> struct Assigns<A, B, WHERE(variable<A>() = variable<B>())> {
    static constexpr bool value = true;
};
template <typename A, typename B> struct Compares<A, B, WHERE(variable<A>() < variable<B>())> {
    static constexpr bool value = true;
};
template <typename A, typename B> struct Converts<A, B, WHERE(A(variable<B>()))> {
    static constexpr bool value = true;
};
"""


def rules() -> str:
    """The table above as C++ that compiles only where it holds."""
    lines = [RULES]
    for T, other in ("__half", "__nv_bfloat16"), ("__nv_bfloat16", "__half"):
        for name, accepted in ACCEPTED.items():
            X = {"h": T, "other": other}.get(name, name)
            checks = [f"Adds<{T}, {X}>", f"Accumulates<{T}, {X}>", f"Assigns<{T}, {X}>", f"Assigns<{X}, {T}>"]
            checks += [f"Compares<{T}, {X}>", f"Converts<{T}, {X}>"]
            for check, answer in zip(checks, accepted, strict=True):
                expected = "true" if answer == "y" else "false"
                lines.append(f'static_assert({check}::value == {expected}, "{check} is not {expected}");')
    return "\n".join([*lines, "__global__ void nothing() {}"])


def test_the_emulator_accepts_what_cuda_accepts():
    emulator.Module(rules(), names=["nothing"]).kernel("nothing")(1, 1, ())


def test_cuda_accepts_it(tmp_path):
    """The table itself, against NVIDIA's compiler where there is one."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not installed")
    (tmp_path / "rules.cu").write_text(rules())
    command = [nvcc, "-std=c++17", "-arch=sm_80", "-ptx", "rules.cu", "-o", "rules.ptx"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "statement",
    ["float y = x + 1.0f;", "bool b = x > 0.0f;", "T y = x + 1;", "auto y = x.bits;", "T y = nullptr;"],
)
def test_what_cuda_refuses_is_refused(statement):
    source = f"#include <cuda_fp16.h>\nusing T = __half;\n__global__ void f(T x) {{ {statement} }}"
    with pytest.raises(Exception, match="ambiguous|private|conversion"):
        emulator.Module(source, names=["f"]).kernel("f")(1, 1, (np.float16(1),))
