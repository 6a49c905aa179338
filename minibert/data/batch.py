"""Batch: sequences of different lengths, concatenated into one flat run of tokens without padding.

Three sequences of 5, 3 and 4 tokens are

    token_ids      c a b d s  c e s  c f g s          [N] = [12]
    cu_seqlens     0          5      8        12      [B + 1] = [4], the running sum of the lengths

Every layer except attention works token by token and never needs to know where a sequence ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minibert.base.arrays import DTypeLike


@dataclass(frozen=True, eq=False)
class Batch:
    """The N tokens of B sequences: the model's input, without any targets.

    A batch may be a part of a larger *global* batch, which was split among micro-batches or processes.
    Arrays are int32 unless stated otherwise.
    """

    token_ids: np.ndarray
    """[N] the ids that the model sees; in pre-training some tokens are hidden by [MASK]."""
    segment_ids: np.ndarray
    """[N] 0 for [CLS] A [SEP], 1 for B [SEP] (token_type_ids in transformers)."""
    position_ids: np.ndarray
    """[N] the row of each token in the table of position embeddings."""
    cu_seqlens: np.ndarray
    """[B + 1] the running sum of lengths: sequence i is tokens cu_seqlens[i] to cu_seqlens[i + 1]."""
    sequence_numbers: np.ndarray
    """int64 [B] each sequence's number in the global batch, a counter for its random decisions."""

    def __post_init__(self) -> None:
        tokens, sequences = len(self.token_ids), len(self.sequence_numbers)
        check_array("Batch.token_ids", self.token_ids, tokens)
        check_array("Batch.segment_ids", self.segment_ids, tokens)
        check_array("Batch.position_ids", self.position_ids, tokens)
        check_array("Batch.cu_seqlens", self.cu_seqlens, sequences + 1)
        check_array("Batch.sequence_numbers", self.sequence_numbers, sequences, np.int64)
        ends = self.cu_seqlens
        if sequences == 0 or ends[0] != 0 or ends[-1] != tokens or np.any(ends[1:] <= ends[:-1]):
            raise ValueError(
                f"Batch.cu_seqlens must rise from 0 to the number of tokens ({tokens}), "
                "with at least one token per sequence"
            )

    @classmethod
    def of_sequences(cls, token_ids: Sequence, segment_ids: Sequence | None = None, first: int = 0) -> "Batch":
        """Concatenate sequences into a batch.

        token_ids, segment_ids: lists of integer arrays [T], one for each sequence; the default segment ids are all 0.
        first: the number of the first sequence in the global batch.
        """
        lengths = [len(ids) for ids in token_ids]
        ids = np.concatenate(token_ids).astype(np.int32)
        return cls(
            token_ids=ids,
            segment_ids=np.zeros_like(ids) if segment_ids is None else np.concatenate(segment_ids).astype(np.int32),
            position_ids=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
            cu_seqlens=running_sum(lengths),
            sequence_numbers=np.arange(len(lengths), dtype=np.int64) + first,
        )

    @property
    def lengths(self) -> np.ndarray:
        """[B] the number of tokens of each sequence."""
        return np.diff(self.cu_seqlens)

    @property
    def cls_positions(self) -> np.ndarray:
        """[B] the index of each sequence's first token, [CLS]."""
        return self.cu_seqlens[:-1]

    def take(self, first: int, last: int) -> "Batch":
        """The sequences first to last - 1 as a Batch, which keeps their numbers in the global batch."""
        if not 0 <= first < last <= len(self.sequence_numbers):
            raise ValueError(f"cannot take sequences {first} to {last} of a batch of {len(self.sequence_numbers)}")
        start, stop = self.cu_seqlens[first], self.cu_seqlens[last]
        return Batch(
            token_ids=self.token_ids[start:stop],
            segment_ids=self.segment_ids[start:stop],
            position_ids=self.position_ids[start:stop],
            cu_seqlens=self.cu_seqlens[first : last + 1] - start,
            sequence_numbers=self.sequence_numbers[first:last],
        )


