"""The interface that every objective implements."""

from typing import Any, Protocol

from minibert.base.arrays import Cache, DropoutKey, Scalar


def losses_of(
    objective: "Objective", batch: Any, dropout_key: DropoutKey | None = None, keep_cache: bool = True
) -> tuple[Any, Any]:
    """Prepare a batch and compute its losses and cache, for evaluations and checks, which prepare no batch ahead."""
    return objective.losses(objective.prepare(batch), dropout_key, keep_cache)


class Objective(Protocol):
    """A model together with the losses that it is trained to minimise.

    model       the model, with the attributes `parameters` and `backend`
    """

    model: Any

    def prepare(self, batch: Any) -> Any:
        """Copy the inputs and targets of a batch or micro-batch to the device.

        Returns an object with these arrays and a function `release`, which must be called after the backward pass.
        Raises ValueError if an id or a label is out of range.
        """

    def losses(self, prepared: Any, dropout_key: DropoutKey | None = None, keep_cache: bool = True) -> tuple[Any, Any]:
        """The losses of a prepared batch (0-d arrays of the backend, including `total`), and the cache.

        dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if no backward pass follows.
        """

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradient of `scale * losses.total` to the gradients of the model's parameters.

        scale: a float, or a 0-d array of the backend.
        """

    def figures(self, parts: list, losses: list) -> dict[str, float | None]:
        """The metrics to record for a step, from its micro-batches and their losses; on a GPU, waits for results."""
