"""Batch: sequences of different lengths, laid end to end in one flat run of tokens, without padding.

Three sequences of 5, 3 and 4 tokens are

    token_ids      c a b d s  c e s  c f g s          [N] = [12]
    cu_seqlens     0          5      8        12      [B + 1] = [4], the running sum of the lengths

Everything but attention works token by token and never needs to know where a sequence ends.
"""

from dataclasses import dataclass

import numpy as np

IGNORED = -100  # how transformers marks the labels of positions that are not predicted


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of N tokens in B sequences, M of which are to be predicted; int32 unless stated otherwise.

    A batch may be a part of a larger *global* batch, which was split among micro-batches or processes.
    """

    token_ids: np.ndarray
    """[N] what the model sees: some tokens are hidden by [MASK]."""
    segment_ids: np.ndarray
    """[N] 0 for [CLS] A [SEP], 1 for B [SEP] (token_type_ids in transformers)."""
    position_ids: np.ndarray
    """[N] the row of the position table of each token."""
    cu_seqlens: np.ndarray
    """[B + 1] the running sum of lengths: sequence i is tokens cu_seqlens[i] to cu_seqlens[i + 1]."""
    sequence_numbers: np.ndarray
    """int64 [B] the number of each sequence in the global batch: what its random decisions are counted by."""
    masked_positions: np.ndarray
    """[M] indices into the flat batch of the tokens to predict, ascending."""
    masked_labels: np.ndarray
    """[M] the original ids of those tokens."""
    nsp_labels: np.ndarray | None
    """[B] 0: B follows A, 1: B is random (as in transformers); None for a batch without sentence pairs."""
    mlm_count: int
    """The M of the global batch: a sum over M is divided by it, so that the parts' losses add up."""
    nsp_count: int
    """The B of the global batch, likewise; 0 for a batch without sentence pairs."""

    def __post_init__(self):
        tokens, sequences = len(self.token_ids), len(self.sequence_numbers)
        expected = {
            "token_ids": tokens,
            "segment_ids": tokens,
            "position_ids": tokens,
            "cu_seqlens": sequences + 1,
            "sequence_numbers": sequences,
            "masked_positions": len(self.masked_positions),
            "masked_labels": len(self.masked_positions),
        }
        if self.nsp_labels is not None:
            expected["nsp_labels"] = sequences
        for name, length in expected.items():
            array = getattr(self, name)
            dtype = np.int64 if name == "sequence_numbers" else np.int32
            if array.dtype != dtype or array.shape != (length,):
                raise ValueError(
                    f"Batch.{name} must be {np.dtype(dtype).name} of shape [{length}], "
                    f"got {array.dtype} of shape {list(array.shape)}"
                )
        ends = self.cu_seqlens
        if sequences == 0 or ends[0] != 0 or ends[-1] != tokens or np.any(ends[1:] <= ends[:-1]):
            raise ValueError(
                f"Batch.cu_seqlens must rise from 0 to the number of tokens ({tokens}), "
                "one sequence of at least one token after the other"
            )
        masked = self.masked_positions
        if len(masked) and (masked[0] < 0 or masked[-1] >= tokens or np.any(masked[1:] <= masked[:-1])):
            raise ValueError(f"Batch.masked_positions must be ascending indices below {tokens}")

    @property
    def lengths(self):
        """[B] the number of tokens of each sequence."""
        return np.diff(self.cu_seqlens)

    @property
    def cls_positions(self):
        """[B] where each sequence starts: its [CLS]."""
        return self.cu_seqlens[:-1]

    @property
    def original_ids(self):
        """[N] token_ids before masking."""
        ids = self.token_ids.copy()
        ids[self.masked_positions] = self.masked_labels
        return ids

    def take(self, first, last):
        """The part that holds sequences first to last - 1, as a Batch; numbers and global counts stay."""
        if not 0 <= first < last <= len(self.sequence_numbers):
            raise ValueError(
                f"cannot take sequences {first} to {last} of a batch that has {len(self.sequence_numbers)}"
            )
        start, stop = self.cu_seqlens[first], self.cu_seqlens[last]
        masked = slice(*np.searchsorted(self.masked_positions, [start, stop]))
        return Batch(
            token_ids=self.token_ids[start:stop],
            segment_ids=self.segment_ids[start:stop],
            position_ids=self.position_ids[start:stop],
            cu_seqlens=self.cu_seqlens[first : last + 1] - start,
            sequence_numbers=self.sequence_numbers[first:last],
            masked_positions=self.masked_positions[masked] - start,
            masked_labels=self.masked_labels[masked],
            nsp_labels=None if self.nsp_labels is None else self.nsp_labels[first:last],
            mlm_count=self.mlm_count,
            nsp_count=self.nsp_count,
        )

    def split(self, parts):
        """Cut into micro-batches of (almost) equally many sequences, in order: a list of Batch."""
        sequences = len(self.sequence_numbers)
        if not 1 <= parts <= sequences:
            raise ValueError(f"cannot split a batch of {sequences} sequences into {parts} parts")
        ends = [sequences * i // parts for i in range(parts + 1)]
        return [self.take(first, last) for first, last in zip(ends, ends[1:], strict=False)]


def from_padded(input_ids, attention_mask=None, token_type_ids=None, labels=None, next_sentence_label=None) -> Batch:
    """The Batch of a padded one, as other libraries hand it over.

    input_ids [B, T]; attention_mask [B, T], 0 on padding (left, right or between) and 1 elsewhere;
    token_type_ids [B, T], the segments; labels [B, T], the original ids where they are to be predicted and
    -100 elsewhere; next_sentence_label [B].  Left out, they are all ones, all zeros, nothing to predict, no
    pairs.  A token keeps its column as its position, as in transformers.
    Raises ValueError when shapes differ, the mask holds other values, or a sequence has no token.
    """
    input_ids = np.asarray(input_ids)
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids must have shape [sequences, length], got {list(input_ids.shape)}")
    mask = np.ones_like(input_ids) if attention_mask is None else np.asarray(attention_mask)
    segments = np.zeros_like(input_ids) if token_type_ids is None else np.asarray(token_type_ids)
    labels = np.full_like(input_ids, IGNORED) if labels is None else np.asarray(labels)
    for name, array in (("attention_mask", mask), ("token_type_ids", segments), ("labels", labels)):
        if array.shape != input_ids.shape:
            raise ValueError(f"{name} has shape {list(array.shape)}, but input_ids has {list(input_ids.shape)}")
    if not np.isin(mask, (0, 1)).all():
        raise ValueError("attention_mask must hold only 0 (padding) and 1 (token)")
    kept = mask.astype(bool)  # [B, T]
    lengths = kept.sum(axis=1)  # [B]
    if not len(lengths) or not lengths.all():
        raise ValueError("each sequence of a padded batch needs at least one token with attention_mask 1")

    columns = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape)
    flat_labels = labels[kept]  # [N]
    masked_positions = np.flatnonzero(flat_labels != IGNORED)  # [M]
    if next_sentence_label is not None:
        next_sentence_label = np.asarray(next_sentence_label).reshape(-1).astype(np.int32)
    return Batch(
        token_ids=input_ids[kept].astype(np.int32),
        segment_ids=segments[kept].astype(np.int32),
        position_ids=columns[kept].astype(np.int32),
        cu_seqlens=running_sum(lengths),
        sequence_numbers=np.arange(len(lengths), dtype=np.int64),
        masked_positions=masked_positions.astype(np.int32),
        masked_labels=flat_labels[masked_positions].astype(np.int32),
        nsp_labels=next_sentence_label,
        mlm_count=len(masked_positions),
        nsp_count=0 if next_sentence_label is None else len(lengths),
    )


def to_padded(batch: Batch, pad_id: int = 0) -> dict[str, np.ndarray]:
    """The arguments that transformers' BertForPreTraining takes, int64 [B, T]: the other way round."""
    lengths = batch.lengths
    kept = np.arange(lengths.max()) < lengths[:, None]  # [B, T]
    flat_labels = np.full(len(batch.token_ids), IGNORED)
    flat_labels[batch.masked_positions] = batch.masked_labels

    def pad(values, filler):
        padded = np.full(kept.shape, filler, np.int64)
        padded[kept] = values
        return padded

    result = {
        "input_ids": pad(batch.token_ids, pad_id),
        "attention_mask": kept.astype(np.int64),
        "token_type_ids": pad(batch.segment_ids, 0),
        "position_ids": pad(batch.position_ids, 0),
        "labels": pad(flat_labels, IGNORED),
    }
    if batch.nsp_labels is not None:
        result["next_sentence_label"] = batch.nsp_labels.astype(np.int64)
    return result


def running_sum(lengths) -> np.ndarray:
    """cu_seqlens of the lengths [B]: int32 [B + 1], from 0 to their sum."""
    ends = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    return ends
