"""Fine-tuning's schedule alone, on a model of one parameter: rates, order, dropout, the best weights, 16 bits."""

from types import SimpleNamespace

import numpy as np
import pytest

from minibert.nn import Parameters
from minibert.ops import load_backend
from minibert.training.finetuning import Recipe, fine_tune, order_of, steps_of
from minibert.training.optimizer import AdamW, LossScale, learning_rate_at

PEAK = 0.1


class Toy:
    """An objective whose gradient is the same for each example, and which writes down what it is asked."""

    def __init__(self, backend, dtype, gradient=1.0):
        self.model = SimpleNamespace(parameters=Parameters(backend, dtype))
        self.model.parameters.add("weight", (3,), lambda random, shape: np.ones(shape))
        self.model.parameters.allocate()
        self.model.parameters.initialise(0)
        self.gradient, self.keys, self.batches, self.scales = gradient, [], [], []

    def prepare(self, part):
        return SimpleNamespace(part=part, release=lambda: None)

    def losses(self, prepared, dropout_key=None, keep_cache=True):
        self.keys.append(dropout_key)
        self.batches.append(prepared.part)
        return SimpleNamespace(total=1.0), prepared.part

    def losses_backward(self, part, scale=1.0):
        """In the model's own dtype: float16 loses what is too small."""
        parameters = self.model.parameters
        scale = scale if isinstance(scale, float) else float(parameters.backend.numpy(scale))
        self.scales.append(scale)
        value = np.array(self.gradient * scale * len(part)).astype(parameters.dtype)
        parameters["weight"].gradient[...] += parameters.backend.array(np.full(3, float(value), np.float32))

    def figures(self, parts, losses):
        return {"loss": 1.0}


def run(toy, scores=(1.0,) * 99, count=10, **changes):
    """Fine-tune on the examples 0, 1, …; returns the history, the rates, and the weights at each evaluation."""
    rates, weights, remaining = [], [], iter(scores)
    step = AdamW.step

    def noted(self, number, rate):
        rates.append((number, rate))
        return step(self, number, rate)

    def evaluate():
        parameters = toy.model.parameters
        weights.append(parameters.backend.numpy(parameters.values).copy())
        return {"score": next(remaining), "other": -len(weights)}

    recipe = Recipe(**{**dict(epochs=2, batch_size=4, learning_rate=PEAK, warmup=0.5, seed=7, accumulate=2), **changes})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdamW, "step", noted)
        history = fine_tune(toy, list(range(count)), lambda part, first, whole: part, evaluate, recipe)
    return history, rates, weights


@pytest.fixture
def toy():
    return Toy(load_backend("reference"), "float64")


def test_the_rates_of_all_steps_from_the_first_to_the_last(toy):
    _, rates, _ = run(toy)
    expected = [(number, share * PEAK) for number, share in enumerate((1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3), 1)]
    assert [number for number, _ in rates] == [1, 2, 3, 4, 5, 6]  # from 1, as the bias correction needs it
    np.testing.assert_allclose([rate for _, rate in rates], [rate for _, rate in expected], rtol=1e-12)


@pytest.mark.parametrize("steps, warmup", [(1, 0.0), (1, 0.9), (2, 0.5), (7, 0.0), (7, 0.1), (7, 0.999)])
def test_every_rate_is_above_zero_and_one_is_the_peak(steps, warmup):
    rates = [learning_rate_at(step, steps=steps, peak=1.0, warmup=warmup) for step in range(steps)]
    assert max(rates) == 1.0 and min(rates) > 0
    rising = rates.index(1.0) + 1
    assert rising == max(int(steps * warmup), 1)
    assert learning_rate_at(steps, steps=steps, peak=1.0, warmup=warmup) == 0


def test_dropout_has_the_key_of_its_step(toy):
    """The parts of one batch share it; no two steps do, nor do two epochs."""
    run(toy)
    assert toy.keys == [(7, step) for step in range(6) for _ in range(2)]


