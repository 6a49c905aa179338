"""A batch for left-to-right language modelling: each token except the last of its sequence predicts the next one."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minibert.data.batch import Batch, parts_of
from minibert.data.masked_batch import MaskedBatch


@dataclass(frozen=True, eq=False)
class NextTokenBatch:
    """N tokens in B sequences; M of the tokens have a successor to predict, M = N - B, or N - 2 B for windows."""

    tokens: Batch
    count: int
    """The M of the global batch, by which sums over M are divided, so that the losses of the parts add up."""
    windows: bool = False
    """Whether the sequences are windows of running text, whose final [SEP] is not predicted, since it says only where
    the window was cut."""

    @classmethod
    def of(cls, tokens: Batch) -> "NextTokenBatch":
        """Make a global batch from the tokens of a Batch."""
        return cls(tokens, len(tokens.token_ids) - len(tokens.sequence_numbers))

    @classmethod
    def of_windows(cls, batch: MaskedBatch) -> "NextTokenBatch":
        """Make a global batch from windows [CLS] text [SEP], with all masked tokens restored."""
        tokens = replace(batch.tokens, token_ids=batch.original_ids)
        return cls(tokens, len(tokens.token_ids) - 2 * len(tokens.sequence_numbers), windows=True)

    @cached_property
    def rows(self) -> np.ndarray:
        """The indices, int32 [M], of the tokens whose successor is predicted."""
        ends = self.tokens.cu_seqlens[1:]
        without = [ends - 1, ends - 2] if self.windows else [ends - 1]
        return np.delete(np.arange(len(self.tokens.token_ids), dtype=np.int32), np.concatenate(without))

    @property
    def predicted(self) -> np.ndarray:
        """The indices, int32 [M], of the successors."""
        return self.rows + 1

    @property
    def labels(self) -> np.ndarray:
        """The ids, int32 [M], of the successors."""
        return self.tokens.token_ids[self.predicted]

    def split(self, parts: int) -> list["NextTokenBatch"]:
        """Split the batch, in order, into micro-batches with (almost) equal numbers of sequences."""
        ranges = parts_of(len(self.tokens.sequence_numbers), parts)
        return [replace(self, tokens=self.tokens.take(first, last)) for first, last in ranges]
