"""The training loop, shared by pre-training and fine-tuning: the steps, and the actions between them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minibert.objectives import Objective
from minibert.training.optimizer import AdamW
from minibert.training.step import prepared, train_step


@dataclass(frozen=True)
class TakenStep:
    """A completed step whose losses are still to be read, since on a GPU reading them means waiting for the device."""

    number: int
    """counted from 1"""
    batch: list
    """the micro-batches, on the host"""
    losses: list
    """the losses of each micro-batch, on the device"""
    learning_rate: float
    gradient_norm: Any
    """0-d, on the device"""


class Observer:
    """The actions between training steps; by default, each method does nothing, and subclasses override it.

    The implementations are PretrainingWatch in pretraining.py and FineTuningWatch in finetuning.py.
    """

    def reads_losses(self, step: int, waiting: int) -> bool:
        """Whether to read the losses after this step; waiting: the number of steps whose losses have not been read."""
        return False

    def read_losses(self, steps: list[TakenStep]) -> None:
        """Read and record the losses of some steps.  Raises FloatingPointError if a loss is NaN or infinite."""

    def took_step(self, step: int) -> None:
        """Called after each step, for example to update a progress bar."""

    def evaluates(self, step: int) -> bool:
        """Whether to evaluate after this step."""
        return False

    def evaluate(self, step: int) -> bool:
        """Evaluate the model, and return True to end the training after this step."""
        return False

    def saves(self, step: int, stopping: bool) -> bool:
        """Whether to save after this step; stopping: True if the training was asked to stop."""
        return False

    def save(self, step: int) -> None:
        """Save the model, and the state that is needed to resume."""

    def out_of_memory(self, step: int, batch: list) -> str:
        """The message for the user when a step (counted from 0) does not fit into memory."""
        return "a micro-batch does not fit into memory"


@dataclass(frozen=True)
class Schedule:
    """The steps of a training run, with the batch and the learning rate of each step."""

    steps: int
    """the total number of steps"""
    seed: int
    """the seed of dropout"""
    batch: Callable[[int], list]
    """step (from 0) -> its micro-batches, on the host"""
    learning_rate: Callable[[int], float]
    """step (from 0) -> its learning rate"""
    first: int = 0
    """the number of steps already taken, in a resumed run"""


def train(
    objective: Objective,
    optimizer: AdamW,
    schedule: Schedule,
    observer: Observer,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Take all steps, unless the observer or a request ends the training early; return the number of steps taken.

    Each step is a function of its number alone, so a resumed run gives bit for bit the same results as one
    without interruption.
    """
    step, waiting = schedule.first, []

    def next_batch() -> tuple[Any, list]:
        batch = schedule.batch(step)
        return batch, prepared(objective, batch)

    upcoming: Any = next_batch() if step < schedule.steps else None
    while step < schedule.steps:
        batch, parts = upcoming
        rate = schedule.learning_rate(step)
        try:
            losses, norm = train_step(objective, optimizer, parts, step + 1, rate, (schedule.seed, step))
        except MemoryError:
            raise MemoryError(observer.out_of_memory(step, batch)) from None
        step += 1
        if step < schedule.steps:
            upcoming = next_batch()  # a GPU is still working on the step, as nothing above waits for it

        waiting.append(TakenStep(step, batch, losses, rate, norm))
        stopping = asked_to_stop()  # checked only once per step, so a later signal is handled in the next step
        evaluates, saves = observer.evaluates(step), observer.saves(step, stopping)
        if evaluates or saves or step == schedule.steps or observer.reads_losses(step, len(waiting)):
            observer.read_losses(waiting)  # reading also ensures that a model whose loss is NaN is not saved
            waiting = []
        observer.took_step(step)
        ended = observer.evaluate(step) if evaluates else False
        # saved after the evaluation, so that a run resumed here has the complete record of the earlier steps
        if saves:
            observer.save(step)
        if ended or stopping:
            break
    return step
