"""A pre-training batch: the tokens that a model reads, and the targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minibert.data.batch import (
    Batch,
    check_array,
    check_shape,
    from_padded,
    kept_tokens,
    padded,
    parts_of,
    to_padded,
)

IGNORED = -100  # how transformers marks the labels of positions that are not predicted


@dataclass(frozen=True, eq=False)
class MaskedBatch:
    """N tokens in B sequences, M of which are to be predicted, with optional next-sentence labels; all int32."""

    tokens: Batch
    """the batch, with some of the token_ids hidden by [MASK]"""
    masked_positions: np.ndarray
    """[M] indices into the flat batch of the tokens to predict, ascending."""
    masked_labels: np.ndarray
    """[M] the original ids of the tokens to predict."""
    nsp_labels: np.ndarray | None
    """[B] 0: B follows A, 1: B is random (as in transformers); None for a batch without sentence pairs."""
    mlm_count: int
    """The M of the global batch, by which sums over M are divided, so that the losses of the parts add up."""
    nsp_count: int
    """The B of the global batch, used in the same way; 0 for a batch without sentence pairs."""

    def __post_init__(self) -> None:
        masked, tokens = self.masked_positions, len(self.tokens.token_ids)
        check_array("MaskedBatch.masked_positions", masked, len(masked))
        check_array("MaskedBatch.masked_labels", self.masked_labels, len(masked))
        if self.nsp_labels is not None:
            check_array("MaskedBatch.nsp_labels", self.nsp_labels, len(self.tokens.sequence_numbers))
        if len(masked) and (masked[0] < 0 or masked[-1] >= tokens or np.any(masked[1:] <= masked[:-1])):
            raise ValueError(
                f"MaskedBatch.masked_positions must be ascending indices below {tokens}, the number of tokens"
            )

    @property
    def original_ids(self) -> np.ndarray:
        """[N] token_ids before masking."""
        ids = self.tokens.token_ids.copy()
        ids[self.masked_positions] = self.masked_labels
        return ids

    def take(self, first: int, last: int) -> "MaskedBatch":
        """The sequences first to last - 1 as a MaskedBatch, which keeps their numbers and the global counts."""
        tokens = self.tokens.take(first, last)
        start, stop = self.tokens.cu_seqlens[first], self.tokens.cu_seqlens[last]
        masked = slice(*np.searchsorted(self.masked_positions, [start, stop]))
        return MaskedBatch(
            tokens,
            masked_positions=self.masked_positions[masked] - start,
            masked_labels=self.masked_labels[masked],
            nsp_labels=None if self.nsp_labels is None else self.nsp_labels[first:last],
            mlm_count=self.mlm_count,
            nsp_count=self.nsp_count,
        )

    def split(self, parts: int) -> list["MaskedBatch"]:
        """Split the batch into micro-batches with (almost) equal numbers of sequences, in order."""
        return [self.take(first, last) for first, last in parts_of(len(self.tokens.sequence_numbers), parts)]


def masked_from_padded(
    input_ids: Sequence | np.ndarray,
    attention_mask: Sequence | np.ndarray | None = None,
    token_type_ids: Sequence | np.ndarray | None = None,
    labels: Sequence | np.ndarray | None = None,
    next_sentence_label: Sequence | np.ndarray | None = None,
) -> MaskedBatch:
    """Make a MaskedBatch from a padded batch, given as the arguments of transformers' BertForPreTraining.

    labels [B, T]: the original ids of the tokens to predict and -100 elsewhere; next_sentence_label [B].  By
    default nothing is predicted and there are no pairs.  Other arguments and errors are as in `from_padded`.
    """
    tokens = from_padded(input_ids, attention_mask, token_type_ids)
    input_ids = np.asarray(input_ids)
    labels = np.full_like(input_ids, IGNORED) if labels is None else np.asarray(labels)
    check_shape("labels", labels, input_ids)
    flat_labels = labels[kept_tokens(input_ids, attention_mask)]  # [N]
    masked_positions = np.flatnonzero(flat_labels != IGNORED)  # [M]
    if next_sentence_label is not None:
        next_sentence_label = np.asarray(next_sentence_label).reshape(-1).astype(np.int32)
    return MaskedBatch(
        tokens,
        masked_positions=masked_positions.astype(np.int32),
        masked_labels=flat_labels[masked_positions].astype(np.int32),
        nsp_labels=next_sentence_label,
        mlm_count=len(masked_positions),
        nsp_count=0 if next_sentence_label is None else len(tokens.sequence_numbers),
    )


def masked_to_padded(batch: MaskedBatch, pad_id: int = 0) -> dict[str, np.ndarray]:
    """The inverse of `masked_from_padded`: the arguments of transformers' BertForPreTraining, int64."""
    flat_labels = np.full(len(batch.tokens.token_ids), IGNORED)
    flat_labels[batch.masked_positions] = batch.masked_labels
    result = to_padded(batch.tokens, pad_id) | {"labels": padded(batch.tokens, flat_labels, IGNORED)}
    if batch.nsp_labels is not None:
        result["next_sentence_label"] = batch.nsp_labels.astype(np.int64)
    return result
