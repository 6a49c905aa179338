"""Fine-tuning: the loss for each kind of task (BERT paper, section 4 and appendix A.5)."""

from typing import Any, NamedTuple

from minibert.base.arrays import Array, Cache, DropoutKey, Scalar
from minibert.data.task_batch import TaskBatch
from minibert.models.features import FeatureModel
from minibert.models.tasks import TaskModel


class TaskTargets(NamedTuple):
    """The inputs and targets of a batch on the device."""

    inputs: Any
    """the inputs of the model's `forward`"""
    labels: Any
    """the labels of the TaskBatch: flat int32 classes, or numbers [B, 1] in the model's dtype"""
    count: int  # type: ignore[assignment]  # shadows a tuple method that is not used here
    """number of labels in the global batch"""
    release: Any
    """see minibert.models.inputs.Prepared"""


class TaskLoss(NamedTuple):
    """The contribution of a batch or micro-batch to the loss, and the model's output."""

    total: Any
    """0-d array: the sum of the losses of all labels, divided by the number of labels in the global batch"""
    logits: Any
    """the result of the model's `forward`"""


class TaskObjective:
    """The objective of a TaskModel or FeatureModel: the cross-entropy or, for regression, the squared error."""

    def __init__(self, model: TaskModel | FeatureModel) -> None:
        self.model, self.ops = model, model.backend
        self.squared = model.predicts_numbers

    def prepare(self, batch: TaskBatch) -> TaskTargets:
        """Copy inputs and labels to the device.  Raises ValueError for missing labels or an invalid id or label."""
        if batch.labels is None:
            raise ValueError(
                "the batch has no labels, so there is no loss to compute; call the model's forward instead"
            )
        inputs, targets, release = self.model.prepare(batch, labels=self.model.check_labels(batch))
        return TaskTargets(inputs, targets["labels"], batch.count * self.model.labels_each, release)

    def losses(
        self, prepared: TaskTargets, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[TaskLoss, Cache]:
        """Compute the loss of a prepared batch; returns the TaskLoss and the cache for the backward pass."""
        logits, cache = self.model.forward(prepared.inputs, dropout_key, keep_cache)
        scores, scores_cache = self.model.scores_for_loss(logits, prepared.inputs)
        loss, loss_cache = self.loss_forward(scores, prepared)
        return TaskLoss(loss, logits), (loss_cache, scores_cache, cache)

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradient of `scale * losses.total` to the gradients of all parameters.

        scale: a float, or a 0-d array of the backend.
        """
        loss_cache, scores_cache, cache = cache
        d_scores = self.loss_backward(scale, loss_cache)
        self.model.backward(self.model.scores_for_loss_backward(d_scores, scores_cache), cache)

    def loss_forward(self, scores: Array, prepared: TaskTargets) -> tuple[Scalar, Cache]:
        """The loss (0-d) of the model's `scores_for_loss`, and the cache."""
        loss_forward = self.ops.mse_forward if self.squared else self.ops.cross_entropy_forward
        return loss_forward(scores, prepared.labels, prepared.count)

    def loss_backward(self, d_loss: Scalar, cache: Cache) -> Array:
        """d_loss (0-d) -> the gradient of the scores."""
        loss_backward = self.ops.mse_backward if self.squared else self.ops.cross_entropy_backward
        return loss_backward(d_loss, cache)

    def figures(self, parts: list[TaskBatch], losses: list[TaskLoss]) -> dict[str, float | None]:
        """Read the loss of the global batch from the device."""
        return {"loss": sum(float(self.ops.numpy(part.total)) for part in losses)}
