"""Pre-training: masked language modelling and next-sentence prediction (BERT paper, section 3.1)."""

from typing import Any, NamedTuple

from minibert.base.arrays import Cache, DropoutKey, Scalar
from minibert.data.masked_batch import MaskedBatch
from minibert.models.bert import check_ids
from minibert.models.distilbert import DistilBertForMaskedLM, DistilBertInputs
from minibert.models.pretraining import BertForPreTraining, PretrainingInputs


class PretrainingTargets(NamedTuple):
    """The inputs and targets of a batch on the device, as int32 arrays of the backend."""

    inputs: PretrainingInputs | DistilBertInputs
    masked_labels: Any
    """[M], the original ids of the masked tokens"""
    nsp_labels: Any
    """[B], 0 if sentence B follows sentence A, 1 if B is random; None if the sequences are not pairs"""
    mlm_count: int
    """number of masked tokens in the global batch"""
    nsp_count: int
    """number of sentence pairs in the global batch"""
    release: Any
    """see minibert.models.inputs.Prepared"""


class Losses(NamedTuple):
    """The contribution of a batch or micro-batch to the losses and accuracies, as 0-d arrays of the backend.

    total           mlm + nsp, which training minimises
    mlm             the sum of the cross-entropies in nats, divided by the number of masked tokens in the global batch
    nsp             the same for next-sentence prediction, divided by the number of pairs; 0 if there are no pairs
    mlm_correct     the number of masked tokens for which the most probable piece is the correct one
    nsp_correct     the number of pairs classified correctly
    """

    total: Any
    mlm: Any
    nsp: Any
    mlm_correct: Any
    nsp_correct: Any


class MaskedLmAndNextSentence:
    """The objective of BertForPreTraining: the sum of the MLM and NSP losses (BERT paper, appendix A.2).

    A DistilBertForMaskedLM is also trained and evaluated with it, on batches without pairs: MLM alone.
    """

    def __init__(self, model: BertForPreTraining | DistilBertForMaskedLM):
        self.model: Any = model  # mypy would check the inputs of each with the other
        self.ops = model.backend

    def prepare(self, batch: MaskedBatch) -> PretrainingTargets:
        """Copy inputs and targets to the device.  Raises ValueError if an id or a label is out of range."""
        answers, pairs = {"masked_labels": batch.masked_labels}, batch.nsp_labels is not None
        check_ids("masked label", batch.masked_labels, self.model.config.vocab_size)
        if batch.nsp_labels is not None:
            check_ids("next-sentence label", batch.nsp_labels, 2)
            answers["nsp_labels"] = batch.nsp_labels
        inputs, targets, release = self.model.prepare(
            batch.tokens, batch.masked_positions, pairs=pairs, targets=answers
        )
        counts = max(batch.mlm_count, 1), max(batch.nsp_count, 1)
        return PretrainingTargets(inputs, targets["masked_labels"], targets.get("nsp_labels"), *counts, release)

    def losses(
        self, prepared: PretrainingTargets, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Losses, Cache]:
        """Compute the losses of a prepared batch; returns the Losses and the cache for the backward pass."""
        ops = self.ops
        mlm_logits, nsp_logits, cache = self.model.forward(prepared.inputs, dropout_key, keep_cache)
        mlm, mlm_cache = ops.cross_entropy_forward(mlm_logits, prepared.masked_labels, prepared.mlm_count)
        mlm_correct = ops.count_correct(mlm_logits, prepared.masked_labels)
        nsp = nsp_correct = ops.xp.zeros((), dtype=mlm.dtype)
        nsp_cache = None
        if nsp_logits is not None:
            nsp, nsp_cache = ops.cross_entropy_forward(nsp_logits, prepared.nsp_labels, prepared.nsp_count)
            nsp_correct = ops.count_correct(nsp_logits, prepared.nsp_labels)
        return Losses(mlm + nsp, mlm, nsp, mlm_correct, nsp_correct), (mlm_cache, nsp_cache, cache)

    def losses_backward(self, cache: Cache, scale: Scalar = 1.0) -> None:
        """Add the gradient of `scale * losses.total` to the gradients of all parameters.

        scale: a float, or a 0-d array of the backend.
        """
        mlm_cache, nsp_cache, cache = cache
        d_mlm_logits = self.ops.cross_entropy_backward(scale, mlm_cache)
        d_nsp_logits = None if nsp_cache is None else self.ops.cross_entropy_backward(scale, nsp_cache)
        self.model.backward(d_mlm_logits, d_nsp_logits, cache)

    def figures(self, parts: list[MaskedBatch], losses: list[Losses]) -> dict[str, float | None]:
        """Read the losses and accuracies of the global batch from the device; parts: its micro-batches."""
        masked, pairs = parts[0].mlm_count, parts[0].nsp_count
        return dict(
            mlm_loss=sum(float(part.mlm) for part in losses),
            mlm_accuracy=sum(int(part.mlm_correct) for part in losses) / max(masked, 1),
            nsp_loss=sum(float(part.nsp) for part in losses) if pairs else None,
            nsp_accuracy=sum(int(part.nsp_correct) for part in losses) / pairs if pairs else None,
        )
