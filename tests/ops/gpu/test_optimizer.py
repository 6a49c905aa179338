"""AdamW, the norm of gradients and loss scaling on the GPU."""

import numpy as np
import pytest

from minibert.ops import AdamWStep, reference
from minibert.ops.gpu import optimizer
from tests.ops.gpu.helpers import DTYPES, ROUNDING, E, cp, depth, device, exact, host, numbers, sixteen_bits, within

OPTIONS = dict(learning_rate=1e-2, beta1=0.9, beta2=0.98, eps=1e-6, weight_decay=0.1)
SIZES = [1, 3, 4, 31, 1030]
wide_types = pytest.mark.parametrize("dtype", ["float32", "float64"])


def state(size, dtype):
    """values, gradients, two moments and the mask, on the host."""
    values, gradients, first = (numbers(size, dtype=dtype, seed=i) for i in range(3))
    second = np.abs(numbers(size, dtype=dtype, seed=3))
    return [values, gradients, first, second, np.random.default_rng(4).random(size) < 0.5]


def step_of(gradient_norm=None, **options) -> AdamWStep:
    """The settings of a step; the norm is another argument of the op."""
    return AdamWStep(**{**OPTIONS, **options})


def by_reference(arrays, **options):
    """values and moments after a step in float64."""
    copies = [exact(array).copy() for array in arrays[:4]]
    reference.adamw(*copies, arrays[4], step_of(**options), options.get("gradient_norm"))
    return copies[0], copies[2], copies[3]


def check(on_device, arrays, dtype, **options):
    """In float32 a moment is off by 5 roundings of its terms; the step, a quotient of two, by 16 of its size."""
    values, first, second = by_reference(arrays, **options)
    factor = 1.0 if "max_norm" not in options else min(1, options["max_norm"] / options["gradient_norm"])
    slope = np.abs(exact(arrays[1])) * factor
    within(on_device[2], first, 5 * E * (np.abs(exact(arrays[2])) + slope), tensor=dtype)
    within(on_device[3], second, 5 * E * (exact(arrays[3]) + slope**2), tensor=dtype)
    root = np.sqrt(second / options.get("correction2", 1)) + OPTIONS["eps"]
    step = (np.abs(exact(arrays[2])) + slope) / options.get("correction1", 1) / root
    # the root moves by half of the second moment's relative error, of terms that may be larger than their mean
    step = step * (1 + (exact(arrays[3]) + slope**2) / second)
    within(on_device[0], values, 16 * E * 1e-2 * (step + 0.1 * np.abs(values)) + E * np.abs(values), tensor=dtype)
    assert np.array_equal(host(on_device[1]), arrays[1]) and np.array_equal(host(on_device[4]), arrays[4])


@wide_types
@pytest.mark.parametrize("size", SIZES)
def test_a_step_is_the_references(size, dtype):
    arrays = state(size, dtype)
    on_device = [device(array) for array in arrays]
    optimizer.adamw(*on_device, step_of(correction1=0.1, correction2=0.02))
    check(on_device, arrays, dtype, correction1=0.1, correction2=0.02)


@wide_types
@pytest.mark.parametrize("norm", [0.5, 4.0])
def test_clipping_reads_the_norm_on_the_device(norm, dtype):
    arrays = state(100, dtype)
    on_device = [device(array) for array in arrays]
    optimizer.adamw(*on_device, step_of(max_norm=1.0), cp.full((), norm, dtype))
    check(on_device, arrays, dtype, gradient_norm=norm, max_norm=1.0)


@sixteen_bits
@pytest.mark.parametrize("size", SIZES)
def test_the_copy_is_the_new_values_rounded(size, dtype):
    arrays = state(size, "float32")
    on_device, plain = [device(array) for array in arrays], [device(array) for array in arrays]
    copy = cp.zeros(size, DTYPES[dtype])
    optimizer.adamw(*on_device, step_of(), copy=copy)
    optimizer.adamw(*plain, step_of())
    assert host(on_device[0]).tobytes() == host(plain[0]).tobytes()
    assert np.array_equal(host(copy), host(on_device[0]).astype(DTYPES[dtype]))


def test_scaled_gradients_give_the_same_step():
    """With a scale that is a power of two, to the last bit; clipped by the norm of the gradients without the scale."""
    scale = np.float32(1024)
    for norm in (0.5, 3.0):
        plain, scaled = ([device(array) for array in state(37, "float32")] for _ in range(2))
        scaled[1] *= scale
        on_device, step = cp.full((), norm, np.float32), step_of(max_norm=1.0)
        optimizer.adamw(*plain, step, on_device)
        optimizer.adamw(*scaled, step, on_device * scale, gradient_scale=cp.full((), scale, np.float32))
        for i in (0, 2, 3):
            assert host(plain[i]).tobytes() == host(scaled[i]).tobytes()


