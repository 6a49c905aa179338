"""Evaluation on masked tokens and sentence pairs of documents that the model was not trained on."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from minibert.data.masked_batch import MaskedBatch
from minibert.objectives import MaskedLmAndNextSentence, losses_of


@dataclass(frozen=True)
class Evaluation:
    """Losses and accuracies, averaged over held-out batches."""

    mlm_loss: float
    """cross-entropy of the masked tokens, in nats"""
    mlm_accuracy: float
    """share of the masked tokens for which the piece with the highest score is correct"""
    nsp_loss: float | None
    """cross-entropy of next-sentence prediction, in nats; None without pairs"""
    nsp_accuracy: float | None
    """share of the pairs classified correctly; None without pairs"""
    masked: int
    """number of masked tokens evaluated"""
    pairs: int
    """number of pairs evaluated"""

    @property
    def figures(self) -> dict[str, float | None]:
        """Losses and accuracies, under the names that the objective uses in its `figures`."""
        return {name: getattr(self, name) for name in ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")}

    @property
    def perplexity(self) -> float:
        """exp(mlm_loss), the number of equally likely pieces that the model effectively chooses among."""
        return math.exp(min(self.mlm_loss, 700))


def evaluate(objective: MaskedLmAndNextSentence, batches: Iterable[MaskedBatch]) -> Evaluation:
    """Evaluate the model of an objective on batches, without dropout."""
    mlm = nsp = 0.0
    mlm_correct = nsp_correct = masked = pairs = 0
    for batch in batches:
        losses, _ = losses_of(objective, batch, keep_cache=False)
        # a loss is a sum divided by the count of the global batch; multiplying by the count gives the sum
        mlm += float(losses.mlm) * batch.mlm_count
        nsp += float(losses.nsp) * batch.nsp_count
        mlm_correct += int(losses.mlm_correct)
        nsp_correct += int(losses.nsp_correct)
        masked += len(batch.masked_positions)
        pairs += 0 if batch.nsp_labels is None else len(batch.nsp_labels)
    return Evaluation(
        mlm_loss=mlm / max(masked, 1),
        mlm_accuracy=mlm_correct / max(masked, 1),
        nsp_loss=nsp / pairs if pairs else None,
        nsp_accuracy=nsp_correct / pairs if pairs else None,
        masked=masked,
        pairs=pairs,
    )
