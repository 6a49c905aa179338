"""A batch for left-to-right language modelling: each token except the last of its sequence predicts the next one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minibert.data.batch import Batch, parts_of


@dataclass(frozen=True, eq=False)
class NextTokenBatch:
    """N tokens in B sequences; M = N - B of the tokens have a successor to predict."""

    tokens: Batch
    count: int
    """The M of the global batch, by which sums over M are divided, so that the losses of the parts add up."""

    @classmethod
    def of(cls, tokens: Batch) -> "NextTokenBatch":
        """Make a global batch from the tokens of a Batch."""
        return cls(tokens, len(tokens.token_ids) - len(tokens.sequence_numbers))

    @cached_property
    def rows(self) -> np.ndarray:
        """The indices, int32 [M], of the tokens that have a successor in their sequence."""
        return np.delete(np.arange(len(self.tokens.token_ids), dtype=np.int32), self.tokens.cu_seqlens[1:] - 1)

    @property
    def labels(self) -> np.ndarray:
        """The ids, int32 [M], of the successors."""
        return self.tokens.token_ids[self.rows + 1]

    def split(self, parts: int) -> list["NextTokenBatch"]:
        """Split the batch, in order, into micro-batches with (almost) equal numbers of sequences."""
        ranges = parts_of(len(self.tokens.sequence_numbers), parts)
        return [NextTokenBatch(self.tokens.take(first, last), self.count) for first, last in ranges]
