"""Training on the GPU backend: its losses are the reference's, it never waits, its memory is used again."""

import numpy as np
import pytest

from minibert.checks.short_training import (
    agreement,
    batch_of,
    objective_and_optimizer,
    small_config,
    step,
    training_losses,
)
from minibert.models import BertForPreTraining
from minibert.nn.parameters import as_dtype
from minibert.training.optimizer import LossScale
from minibert.training.step import prepared, train_step
from tests.ops.gpu.helpers import BFLOAT16, slow

STEPS = 20
HALF = slow("float16"), BFLOAT16


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32", *HALF])
def test_twenty_steps_differ_no_more_than_rounding_does(gpu, dtype):
    """Bounds: in float64 1e-8, in the others four times what the same rounding does to the reference."""
    difference, bound = agreement(gpu, dtype, STEPS)
    assert 0 < difference <= bound


@pytest.mark.slow
def test_it_does_train(gpu):
    losses = training_losses(gpu, "float32", STEPS)
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", *HALF])
def test_training_twice_gives_the_same_bits(gpu, dtype):
    assert np.array_equal(training_losses(gpu, dtype, 5), training_losses(gpu, dtype, 5))


@pytest.mark.parametrize("dtype", ["float32", *HALF])
def test_a_step_does_not_wait_for_the_device(gpu, dtype):
    """Neither the step nor the preparation of the next batch reads anything back."""
    if not hasattr(gpu.xp, "no_synchronisation"):
        pytest.skip("only the emulator's stand-in for CuPy can tell")
    objective, optimizer = objective_and_optimizer(gpu, dtype)
    parts = prepared(objective, [batch_of(objective, 1)])
    with gpu.xp.no_synchronisation():
        for number in (1, 2, 3):
            (losses,), _ = train_step(objective, optimizer, parts, number, 1e-3, (1, number))
            loss, parts = losses.total, prepared(objective, [batch_of(objective, number + 1)])
    assert np.isfinite(float(gpu.numpy(loss)))


def test_memory_is_used_again_from_step_to_step(gpu):
    objective, optimizer = objective_and_optimizer(gpu, "float32")
    pool, totals = gpu.xp.get_default_memory_pool(), []
    for number in range(1, 7):
        step(objective, optimizer, number)
        totals.append(pool.total_bytes())
    assert totals[-1] == totals[2]


@pytest.mark.slow
def test_sixteen_bits_keep_masters_in_float32(gpu):
    objective, optimizer = objective_and_optimizer(gpu, "bfloat16")
    parameters = objective.model.parameters
    step(objective, optimizer, 1)
    masters, values = gpu.numpy(parameters.masters), gpu.numpy(parameters.values)
    assert masters.dtype == np.float32 and values.dtype == as_dtype("bfloat16")
    assert gpu.numpy(parameters.gradients).dtype == np.float32
    assert np.array_equal(values, masters.astype(values.dtype))  # the copy made in the optimiser's pass
    assert not np.array_equal(values.astype(np.float32), masters)


def test_a_step_that_overflows_changes_nothing_and_halves_the_scale(gpu):
    objective, optimizer = objective_and_optimizer(gpu, "float16")
    parameters = objective.model.parameters
    optimizer.loss_scale.restore({"value": 2.0**30, "good_steps": 7})  # no gradient of this size fits
    before = gpu.numpy(parameters.masters).copy()
    step(objective, optimizer, 1)
    assert np.array_equal(gpu.numpy(parameters.masters), before)
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
    with pytest.raises(ValueError, match="bfloat16 is not supported by the reference backend; choose"):
        BertForPreTraining(small_config(), "reference", dtype="bfloat16")
