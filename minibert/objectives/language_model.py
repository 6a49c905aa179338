"""Language modelling: predict each token from the preceding ones, and, in a second model, from the following ones.

Sources: Radford et al. 2018, section 3.1 (left to right); Peters et al. 2018, section 3.1 (both directions).
"""

from typing import Any, NamedTuple

from minibert.base.arrays import Cache, DropoutKey, Scalar
from minibert.data.next_token import NextTokenBatch
from minibert.models.elmo import Elmo
from minibert.models.gpt import GptForCausalLM


class NextTokenTargets(NamedTuple):
    """The inputs and targets of a batch on the device."""

    inputs: Any
    """the inputs of the model's `forward`"""
    labels: Any
    """int32 [M], the ids of the tokens to predict"""
    global_count: int
    """number of predicted tokens in the global batch"""
    release: Any
    """see minibert.models.inputs.Prepared"""


class NextTokenLoss(NamedTuple):
    """The contribution of a batch or micro-batch to the loss and accuracy, as 0-d arrays of the backend.

    total      the sum of the cross-entropies in nats, divided by the number of predicted tokens in the global batch
    correct    the number of correct predictions, where a prediction is the most probable next token
    """

    total: Any
    correct: Any


class NextToken:
    """The objective of GptForCausalLM: the cross-entropy of next-token prediction."""

    def __init__(self, model: GptForCausalLM):
        self.model, self.ops = model, model.backend

    def prepare(self, batch: NextTokenBatch) -> NextTokenTargets:
        """Copy inputs and targets to the device.  Raises ValueError if an id is out of range."""
        inputs, targets, release = self.model.prepare(batch.tokens, batch.rows, targets={"labels": batch.labels})
        return NextTokenTargets(inputs, targets["labels"], max(batch.count, 1), release)

    def losses(
        self, prepared: NextTokenTargets, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[NextTokenLoss, Cache]:
        """Compute the loss of a prepared batch; returns the NextTokenLoss and the cache for the backward pass."""
        logits, cache = self.model.forward(prepared.inputs, dropout_key, keep_cache)  # [M, V]
        loss, loss_cache = self.ops.cross_entropy_forward(logits, prepared.labels, prepared.global_count)
        return NextTokenLoss(loss, self.ops.count_correct(logits, prepared.labels)), (loss_cache, cache)

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradient of `scale * losses.total` to the gradients of all parameters.

        scale: a float, or a 0-d array of the backend.
        """
        loss_cache, cache = cache
        self.model.backward(self.ops.cross_entropy_backward(scale, loss_cache), cache)

    def figures(self, parts: list[NextTokenBatch], losses: list[NextTokenLoss]) -> dict[str, float | None]:
        """Read the loss and accuracy of the global batch from the device; parts: its micro-batches."""
        return dict(
            lm_loss=sum(float(part.total) for part in losses),
            lm_accuracy=sum(int(part.correct) for part in losses) / max(parts[0].count, 1),
        )


class BothDirectionsLoss(NamedTuple):
    """The contribution of a batch or micro-batch to the losses and accuracies, as 0-d arrays of the backend.

    total               forward + backward, which training minimises (Peters et al. 2018, section 3.1)
    forward, backward   the sums of the cross-entropies in nats, divided by the number of tokens in the global batch
    forward_correct, backward_correct   the numbers of correct predictions
    """

    total: Any
    forward: Any
    backward: Any
    forward_correct: Any
    backward_correct: Any


class BothDirections:
    """The objective of Elmo: each token is predicted from the preceding tokens, and from the following ones."""

    def __init__(self, model: Elmo):
        self.model, self.ops = model, model.backend

    def prepare(self, batch: NextTokenBatch) -> NextTokenTargets:
        """Copy inputs and targets to the device.

        Raises ValueError if an id is out of range, or if the batch predicts the last token of a sequence, which has no
        following one.
        """
        if not batch.windows:
            raise ValueError("the backward language model needs windows: a token after each predicted one")
        targets = {"labels": batch.labels}
        inputs, targets, release = self.model.prepare(batch.tokens, batch.predicted, targets=targets)
        return NextTokenTargets(inputs, targets["labels"], max(batch.count, 1), release)

    def losses(
        self, prepared: NextTokenTargets, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[BothDirectionsLoss, Cache]:
        """Compute the losses of a prepared batch, and the cache for the backward pass."""
        ops, labels, count = self.ops, prepared.labels, prepared.global_count
        forward_logits, backward_logits, cache = self.model.forward(prepared.inputs, dropout_key, keep_cache)  # [M, V]
        forward, forward_cache = ops.cross_entropy_forward(forward_logits, labels, count)
        backward, backward_cache = ops.cross_entropy_forward(backward_logits, labels, count)
        correct = ops.count_correct(forward_logits, labels), ops.count_correct(backward_logits, labels)
        losses = BothDirectionsLoss(forward + backward, forward, backward, *correct)
        return losses, (forward_cache, backward_cache, cache)

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradient of `scale * losses.total` to the gradients of all parameters.

        scale: a float, or a 0-d array of the backend.
        """
        forward_cache, backward_cache, cache = cache
        d_forward = self.ops.cross_entropy_backward(scale, forward_cache)
        d_backward = self.ops.cross_entropy_backward(scale, backward_cache)
        self.model.backward(d_forward, d_backward, cache)

    def figures(self, parts: list[NextTokenBatch], losses: list[BothDirectionsLoss]) -> dict[str, float | None]:
        """Read the losses and accuracies of the global batch from the device; parts: its micro-batches."""
        count = max(parts[0].count, 1)
        return dict(
            forward_loss=sum(float(part.forward) for part in losses),
            forward_accuracy=sum(int(part.forward_correct) for part in losses) / count,
            backward_loss=sum(float(part.backward) for part in losses),
            backward_accuracy=sum(int(part.backward_correct) for part in losses) / count,
        )
