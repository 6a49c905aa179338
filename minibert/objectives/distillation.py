"""Distillation: a student learns from a frozen teacher (Hinton et al. 2015; DistilBERT, Sanh et al. 2019).

Pre-training has DistilBERT's three losses, fine-tuning the two of a task.  The defaults are those of DistilBERT's
release, the research project "distillation" of `transformers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey, Scalar
from minibert.data.batch import Batch
from minibert.data.masked_batch import MaskedBatch
from minibert.models.bert import Model, check_ids
from minibert.models.distilbert import DistilBertForMaskedLM, DistilBertInputs
from minibert.models.pretraining import BertForPreTraining
from minibert.models.tasks import TaskModel
from minibert.objectives.tasks import TaskObjective, TaskTargets

ALL, MASKED = "all", "masked"  # the tokens that have soft targets


@dataclass(frozen=True, eq=False)
class DistillationBatch(MaskedBatch):
    """A MaskedBatch with the number of tokens of the global batch: two of the losses are means over all tokens."""

    token_count: int
    """The N of the global batch, by which sums over N are divided, so that the losses of the parts add up."""

    @classmethod
    def of(cls, batch: MaskedBatch) -> "DistillationBatch":
        """Make one of a whole global batch, before it is split.  Raises ValueError for a part of a global batch."""
        if isinstance(batch, DistillationBatch):
            return batch
        if batch.mlm_count != len(batch.masked_positions):
            raise ValueError(
                f"the batch has {len(batch.masked_positions)} of {batch.mlm_count} masked tokens of its global batch; "
                "expected all: call DistillationBatch.of on the global batch, and split that"
            )
        return cls(**vars(batch), token_count=len(batch.tokens.token_ids))

    def take(self, first: int, last: int) -> "DistillationBatch":
        """The sequences first to last - 1 as a DistillationBatch, which keeps the global counts."""
        return DistillationBatch(**vars(super().take(first, last)), token_count=self.token_count)


class DistillationTargets(NamedTuple):
    """The inputs and targets of a batch on the device, as int32 arrays of the backend."""

    inputs: DistilBertInputs
    """the inputs of the student; the teacher reads the same body inputs"""
    masked_labels: Any
    """[M], the original ids of the masked tokens"""
    masked_rows: Any
    """[M], which of the predicted tokens are masked; None if all of them are"""
    mlm_count: int
    """number of masked tokens in the global batch"""
    token_count: int
    """number of tokens in the global batch"""
    release: Any
    """see minibert.models.inputs.Prepared"""


class DistillationLosses(NamedTuple):
    """The contribution of a batch or micro-batch to the losses, as 0-d arrays of the backend; None: left out.

    total           the weighted sum of the three losses, which training minimises
    soft            KL(teacher || student) at the temperature, times temperature², in nats, summed over the tokens with
                    soft targets and divided by their number in the global batch
    mlm             the sum of the cross-entropies in nats, divided by the number of masked tokens in the global batch
    cosine          1 - cosine of the last hidden states, summed and divided by the number of tokens in the global batch
    mlm_correct     the number of masked tokens for which the most probable piece is the correct one
    """

    total: Any
    soft: Any
    mlm: Any
    cosine: Any
    mlm_correct: Any


class Distillation:
    """The objective of a DistilBertForMaskedLM with a teacher: soft targets, masked tokens, and hidden states.

    The teacher reads the same masked tokens, without dropout, and gets no gradients.

    Soft targets are on all tokens by default, as in the release, whose results the paper reports.  On the masked tokens
    alone the MLM head, which is most of a small model's work, computes only 15 % of the rows; a token that is not
    masked tells the student little, since the teacher sees it.  Source: DistilBERT, sections 2 and 3.
    """

    def __init__(
        self,
        student: DistilBertForMaskedLM,
        teacher: BertForPreTraining | DistilBertForMaskedLM,
        *,
        temperature: float = 2.0,
        weights: Sequence[float] = (5.0, 2.0, 1.0),
        soft_targets_on: str = ALL,
    ) -> None:
        """Check that the two models fit.

        temperature: of the soft targets, above 0; weights: of the losses on soft targets, masked tokens and hidden
        states; a loss of weight 0 is not computed; soft_targets_on: "all" tokens or only the "masked" ones.
        Raises ValueError for other values, and for a teacher of another backend, dtype, vocabulary or, if the hidden
        states are compared, width.
        """
        check_settings(temperature, weights, 3)
        check_teacher(student, teacher)
        if soft_targets_on not in (ALL, MASKED):
            raise ValueError(f"soft_targets_on is {soft_targets_on!r}; expected {ALL!r} or {MASKED!r}")
        widths = student.config.hidden_size, teacher.config.hidden_size
        if weights[2] and widths[0] != widths[1]:
            raise ValueError(
                f"the student's hidden states have {widths[0]} numbers, the teacher's {widths[1]}; "
                "expected the same, or a weight of 0 for the cosine loss"
            )
        self.model, self.teacher, self.ops = student, teacher, student.backend
        self.temperature, self.weights = temperature, tuple(weights)
        self.on_all = bool(weights[0]) and soft_targets_on == ALL  # whether all tokens have soft targets

    def prepare(self, batch: MaskedBatch) -> DistillationTargets:
        """Copy inputs and targets to the device.

        batch: a DistillationBatch or a part of one, or a MaskedBatch that is a whole global batch; without pairs.
        Raises ValueError for pairs, for a part of a MaskedBatch, and if an id or a label is out of range.
        """
        batch = DistillationBatch.of(batch)
        check_ids("masked label", batch.masked_labels, self.model.config.vocab_size)
        self.teacher.bert.check(batch.tokens)
        positions, answers = batch.masked_positions, {"masked_labels": batch.masked_labels}
        if self.on_all:
            positions, answers["masked_rows"] = all_positions(batch.tokens), positions
        inputs, targets, release = self.model.prepare(
            batch.tokens,
            positions,
            pairs=batch.nsp_labels is not None,
            hidden=bool(self.weights[2]),
            targets=answers,
        )
        counts = max(batch.mlm_count, 1), batch.token_count
        return DistillationTargets(inputs, targets["masked_labels"], targets.get("masked_rows"), *counts, release)

    def losses(
        self, prepared: DistillationTargets, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[DistillationLosses, Cache]:
        """Compute the losses of a prepared batch; returns them and the cache for the backward pass."""
        ops, (soft_weight, mlm_weight, cosine_weight) = self.ops, self.weights
        logits, hidden, cache = self.model.forward(prepared.inputs, dropout_key, keep_cache)  # [M or N, V], [N, H]
        teacher_logits, teacher_hidden = self.of_teacher(prepared.inputs)
        total: Any = 0.0
        soft = mlm = cosine = mlm_correct = soft_cache = mlm_caches = cosine_cache = None
        if soft_weight:
            count = prepared.token_count if self.on_all else prepared.mlm_count
            soft, soft_cache = ops.kl_divergence_forward(logits, teacher_logits, self.temperature, count)
            total = total + soft_weight * soft
        if mlm_weight:
            masked, gather_cache = logits, None
            if prepared.masked_rows is not None:
                masked, gather_cache = ops.gather_rows_forward(logits, prepared.masked_rows)  # [M, V]
            mlm, mlm_cache = ops.cross_entropy_forward(masked, prepared.masked_labels, prepared.mlm_count)
            mlm_correct = ops.count_correct(masked, prepared.masked_labels)
            mlm_caches = mlm_cache, gather_cache
            total = total + mlm_weight * mlm
        if cosine_weight:
            cosine, cosine_cache = ops.cosine_forward(hidden, teacher_hidden, prepared.token_count)
            total = total + cosine_weight * cosine
        losses = DistillationLosses(total, soft, mlm, cosine, mlm_correct)
        return losses, (soft_cache, mlm_caches, cosine_cache, cache)

    def of_teacher(self, inputs: DistilBertInputs) -> tuple[Array | None, Array | None]:
        """The teacher's logits [M or N, V] and hidden states [N, H], each None if no loss compares them."""
        soft_weight, _, cosine_weight = self.weights
        if not soft_weight and not cosine_weight:
            return None, None
        hidden, _ = self.teacher.bert.forward(inputs.body, keep_cache=False)  # [R, H]
        if not soft_weight:
            return None, hidden
        predicted = hidden
        if inputs.predicted is not None:
            predicted, _ = self.ops.gather_rows_forward(hidden, inputs.predicted)  # [M, H]
        return self.teacher.mlm_head.forward(predicted)[0], hidden

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradient of `scale * losses.total` to the gradients of the student's parameters.

        scale: a float, or a 0-d array of the backend.
        """
        ops, (soft_weight, mlm_weight, cosine_weight) = self.ops, self.weights
        soft_cache, mlm_caches, cosine_cache, cache = cache
        d_logits = d_hidden = None
        if soft_cache is not None:
            d_logits = ops.kl_divergence_backward(soft_weight * scale, soft_cache)  # [M or N, V]
        if mlm_caches is not None:
            mlm_cache, gather_cache = mlm_caches
            d_masked = ops.cross_entropy_backward(mlm_weight * scale, mlm_cache)  # [M, V]
            if gather_cache is not None:
                d_logits = ops.gather_rows_backward(d_masked, gather_cache, accumulate_into=d_logits)
            else:
                d_logits = d_masked if d_logits is None else d_logits + d_masked
        if cosine_cache is not None:
            d_hidden = ops.cosine_backward(cosine_weight * scale, cosine_cache)  # [N, H]
        self.model.backward(d_logits, d_hidden, cache)

    def figures(self, parts: list[MaskedBatch], losses: list[DistillationLosses]) -> dict[str, float | None]:
        """Read the losses and the accuracy of the global batch from the device; None for losses left out."""

        def sum_of(name: str) -> float | None:
            values = [getattr(part, name) for part in losses]
            return None if values[0] is None else sum(float(value) for value in values)

        correct = sum_of("mlm_correct")
        return dict(
            mlm_loss=sum_of("mlm"),
            mlm_accuracy=None if correct is None else correct / max(parts[0].mlm_count, 1),
            soft_loss=sum_of("soft"),
            cosine_loss=sum_of("cosine"),
        )


class TaskDistillation(TaskObjective):
    """The objective of a TaskModel with a teacher that was fine-tuned on the same task: soft targets and labels.

    The soft targets are those of the softmax in the task's loss: over classes, tokens or candidates.  If the model
    predicts a number, the soft loss is the squared error to the teacher's number, without a temperature.
    Source: DistilBERT, section 4.1; its code, run_squad_w_distillation.py, weighs both losses equally.
    """

    def __init__(
        self,
        student: TaskModel,
        teacher: TaskModel,
        temperature: float = 2.0,
        weights: Sequence[float] = (0.5, 0.5),
    ) -> None:
        """Check that the two models fit.

        temperature: of the soft targets, above 0; weights: of the losses on soft targets and on labels; a loss of
        weight 0 is not computed.
        Raises ValueError for other values, and for a teacher of another task, backend, dtype or vocabulary.
        """
        check_settings(temperature, weights, 2)
        check_teacher(student, teacher)
        if type(student) is not type(teacher) or student.config.labels != teacher.config.labels:
            raise ValueError(
                f"the teacher is a {described(teacher)}, but the student a {described(student)}; expected the same task"
            )
        bodies = [(model.config.is_decoder, model.config.head) for model in (student, teacher)]
        if bodies[0] != bodies[1]:
            raise ValueError(
                "the teacher reads its input in another way than the student; expected the same direction and head"
            )
        super().__init__(student)
        self.teacher, self.temperature, self.weights = teacher, temperature, tuple(weights)

    def prepare(self, batch: Any) -> TaskTargets:
        """Copy inputs and labels to the device; errors are those of TaskObjective, for the teacher's tables as well."""
        self.teacher.bert.check(batch.tokens)
        return super().prepare(batch)

    def loss_forward(self, scores: Array, prepared: TaskTargets) -> tuple[Scalar, Cache]:
        """The weighted sum of both losses (0-d), and the cache."""
        soft_weight, hard_weight = self.weights
        total: Any = 0.0
        soft_cache = hard_cache = None
        if soft_weight:
            logits, _ = self.teacher.forward(prepared.inputs, keep_cache=False)
            targets, _ = self.teacher.scores_for_loss(logits, prepared.inputs)
            if self.squared:
                soft, soft_cache = self.ops.mse_forward(scores, targets, prepared.count)
            else:
                soft, soft_cache = self.ops.kl_divergence_forward(scores, targets, self.temperature, prepared.count)
            total = total + soft_weight * soft
        if hard_weight:
            hard, hard_cache = super().loss_forward(scores, prepared)
            total = total + hard_weight * hard
        return total, (soft_cache, hard_cache)

    def loss_backward(self, d_loss: Scalar, cache: Cache) -> Array:
        """d_loss (0-d) -> the gradient of the student's scores."""
        soft_cache, hard_cache = cache
        soft_weight, hard_weight = self.weights
        d_scores: Any = None
        if soft_cache is not None:
            soft_backward = self.ops.mse_backward if self.squared else self.ops.kl_divergence_backward
            d_scores = soft_backward(soft_weight * d_loss, soft_cache)
        if hard_cache is not None:
            d_hard = super().loss_backward(hard_weight * d_loss, hard_cache)
            d_scores = d_hard if d_scores is None else d_scores + d_hard
        return d_scores


