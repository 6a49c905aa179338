"""A batch for a task: tokens laid end to end, the rows that a head reads, and the labels."""

from dataclasses import dataclass, replace

import numpy as np

from minibert.data.batch import Batch


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """One batch, or its part of a larger global batch, for a model with one additional output layer.

    Task             rows [R]                           labels
    sentence, pair   each sequence's [CLS], R = B       int32 [B], the class; or float32 [B], the number to predict
    tokens           the first piece of each word       int32 [R], the class
    span             all tokens, R = N                  int32 [B, 2], first and last token of the answer, counted from
                                                        the sequence's [CLS]; 0, 0 if there is none
    choice           each sequence's [CLS], R = B       int32 [B / choices], which of the sequences is right

    Raises ValueError if the parts are inconsistent.
    """

    tokens: Batch
    """B sequences"""
    rows: np.ndarray
    """int32 [R]: ascending indices in the flat batch"""
    labels: np.ndarray | None
    """see above; None if the answers are not known"""
    count: int
    """how many labels the global batch has: losses are sums divided by it, so that the parts' losses add up"""
    choices: int = 1
    """neighbouring sequences that belong to one question"""

    def __post_init__(self) -> None:
        tokens, sequences = len(self.tokens.token_ids), len(self.tokens.sequence_numbers)
        rows = self.rows
        if rows.dtype != np.int32 or (len(rows) and (rows[0] < 0 or rows[-1] >= tokens or np.any(np.diff(rows) <= 0))):
            raise ValueError(f"TaskBatch.rows must be int32, ascending and below {tokens}, the number of tokens")
        if self.choices < 1 or sequences % self.choices:
            raise ValueError(f"TaskBatch: {sequences} sequences are not a multiple of {self.choices} choices")
        if self.count < 1:
            raise ValueError(f"TaskBatch.count is {self.count}; expected at least 1, the labels of the global batch")

    def without_labels(self) -> "TaskBatch":
        return replace(self, labels=None)
