"""Fine-tuning: the loop, whole.  What the model learns, and how it is measured, is for the caller to say.

Source: BERT paper, section 4.1 and appendix A.3: a few epochs, small batches, a rate that rises and falls linearly, the
checkpoint that is best on the dev set.  With bias correction in Adam, which the paper's release left out: without it
training on small data fails often (Mosbach et al. 2021).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from minibert.training.optimizer import AdamW, learning_rate_at

LOOK_EVERY = 20  # steps, at most, until losses are read


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to learn."""

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    """share of the steps in which the rate rises"""
    weight_decay: float = 0.01
    clip: float = 1.0
    """gradients are scaled down to this norm"""
    seed: int = 0
    """of the order and of dropout"""
    evaluations: int = 1
    """in each epoch"""
    patience: int | None = None
    """stop after so many evaluations without a better score; None: never"""
    accumulate: int = 1
    """parts that each batch is cut into; the result is the same"""


@dataclass
class History:
    """What happened."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    """(step, training loss) of every step"""
    evaluations: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)
    """(step, epochs done, scores)"""
    best: int = -1
    """which evaluation was the best"""
    stopped_early: bool = False


def order_of(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the examples in an epoch: int64 [count]."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def steps_of(count: int, recipe: Recipe) -> int:
    """All steps of a training on so many features."""
    return recipe.epochs * math.ceil(count / recipe.batch_size)


def fine_tune(
    model,
    features: Sequence,
    make_batch: Callable,
    evaluate: Callable[[], dict[str, float]],
    recipe: Recipe,
    *,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_evaluation: Callable[[History], None] = lambda history: None,
) -> History:
    """Train a model, and leave it with the weights that were best on the dev set.

    model: a TaskModel; features: what it learns from; make_batch(features of a part, number of the first, size of the
    global batch) -> TaskBatch; evaluate() -> scores by name, of which the first one counts, the higher the better;
    on_step, on_evaluation: told of each step with the last loss that was read, and of each evaluation.
    Raises FloatingPointError for a loss that is no number.
    """
    parameters = model.parameters
    optimizer = AdamW(
        parameters,
        beta1=0.9,
        beta2=0.999,
        eps=1e-8,
        weight_decay=recipe.weight_decay,
        bias_correction=True,
        max_norm=recipe.clip,
    )
    steps, history, step, best_weights, best_score = steps_of(len(features), recipe), History(), 0, None, -math.inf
    pending: list = []  # steps whose losses were not read yet: on a GPU, reading waits for the device
    per_epoch = steps // recipe.epochs
    marks = {math.ceil(per_epoch * (number + 1) / recipe.evaluations) for number in range(recipe.evaluations)}
    for epoch in range(recipe.epochs):
        order = order_of(len(features), recipe.seed, epoch)
        for number in range(per_epoch):
            batch = [features[i] for i in order[number * recipe.batch_size : (number + 1) * recipe.batch_size]]
            parameters.zero_gradients()
            losses = [learn(model, part, optimizer, (recipe.seed, step)) for part in cut(batch, make_batch, recipe)]
            rate = learning_rate_at(step, steps=steps, highest=recipe.learning_rate, warmup=recipe.warmup)
            step += 1
            optimizer.step(step, rate)
            pending.append((step, losses))
            if number + 1 in marks or len(pending) == LOOK_EVERY:
                history.losses += read(model.backend, pending, recipe)
                pending = []
            on_step(step, history.losses[-1][1] if history.losses else math.nan)
            if number + 1 not in marks:
                continue
            scores = evaluate()
            history.evaluations.append((step, epoch + (number + 1) / per_epoch, scores))
            score = next(iter(scores.values()))
            if score > best_score:
                best_score, history.best = score, len(history.evaluations) - 1
                best_weights = parameters.backend.numpy(parameters.masters).copy()
            on_evaluation(history)
            if recipe.patience is not None and len(history.evaluations) - 1 - history.best >= recipe.patience:
                history.stopped_early = True
                break
        if history.stopped_early:
            break
    if best_weights is not None:
        parameters.masters[...] = parameters.backend.array(best_weights)
        parameters.round()
    return history


def cut(batch: list, make_batch: Callable, recipe: Recipe):
    """The parts of a batch, which are learnt from one after the other."""
    parts = min(recipe.accumulate, len(batch))
    ends = [len(batch) * number // parts for number in range(parts + 1)]
    for first, last in zip(ends, ends[1:], strict=False):
        yield make_batch(batch[first:last], first, batch)


def learn(model, batch, optimizer: AdamW, key: tuple[int, int]):
    """Add the gradients of a part of a batch; returns its share of the loss, 0-d, on the device."""
    inputs = model.prepare(batch)
    loss, cache = model.losses(inputs, key)
    model.losses_backward(cache, 1.0 if optimizer.loss_scale is None else optimizer.loss_scale.value)
    inputs.release()
    return loss.total


def read(backend, pending: list, recipe: Recipe) -> list[tuple[int, float]]:
    """The losses of some steps.  FloatingPointError where one is no number."""
    losses = [(step, sum(float(backend.numpy(part)) for part in parts)) for step, parts in pending]
    for step, loss in losses:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is not a number any more at step {step}; try a lower --learning-rate "
                f"(now {recipe.learning_rate:g}) or a longer --warmup"
            )
    return losses