def check_array(name: str, array: np.ndarray, length: int, dtype: DTypeLike = np.int32) -> None:
    """Raise ValueError unless an array has the dtype `dtype` and the shape [length]."""
    if array.dtype != dtype or array.shape != (length,):
        raise ValueError(
            f"{name} must be {np.dtype(dtype).name} of shape [{length}], got {array.dtype} of shape {list(array.shape)}"
        )


def parts_of(sequences: int, parts: int) -> list[tuple[int, int]]:
    """The range (first, last) of each of `parts` (almost) equal parts of the sequences, in order.

    A part consists of the sequences first to last - 1.  Raises ValueError if sequences < parts.
    """
    if not 1 <= parts <= sequences:
        raise ValueError(f"cannot split a batch of {sequences} sequences into {parts} parts")
    ends = [sequences * i // parts for i in range(parts + 1)]
    return list(zip(ends, ends[1:], strict=False))


def from_padded(
    input_ids: Sequence | np.ndarray,
    attention_mask: Sequence | np.ndarray | None = None,
    token_type_ids: Sequence | np.ndarray | None = None,
) -> Batch:
    """Make a Batch from a padded batch, the form that other libraries use.

    input_ids [B, T]; attention_mask [B, T], 0 on padding (left, right or between) and 1 elsewhere;
    token_type_ids [B, T], the segments.  They default to all ones and all zeros, respectively.
    A token keeps its column as its position, as in transformers.
    Raises ValueError when shapes differ, the mask holds other values, or a sequence has no token.
    """
    input_ids = np.asarray(input_ids)
    kept = kept_tokens(input_ids, attention_mask)  # [B, T]
    segments = np.zeros_like(input_ids) if token_type_ids is None else np.asarray(token_type_ids)
    check_shape("token_type_ids", segments, input_ids)
    columns = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape)
    return Batch(
        token_ids=input_ids[kept].astype(np.int32),
        segment_ids=segments[kept].astype(np.int32),
        position_ids=columns[kept].astype(np.int32),
        cu_seqlens=running_sum(kept.sum(axis=1)),
        sequence_numbers=np.arange(len(kept), dtype=np.int64),
    )


def kept_tokens(input_ids: np.ndarray, attention_mask: Sequence | np.ndarray | None = None) -> np.ndarray:
    """The mask, bool [B, T]: True for tokens, False for padding.  Raises ValueError as `from_padded` does."""
    if input_ids.ndim != 2:
        raise ValueError(f"input_ids must have shape [sequences, length], got {list(input_ids.shape)}")
    mask = np.ones_like(input_ids) if attention_mask is None else np.asarray(attention_mask)
    check_shape("attention_mask", mask, input_ids)
    if not np.isin(mask, (0, 1)).all():
        raise ValueError("attention_mask must contain only 0 (padding) and 1 (token)")
    kept = mask.astype(bool)  # [B, T]
    if not len(kept) or not kept.any(axis=1).all():
        raise ValueError("each sequence of a padded batch must have at least one token with attention_mask 1")
    return kept


def check_shape(name: str, array: np.ndarray, input_ids: np.ndarray) -> None:
    if array.shape != input_ids.shape:
        raise ValueError(f"{name} has shape {list(array.shape)}, but input_ids has {list(input_ids.shape)}")


def to_padded(batch: Batch, pad_id: int = 0) -> dict[str, np.ndarray]:
    """Convert a Batch to the arguments of transformers models, int64 [B, T]: the inverse of `from_padded`."""
    return {
        "input_ids": padded(batch, batch.token_ids, pad_id),
        "attention_mask": padded(batch, np.ones_like(batch.token_ids), 0),
        "token_type_ids": padded(batch, batch.segment_ids, 0),
        "position_ids": padded(batch, batch.position_ids, 0),
    }


def padded(batch: Batch, values: np.ndarray, filler: int) -> np.ndarray:
    """Pad an array with one value for each token: [N] -> int64 [B, T], with `filler` in the padding."""
    kept = np.arange(batch.lengths.max()) < batch.lengths[:, None]  # [B, T]
    result = np.full(kept.shape, filler, np.int64)
    result[kept] = values
    return result


def running_sum(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """The cu_seqlens of sequences with these lengths [B]: int32 [B + 1], from 0 to their sum."""
    ends = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    return ends