@pytest.mark.parametrize("norm", [np.inf, np.nan])
@pytest.mark.parametrize("copied", [False, True])
def test_an_overflow_skips_the_step(norm, copied):
    arrays = state(37, "float32")
    on_device, copy = [device(array) for array in arrays], cp.full(37, 5, np.float16)
    scale, norm = cp.full((), 2.0, np.float32), cp.full((), norm, np.float32)
    optimizer.adamw(*on_device, step_of(max_norm=1.0), norm, copy=copy if copied else None, gradient_scale=scale)
    for ours, before in zip(on_device, arrays, strict=True):
        assert host(ours).tobytes() == before.tobytes()
    assert (host(copy) == 5).all()


def test_without_a_scale_a_norm_that_is_no_number_shows():
    on_device = [device(array) for array in state(5, "float32")]
    on_device[1][2] = np.nan
    optimizer.adamw(*on_device, step_of(max_norm=1.0), cp.full((), np.nan, np.float32))
    assert np.isnan(host(on_device[0])).sum() == 1


def test_buffers_that_do_not_fit_are_refused():
    arrays = [device(array) for array in state(8, "float32")]
    with pytest.raises(ValueError, match="equal length"):
        optimizer.adamw(*arrays[:4], arrays[4][:7], step_of())
    with pytest.raises(TypeError, match="all float32"):
        optimizer.adamw(arrays[0], arrays[1].astype(np.float64), *arrays[2:], step_of())
    with pytest.raises(TypeError, match="float16 or bfloat16"):
        optimizer.adamw(*arrays, step_of(), copy=cp.zeros(8, np.float32))


def test_buffers_that_start_between_two_vectors():
    arrays, shifted = state(21, "float32"), []
    for array in arrays:
        scratch = cp.zeros(22, array.dtype)
        scratch[1:] = device(array)
        shifted.append(scratch[1:])
    copy = cp.zeros(22, np.float16)
    optimizer.adamw(*shifted, step_of(), copy=copy[1:])
    check(shifted, arrays, "float32")
    assert host(copy)[0] == 0 and np.array_equal(host(copy)[1:], host(shifted[0]).astype(np.float16))


@wide_types
@pytest.mark.parametrize("size", [0, 1, 3, 1000, 5000])
def test_global_norm(size, dtype):
    """Half of the sum's relative error."""
    gradients = numbers(size, dtype=dtype)
    norm = optimizer.global_norm(device(gradients))
    expected = np.linalg.norm(exact(gradients))
    within(norm, expected, (depth(size) + 8) * E * expected, tensor=dtype)


def test_the_norm_of_gradients_with_an_infinity_is_not_finite():
    gradients = numbers(300, dtype="float32")
    for worst in (np.inf, np.nan, 1e38):
        gradients[17] = worst
        assert not np.isfinite(host(optimizer.global_norm(device(gradients))))


def test_the_scale_halves_after_an_overflow_and_doubles_after_good_steps():
    scale, good = cp.full((), 2.0, np.float32), cp.zeros((), np.int32)
    for norm, expected in [
        *[(1, (2, 1)), (1, (2, 2)), (1, (4, 0))],  # three good steps: twice the scale
        *[(1, (4, 1)), (1, (4, 2)), (1, (4, 0))],  # but never above the highest
        *[(1, (4, 1)), (np.inf, (2, 0)), (np.nan, (1, 0)), (np.nan, (1, 0))],  # nor below the lowest
        *[(1e38, (1, 1)), (0, (1, 2)), (np.inf, (1, 0)), (1, (1, 1)), (1, (1, 2)), (1, (2, 0))],  # three in a row
    ]:
        optimizer.update_scale(scale, good, cp.full((), norm, np.float32), 3, lowest=1.0, most=4.0)
        assert (float(host(scale)), int(host(good))) == expected


@sixteen_bits
def test_many_small_steps_are_not_lost_to_the_copy(dtype):
    """Why there are float32 masters: each step alone is below half of the copy's last bit."""
    arrays = [device(a) for a in (np.ones(4, np.float32), np.ones(4, np.float32), *np.zeros((2, 4), np.float32))]
    copy, decayed = cp.ones(4, DTYPES[dtype]), cp.zeros(4, bool)
    rate = ROUNDING[dtype] / 8
    step = step_of(learning_rate=rate, beta1=0.0, beta2=0.0)
    for _ in range(40):
        optimizer.adamw(*arrays, decayed, step, copy=copy)
    assert host(copy).astype(np.float64) == pytest.approx(1 - 40 * rate, abs=ROUNDING[dtype])
