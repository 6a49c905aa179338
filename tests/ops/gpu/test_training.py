"""Training on the GPU backend: its losses are the reference's, it never waits, its memory is used again."""

import numpy as np
import pytest

from minibert.models import BertForPreTraining
from minibert.nn.parameters import as_dtype
from minibert.ops import load_backend
from minibert.training.optimizer import AdamW, LossScale
from tests.models.parity import random_batch, small_config
from tests.ops.gpu.rounded import round_to, rounded_reference

STEPS = 20
SCALE = 2.0**10  # of the loss in float16: a power of two that neither overflows nor underflows here
HALF = "float16", "bfloat16"


def model_and_optimizer(backend, dtype):
    config = small_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    model = BertForPreTraining(config, backend, dtype=dtype, seed=1)
    settings = dict(beta1=0.9, beta2=0.98, eps=1e-6, weight_decay=0.01, bias_correction=True, max_norm=1.0)
    optimizer = AdamW(model.parameters, **settings)
    if optimizer.loss_scale is not None:
        optimizer.loss_scale.restore({"value": SCALE})
    return model, optimizer


def step_of(model, optimizer, inputs, number):
    """One step as the training loop takes it; returns the loss, on the device."""
    model.parameters.zero_gradients()
    losses, cache = model.losses(inputs, (1, number))
    model.losses_backward(cache, 1.0 if optimizer.loss_scale is None else optimizer.loss_scale.value)
    inputs.release()
    optimizer.step(number, 2e-3)
    return losses.total


def batch_of(model, number):
    return model.prepare(random_batch(model.config, seed=number % 2))


def losses_of(backend, dtype):
    model, optimizer = model_and_optimizer(backend, dtype)
    losses = [step_of(model, optimizer, batch_of(model, number), number) for number in range(1, STEPS + 1)]
    return np.array([float(backend.numpy(loss)) for loss in losses])


def losses_at_that_rounding(dtype):
    """The same training on the reference, its activations and parameters rounded to dtype."""
    backend, rounded = rounded_reference(as_dtype(dtype)), round_to(as_dtype(dtype))
    model, optimizer = model_and_optimizer(backend, "float32")
    parameters, losses = model.parameters, []
    parameters.masters = parameters.values.copy()
    scale = SCALE if dtype == "float16" else 1.0
    for number in range(1, STEPS + 1):
        parameters.values[...] = rounded(parameters.masters)
        parameters.zero_gradients()
        total, cache = model.losses(batch_of(model, number), (1, number))
        model.losses_backward(cache, scale)
        parameters.gradients /= scale
        optimizer.step(number, 2e-3)
        losses.append(float(total.total))
    return np.array(losses)


@pytest.fixture(scope="module")
def exact():
    return losses_of(load_backend("reference"), "float64")


def test_twenty_steps_in_float64_equal_the_references(gpu, exact):
    losses = losses_of(gpu, "float64")
    assert losses[-1] < 0.95 * losses[0]  # it did train
    assert np.abs(losses / exact - 1).max() <= 1e-8


@pytest.mark.parametrize("dtype", ["float32", *HALF])
def test_twenty_steps_differ_no_more_than_rounding_does(gpu, exact, dtype):
    """At most four times what the same rounding does to the reference."""
    rounded = losses_of(load_backend("reference"), dtype) if dtype == "float32" else losses_at_that_rounding(dtype)
    gap = np.abs(rounded - exact).max()
    assert 0 < np.abs(losses_of(gpu, dtype) - exact).max() <= 4 * gap


@pytest.mark.parametrize("dtype", ["float32", *HALF])
def test_training_twice_gives_the_same_bits(gpu, dtype):
    assert np.array_equal(losses_of(gpu, dtype), losses_of(gpu, dtype))


@pytest.mark.parametrize("dtype", ["float32", *HALF])
def test_a_step_does_not_wait_for_the_device(gpu, dtype):
    """Neither the step nor the preparation of the next batch reads anything back."""
    if not hasattr(gpu.xp, "no_synchronisation"):
        pytest.skip("only the emulator's stand-in for CuPy can tell")
    model, optimizer = model_and_optimizer(gpu, dtype)
    inputs = batch_of(model, 1)
    with gpu.xp.no_synchronisation():
        for number in (1, 2, 3):
            loss = step_of(model, optimizer, inputs, number)
            inputs = batch_of(model, number + 1)
    assert np.isfinite(float(gpu.numpy(loss)))


def test_memory_is_used_again_from_step_to_step(gpu):
    model, optimizer = model_and_optimizer(gpu, "float32")
    pool, totals = gpu.xp.get_default_memory_pool(), []
    for number in range(1, 7):
        step_of(model, optimizer, batch_of(model, number), number)
        totals.append(pool.total_bytes())
    assert totals[-1] == totals[2]


def test_sixteen_bits_keep_masters_in_float32(gpu):
    model, optimizer = model_and_optimizer(gpu, "bfloat16")
    parameters = model.parameters
    step_of(model, optimizer, batch_of(model, 1), 1)
    masters, values = gpu.numpy(parameters.masters), gpu.numpy(parameters.values)
    assert masters.dtype == np.float32 and values.dtype == as_dtype("bfloat16")
    assert gpu.numpy(parameters.gradients).dtype == np.float32
    assert np.array_equal(values, masters.astype(values.dtype))  # the copy made in the optimiser's pass
    assert not np.array_equal(values.astype(np.float32), masters)


def test_a_step_that_overflows_changes_nothing_and_halves_the_scale(gpu):
    model, optimizer = model_and_optimizer(gpu, "float16")
    optimizer.loss_scale.restore({"value": 2.0**30, "good_steps": 7})  # no gradient of this size fits
    before = gpu.numpy(model.parameters.masters).copy()
    step_of(model, optimizer, batch_of(model, 1), 1)
    assert np.array_equal(gpu.numpy(model.parameters.masters), before)
    assert np.array_equal(gpu.numpy(optimizer.first_moment), np.zeros_like(before))
    assert optimizer.loss_scale.state() == {"value": 2.0**29, "good_steps": 0}


def test_the_scale_doubles_after_enough_good_steps(gpu):
    scale = LossScale(gpu, start=4.0, interval=3)
    norm, overflow = (gpu.array(np.array(x, np.float32)) for x in (1.0, np.inf))
    seen = []
    for each in (norm, norm, norm, norm, overflow, norm, norm, norm):
        scale.update(each)
        seen.append(scale.state()["value"])
    assert seen == [4, 4, 8, 8, 4, 4, 4, 8]


def test_sixteen_bits_are_refused_where_there_are_none():
    with pytest.raises(ValueError, match="bfloat16 is not supported by the backend reference; choose"):
        BertForPreTraining(small_config(), "reference", dtype="bfloat16")