def all_positions(tokens: Batch) -> np.ndarray:
    """The indices of all tokens of a batch, int32 [N]."""
    return np.arange(len(tokens.token_ids), dtype=np.int32)


def described(model: TaskModel) -> str:
    """A task model's class and labels, for an error message."""
    labels = ", ".join(model.config.labels)
    return type(model).__name__ + (f" of {labels}" if labels else "")


def check_settings(temperature: float, weights: Sequence[float], losses: int) -> None:
    """Raise ValueError unless the temperature is above 0, and so is at least one of the weights, one for each loss."""
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}; expected a number above 0")
    if len(weights) != losses or not all(0 <= weight < np.inf for weight in weights) or not any(weights):
        raise ValueError(f"weights are {tuple(weights)}; expected {losses} numbers of at least 0, not all of them 0")


def check_teacher(student: Model, teacher: Model) -> None:
    """Raise ValueError unless both models read the same ids and compute on the same backend in the same dtype."""
    for name, ours, theirs in (
        ("vocabulary size", student.config.vocab_size, teacher.config.vocab_size),
        ("backend", student.backend.name, teacher.backend.name),
        ("dtype", student.parameters.dtype.name, teacher.parameters.dtype.name),
    ):
        if ours != theirs:
            raise ValueError(f"the teacher's {name} is {theirs}, but the student's is {ours}; expected the same")
