"""One training step: the gradients of every micro-batch, then one update of the parameters."""

from typing import Any

from minibert.base.arrays import DropoutKey, Scalar
from minibert.objectives import Objective
from minibert.training.optimizer import AdamW


def prepared(objective: Objective, batch: list) -> list:
    """Copy the micro-batches of a global batch to the device, as inputs and targets for `train_step`.

    The training loop calls this function one step ahead, so that the host prepares a batch while a GPU computes.
    Raises ValueError when an id or a label is outside its table.
    """
    return [objective.prepare(part) for part in batch]


def train_step(
    objective: Objective,
    optimizer: AdamW,
    parts: list,
    number: int,
    learning_rate: float,
    dropout_key: DropoutKey | None,
) -> tuple[list, Scalar]:
    """Take one step.

    parts: the micro-batches of the global batch, from `prepared`; their gradients add up to those of the global batch.
    number: the number of the step, counted from 1; dropout_key: (seed, step), or None for no dropout.
    Returns the losses of each part, and the gradient's norm (see AdamW.step), as 0-d arrays of the backend; reading
    them from a GPU waits for the step to end.
    """
    objective.model.parameters.zero_gradients()
    losses = [add_gradients(objective, optimizer, part, dropout_key) for part in parts]
    return losses, optimizer.step(number, learning_rate)


def add_gradients(objective: Objective, optimizer: AdamW, part: Any, dropout_key: DropoutKey | None) -> Any:
    """Add the gradients of one micro-batch to the parameters' gradients, and return the micro-batch's losses."""
    scale = 1.0 if optimizer.loss_scale is None else optimizer.loss_scale.value
    losses, cache = objective.losses(part, dropout_key)
    objective.losses_backward(cache, scale)
    part.release()
    return losses
