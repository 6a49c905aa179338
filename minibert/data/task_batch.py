"""A batch for a task: concatenated tokens, the rows that a head reads, and the labels."""

from dataclasses import dataclass, replace

import numpy as np

from minibert.data.batch import Batch


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """A batch, or a part of a larger global batch, for a model with one additional output layer.

    Task             rows [R]                           labels
    sentence, pair   each sequence's [CLS], R = B       int32 [B], the class; or float32 [B], the number to predict
    tokens           the first piece of each word       int32 [R], the class
    span             all tokens, R = N                  int32 [B, 2], first and last token of the answer, counted from
                                                        the sequence's [CLS]; 0, 0 if there is none
    choice           each sequence's [CLS], R = B       int32 [B / choices], which of the sequences is the correct one

    Raises ValueError if the parts are inconsistent.
    """

    tokens: Batch
    """the tokens of B sequences"""
    rows: np.ndarray
    """int32 [R], ascending indices into the flat batch"""
    labels: np.ndarray | None
    """the labels as described above; None if the answers are not known"""
    count: int
    """the number of labels in the global batch, by which sums are divided so that the losses of the parts add up"""
    choices: int = 1
    """the number of neighbouring sequences that belong to one question"""

    def __post_init__(self) -> None:
        tokens, sequences = len(self.tokens.token_ids), len(self.tokens.sequence_numbers)
        rows = self.rows
        if rows.dtype != np.int32 or (len(rows) and (rows[0] < 0 or rows[-1] >= tokens or np.any(np.diff(rows) <= 0))):
            raise ValueError(f"TaskBatch.rows must be int32, ascending and below {tokens}, the number of tokens")
        if self.choices < 1 or sequences % self.choices:
            raise ValueError(
                f"TaskBatch has {sequences} sequences; expected a multiple of the number of choices, {self.choices}"
            )
        if self.count < 1:
            raise ValueError(
                f"TaskBatch.count is {self.count}; expected at least 1, the number of labels in the global batch"
            )

    def without_labels(self) -> "TaskBatch":
        return replace(self, labels=None)
