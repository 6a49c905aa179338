"""Features: examples as the token ids that a model reads, and batches of features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.data.batch import Batch, running_sum
from minibert.data.task_batch import TaskBatch
from minibert.text import Tokenizer


@dataclass(frozen=True, eq=False)
class Feature:
    """The model input for one example, or for a part of an example that is short enough."""

    sequences: tuple[tuple[np.ndarray, np.ndarray], ...]
    """(token ids, segment ids), int32 [T] each: one sequence, or one for each candidate of a choice"""
    rows: np.ndarray
    """int32, the tokens that the output layer reads, numbered across all sequences"""
    labels: np.ndarray | None
    """the targets (see TaskBatch), one or more labels; None if the labels are not known"""
    example: int
    """the number of the example"""
    location: Any = None
    """the place of the feature in the example: the words that the rows stand for, or the offsets of the tokens"""

    @property
    def tokens(self) -> int:
        return sum(len(ids) for ids, _ in self.sequences)


def task_batch(features: Sequence[Feature], first: int = 0, count: int | None = None) -> TaskBatch:
    """The batch of the concatenated features.

    first: the number of the first feature in the global batch; count: the number of labels in the global batch, if
    the global batch is larger.
    """
    token_ids, segment_ids = zip(*(pair for feature in features for pair in feature.sequences), strict=True)
    choices = len(features[0].sequences)
    tokens = Batch.of_sequences(token_ids, segment_ids, first=first * choices)
    starts = running_sum([feature.tokens for feature in features])[:-1]
    rows = np.concatenate([feature.rows + start for feature, start in zip(features, starts, strict=True)])
    labels = None
    if all(feature.labels is not None for feature in features):
        labels = np.concatenate([feature.labels for feature in features])
    if count is None:
        count = label_count(features)
    return TaskBatch(tokens, rows.astype(np.int32), labels, count, choices)


def label_count(features: Sequence[Feature]) -> int:
    """The number of labels that the features have, or 1 if they have none."""
    return max(sum(0 if feature.labels is None else len(feature.labels) for feature in features), 1)


def as_int32(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


def sequence(tokenizer: Tokenizer, first: list[int], second: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The token ids and segment ids of [CLS] first [SEP], or of [CLS] first [SEP] second [SEP]."""
    ids = [tokenizer.cls_id, *first, tokenizer.sep_id]
    segments = [0] * len(ids)
    if second is not None:
        ids += [*second, tokenizer.sep_id]
        segments += [1] * (len(second) + 1)
    return as_int32(ids), as_int32(segments)
