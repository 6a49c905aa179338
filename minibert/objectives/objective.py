"""The interface of every objective."""

from typing import Any, Protocol

from minibert.base.arrays import Cache, DropoutKey, Scalar


def losses_of(
    objective: "Objective", batch: Any, dropout_key: DropoutKey | None = None, keep_cache: bool = True
) -> tuple[Any, Any]:
    """The losses and cache of a batch from the host, for evaluations and checks, which do not prepare ahead."""
    return objective.losses(objective.prepare(batch), dropout_key, keep_cache)


class Objective(Protocol):
    """A model, together with the losses that it is trained on.

    model       has `parameters` and a `backend`
    """

    model: Any

    def prepare(self, batch: Any) -> Any:
        """A batch, or a micro-batch, on the device: its inputs and targets, and `release` to call after the backward
        pass.  ValueError when an id or a label is outside its table."""

    def losses(self, prepared: Any, dropout_key: DropoutKey | None = None, keep_cache: bool = True) -> tuple[Any, Any]:
        """The losses (0-d arrays of the backend, among them `total`) of a prepared batch, and the cache.

        dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if no backward pass follows.
        """

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradients of `scale * losses.total` to those of the model's parameters.

        scale: a float, or a 0-d array of the backend.
        """

    def figures(self, parts: list, losses: list) -> dict[str, float | None]:
        """The figures to record for a step, from its micro-batches and their losses; on a GPU this call waits."""
