"""Left-to-right language modelling: predict each token from the preceding ones (Radford et al. 2018, section 3.1)."""

from typing import Any, NamedTuple

from minibert.base.arrays import Cache, DropoutKey, Scalar
from minibert.data.next_token import NextTokenBatch
from minibert.models.gpt import GptForCausalLM
from minibert.models.inputs import BodyInputs


class NextTokenTargets(NamedTuple):
    """The inputs and targets of a batch on the device."""

    inputs: BodyInputs
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
