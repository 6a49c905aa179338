"""A batch of left-to-right language modelling: every token but a sequence's last one predicts the next."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minibert.data.batch import Batch, parts_of


@dataclass(frozen=True, eq=False)
class NextTokenBatch:
    """N tokens in B sequences, of which M = N - B have a successor to predict."""

    tokens: Batch
    count: int
    """The M of the global batch: a sum over M is divided by it, so that the parts' losses add up."""

    @classmethod
    def of(cls, tokens: Batch) -> "NextTokenBatch":
        """A global batch."""
        return cls(tokens, len(tokens.token_ids) - len(tokens.sequence_numbers))

    @cached_property
    def rows(self) -> np.ndarray:
        """int32 [M], the indices of the tokens that have a successor in their sequence."""
        return np.delete(np.arange(len(self.tokens.token_ids), dtype=np.int32), self.tokens.cu_seqlens[1:] - 1)

    @property
    def labels(self) -> np.ndarray:
        """int32 [M], the successors' ids."""
        return self.tokens.token_ids[self.rows + 1]

    def split(self, parts: int) -> list["NextTokenBatch"]:
        """Cut into micro-batches of (almost) equally many sequences, in order; the global count stays."""
        ranges = parts_of(len(self.tokens.sequence_numbers), parts)
        return [NextTokenBatch(self.tokens.take(first, last), self.count) for first, last in ranges]
