"""The layout of the tokens in a flat batch: integers that every layer needs, computed once per batch on the host."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from minibert.ops.backend import Backend


@dataclass(frozen=True)
class Sequences:
    """The layout of an array whose rows stand for tokens: all tokens of a batch, or a chosen subset.

    cu_seqlens          int32 [B + 1]: where each sequence's rows begin and end
    sequence_numbers    int32 [B]: each sequence's number in the global batch (a counter for dropout)
    row_sequences       int32 [rows]: the number of the sequence that each row belongs to
    positions           int32 [rows]: each row's position in its sequence
    """

    FIELDS: ClassVar = ("cu_seqlens", "sequence_numbers", "row_sequences", "positions")
    cu_seqlens: Any
    sequence_numbers: Any
    row_sequences: Any
    positions: Any

    @classmethod
    def of_batch(
        cls, backend: Backend, cu_seqlens: np.ndarray, sequence_numbers: Sequence[int] | np.ndarray
    ) -> "Sequences":
        """The layout of all tokens.  cu_seqlens [B + 1] and sequence_numbers [B] are NumPy arrays on the host."""
        return cls.of_rows(backend, np.arange(cu_seqlens[-1]), cu_seqlens, sequence_numbers)

    @classmethod
    def of_rows(
        cls, backend: Backend, rows: np.ndarray, cu_seqlens: np.ndarray, sequence_numbers: Sequence[int] | np.ndarray
    ) -> "Sequences":
        """The layout of chosen tokens: rows [R] are ascending indices into the flat batch, on the host.

        Raises ValueError when the rows are not ascending, or lie outside the batch.
        """
        return cls(*backend.upload(layout(rows, cu_seqlens, sequence_numbers)).arrays)


def layout(rows: np.ndarray, cu_seqlens: np.ndarray, sequence_numbers: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """The four arrays that make up the Sequences of chosen tokens, on the host; see Sequences.of_rows."""
    rows, cu_seqlens, sequence_numbers = (np.asarray(array) for array in (rows, cu_seqlens, sequence_numbers))
    if len(rows) and (rows[0] < 0 or rows[-1] >= cu_seqlens[-1] or np.any(rows[1:] <= rows[:-1])):
        raise ValueError(f"rows must be ascending indices below {cu_seqlens[-1]}, the number of tokens in the batch")
    owner = np.searchsorted(cu_seqlens, rows, side="right") - 1  # [R], the index in this batch of each row's sequence
    arrays = (
        np.searchsorted(rows, cu_seqlens),  # how many rows come before each boundary
        sequence_numbers,
        sequence_numbers[owner],
        rows - cu_seqlens[owner],
    )
    return [np.ascontiguousarray(array, dtype=np.int32) for array in arrays]