def test_every_epoch_has_each_example_once_in_an_order_of_its_own(toy):
    run(toy, epochs=3)
    assert [len(part) for part in toy.batches] == [2, 2, 2, 2, 1, 1] * 3
    epochs = [sum(toy.batches[first : first + 6], []) for first in (0, 6, 12)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs == [order_of(10, 7, epoch).tolist() for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] and not np.array_equal(order_of(10, 7, 0), order_of(10, 8, 0))


@pytest.mark.parametrize("count, epochs, expected", [(10, 2, 6), (8, 2, 4), (1, 3, 3), (9, 1, 3)])
def test_a_last_batch_may_be_smaller(toy, count, epochs, expected):
    _, rates, _ = run(toy, count=count, epochs=epochs)
    assert len(rates) == expected == steps_of(count, Recipe(epochs=epochs, batch_size=4))


@pytest.mark.parametrize(
    "evaluations, steps", [(1, [3, 6]), (2, [2, 3, 5, 6]), (3, [1, 2, 3, 4, 5, 6]), (9, [1, 2, 3, 4, 5, 6])]
)
def test_evaluations_are_spread_over_an_epoch_and_one_is_at_its_end(toy, evaluations, steps):
    history, _, _ = run(toy, evaluations=evaluations)
    assert [step for step, _, _ in history.evaluations] == steps
    assert [epochs for _, epochs, _ in history.evaluations] == [step / 3 for step in steps]


def test_the_best_weights_are_those_of_the_first_best_score(toy):
    history, _, weights = run(toy, scores=(0.1, 0.9, 0.9, 0.3), epochs=4)
    assert history.best == 1 and not np.array_equal(weights[1], weights[2])
    assert np.array_equal(toy.model.parameters.values, weights[1])


@pytest.mark.parametrize(
    "patience, scores, count",
    [(1, (0.5, 0.5, 0.9), 2), (2, (0.5, 0.4, 0.6, 0.6, 0.6, 0.9), 5), (None, (0.5, 0.1, 0.1, 0.1, 0.1, 0.1), 6)],
)
def test_patience_counts_the_evaluations_without_a_better_score(toy, patience, scores, count):
    history, _, _ = run(toy, scores=scores, epochs=6, patience=patience)
    assert len(history.evaluations) == count and history.stopped_early == (patience is not None)


def test_the_settings_of_the_recipe_reach_the_optimizer(toy, monkeypatch):
    seen = []
    init = AdamW.__init__
    monkeypatch.setattr(
        AdamW, "__init__", lambda self, given, settings: (seen.append(settings), init(self, given, settings))[1]
    )
    run(toy, weight_decay=0.25, clip=0.5)
    [settings] = seen
    assert (settings.weight_decay, settings.max_norm, settings.eps) == (0.25, 0.5, 1e-8) and settings.bias_correction


class TestSixteenBits:
    def test_a_small_gradient_survives_because_the_loss_is_scaled(self, gpu):
        """2**-26 is 0 in float16; times the scale it is not, and the update is that of 32 bits."""
        toys = [Toy(gpu, dtype, 2.0**-26) for dtype in ("float16", "float32")]
        for toy in toys:
            run(toy, count=4, epochs=3, evaluations=1)
        half, full = (gpu.numpy(toy.model.parameters.masters) for toy in toys)
        assert set(toys[0].scales) == {LossScale.START} and set(toys[1].scales) == {1.0}
        assert full[0] < 0.95
        np.testing.assert_allclose(half, full, rtol=1e-6)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_the_best_weights_are_also_those_that_the_layers_compute_with(self, gpu, dtype):
        toy = Toy(gpu, dtype, 2.0**-10)
        _, _, weights = run(toy, scores=(0.9, 0.1, 0.1), epochs=3)
        parameters = toy.model.parameters
        assert np.array_equal(gpu.numpy(parameters.values), weights[0])
        assert np.array_equal(gpu.numpy(parameters.masters).astype(weights[0].dtype), weights[0])
        assert not np.array_equal(weights[0], weights[2])
