"""Fine-tuning: a schedule of epochs for the training loop, with evaluations on a dev set.

Source: BERT paper, section 4.1 and appendix A.3: a few epochs, small batches, a learning rate that rises and falls
linearly, and the weights that score best on the dev set.  Adam has the bias correction that BERT's release left out:
without it, training on small data sets often fails (Mosbach et al. 2021).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from minibert.data.batch import parts_of
from minibert.objectives import Objective
from minibert.training.advice import when_finetuning_diverged
from minibert.training.loop import Observer, Schedule, TakenStep, train
from minibert.training.optimizer import AdamW, AdamWSettings, learning_rate_at

LOOK_EVERY = 20  # the maximum number of steps between two readings of the losses


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of a fine-tuning run."""

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup: float = 0.1
    """share of the steps during which the learning rate rises"""
    weight_decay: float = 0.01
    clip: float = 1.0
    """gradients are scaled down to this norm"""
    seed: int = 0
    """seed of the order of the examples and of dropout"""
    evaluations: int = 1
    """number of evaluations in each epoch"""
    patience: int | None = None
    """stop after this many evaluations without a better score; None: never"""
    accumulate: int = 1
    """number of parts that each batch is cut into; the result does not depend on it"""


@dataclass
class History:
    """The record of a fine-tuning run."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    """(step, training loss) of every step"""
    evaluations: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)
    """(step, epochs done, scores)"""
    best: int = -1
    """index of the best evaluation"""
    stopped_early: bool = False


def order_of(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the examples in an epoch: int64 [count]."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def steps_of(count: int, recipe: Recipe) -> int:
    """The number of steps that the recipe takes on `count` features."""
    return recipe.epochs * math.ceil(count / recipe.batch_size)


class Keeper:
    """Keeps the state of a fine-tuning between its epochs; this one keeps nothing (see training/progress.py)."""

    keeps = False

    def restore(self, watch: "FineTuningWatch", optimizer: AdamW) -> int:
        """Restore the state that was kept last, if any; returns the number of steps done."""
        return 0

    def save(self, step: int) -> None:
        """Keep the state after a step."""

    def asked_to_stop(self) -> bool:
        """Whether to stop after the current step."""
        return False

    def stopped(self, step: int) -> NoReturn:
        """Report, by an exception, that the fine-tuning stopped after a step because it was asked to."""
        raise KeyboardInterrupt(f"stopped after step {step}")


def fine_tune(
    objective: Objective,
    features: Sequence,
    make_batch: Callable,
    evaluate: Callable[[], dict[str, float]],
    recipe: Recipe,
    *,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_evaluation: Callable[[History], None] = lambda history: None,
    keeper: Keeper | None = None,
) -> History:
    """Train a model, and leave it with the weights that scored best on the dev set.

    features: the training examples; make_batch(part, first, batch) -> TaskBatch, for a part of a batch of
    features, the index of its first feature in the batch, and the whole batch;
    evaluate() -> scores by name, of which the first selects the best weights (higher is better);
    on_step: called after each step with its number and the latest loss that was read;
    on_evaluation: called after each evaluation with the History; keeper: keeps the state after each epoch.
    Raises FloatingPointError if a loss is NaN or infinite, and what the keeper raises if it is asked to stop.
    """
    keeper = keeper or Keeper()
    parameters = objective.model.parameters
    settings = AdamWSettings(eps=1e-8, weight_decay=recipe.weight_decay, max_norm=recipe.clip)
    steps = steps_of(len(features), recipe)
    watch = FineTuningWatch(objective, recipe, steps, evaluate, on_step, on_evaluation, keeper)
    optimizer = AdamW(parameters, settings)
    done = keeper.restore(watch, optimizer)

    order_in = lru_cache(maxsize=1)(lambda epoch: order_of(len(features), recipe.seed, epoch))

    def batch(step: int) -> list:
        epoch, number = divmod(step, watch.per_epoch)
        order = order_in(epoch)
        whole = [features[i] for i in order[number * recipe.batch_size : (number + 1) * recipe.batch_size]]
        return list(cut(whole, make_batch, recipe))

    def rate(step: int) -> float:
        return learning_rate_at(step, steps=steps, peak=recipe.learning_rate, warmup=recipe.warmup)

    if not watch.history.stopped_early:
        schedule = Schedule(steps, recipe.seed, batch, rate, done)
        done = train(objective, optimizer, schedule, watch, keeper.asked_to_stop)
        if done < steps and not watch.history.stopped_early:
            keeper.stopped(done)
    if watch.best_weights is not None:
        parameters.masters[...] = parameters.backend.array(watch.best_weights)
        parameters.round()
    return watch.history


class FineTuningWatch(Observer):
    """Reads the losses, evaluates in each epoch, keeps the best weights, and stops early when patience runs out."""

    def __init__(
        self,
        objective: Objective,
        recipe: Recipe,
        steps: int,
        evaluate: Callable,
        on_step: Callable[[int, float], object],
        on_evaluation: Callable[[History], object],
        keeper: Keeper,
    ) -> None:
        self.keeper = keeper
        self.objective, self.recipe, self.history = objective, recipe, History()
        self.measure, self.on_step, self.on_evaluation = evaluate, on_step, on_evaluation
        self.per_epoch = steps // recipe.epochs
        self.marks = {
            math.ceil(self.per_epoch * (number + 1) / recipe.evaluations) for number in range(recipe.evaluations)
        }
        self.best_weights: np.ndarray | None = None
        self.best_score = -math.inf

    def reads_losses(self, step: int, waiting: int) -> bool:
        return waiting == LOOK_EVERY

    def read_losses(self, steps: list[TakenStep]) -> None:
        for step in steps:
            loss = self.objective.figures(step.batch, step.losses)["loss"]
            if loss is None or not math.isfinite(loss):
                raise FloatingPointError(when_finetuning_diverged(step.number, self.recipe.learning_rate))
            self.history.losses.append((step.number, loss))

    def took_step(self, step: int) -> None:
        self.on_step(step, self.history.losses[-1][1] if self.history.losses else math.nan)

    def evaluates(self, step: int) -> bool:
        return (step - 1) % self.per_epoch + 1 in self.marks

    def evaluate(self, step: int) -> bool:
        history, parameters = self.history, self.objective.model.parameters
        scores = self.measure()
        history.evaluations.append((step, step / self.per_epoch, scores))
        score = next(iter(scores.values()))
        if score > self.best_score:
            self.best_score, history.best = score, len(history.evaluations) - 1
            self.best_weights = parameters.backend.numpy(parameters.masters).copy()
        self.on_evaluation(history)
        patience = self.recipe.patience
        history.stopped_early = patience is not None and len(history.evaluations) - 1 - history.best >= patience
        return history.stopped_early

    def saves(self, step: int, stopping: bool) -> bool:
        return self.keeper.keeps and (step % self.per_epoch == 0 or stopping)

    def save(self, step: int) -> None:
        self.keeper.save(step)


def cut(batch: list, make_batch: Callable, recipe: Recipe) -> Iterator[Any]:
    """Yield the micro-batches of a batch, each made only when it is needed."""
    for first, last in parts_of(len(batch), min(recipe.accumulate, len(batch))):
        yield make_batch(batch[first:last], first, batch)
