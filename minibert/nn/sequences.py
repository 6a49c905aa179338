"""Where the tokens of a flat batch belong: the integers that every layer needs, computed once a batch on the host."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """The layout of rows that stand for tokens: all tokens of a batch, or some chosen ones.

    cu_seqlens  int32 [B + 1]: where each sequence's rows begin and end
    numbers     int32 [B]: each sequence's number in the global batch (dropout counts with it)
    sequences   int32 [rows]: `numbers` of the sequence that each row belongs to
    positions   int32 [rows]: each row's position in its sequence
    """

    cu_seqlens: Any
    numbers: Any
    sequences: Any
    positions: Any

    @classmethod
    def of_batch(cls, backend, cu_seqlens, numbers) -> "Sequences":
        """The layout of all tokens.  cu_seqlens [B + 1] and numbers [B] are NumPy arrays on the host."""
        return cls._of_rows(backend, np.arange(cu_seqlens[-1]), cu_seqlens, numbers)

    @classmethod
    def of_rows(cls, backend, rows, cu_seqlens, numbers) -> "Sequences":
        """The layout of chosen tokens: rows [R] are ascending places in the flat batch, on the host."""
        return cls._of_rows(backend, np.asarray(rows), cu_seqlens, numbers)

    @classmethod
    def _of_rows(cls, backend, rows, cu_seqlens, numbers):
        cu_seqlens = np.asarray(cu_seqlens)
        owner = np.searchsorted(cu_seqlens, rows, side="right") - 1  # [R], which sequence of this batch
        arrays = (
            np.searchsorted(rows, cu_seqlens),  # how many of the rows come before each boundary
            np.asarray(numbers),
            np.asarray(numbers)[owner],
            rows - cu_seqlens[owner],
        )
        return cls(*(backend.array(np.ascontiguousarray(array, dtype=np.int32)) for array in arrays))
