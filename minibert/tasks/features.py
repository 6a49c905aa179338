"""Features, which represent examples as token ids for the model, and batches of features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.data.batch import Batch, running_sum
from minibert.data.task_batch import TaskBatch
from minibert.text import Tokenizer


@dataclass(frozen=True, eq=False)
class Feature:
    """The model input for one example, or for one part of an example that is too long for a single sequence."""

    sequences: tuple[tuple[np.ndarray, np.ndarray], ...]
    """pairs (token ids, segment ids), int32 [T] each: one pair or, for multiple choice, one per ending"""
    rows: np.ndarray
    """int32, the indices of the tokens that the output layer reads, counted across all sequences of the feature"""
    labels: np.ndarray | None
    """the targets, one or more labels in the form that TaskBatch expects; None if unknown"""
    example: int
    """the index of the example that the feature belongs to"""
    location: Any = None
    """the part of the example that the feature covers: for words, the range (begin, end) of word indices; for spans,
    the number of tokens before the context, and the character offsets of the context's tokens; otherwise None"""
    cut: bool = False
    """whether the end of a text is missing, because the maximum length is too small for it"""

    @property
    def tokens(self) -> int:
        return sum(len(ids) for ids, _ in self.sequences)


def task_batch(features: Sequence[Feature], first: int = 0, count: int | None = None) -> TaskBatch:
    """Concatenate features into a batch.

    first: the index of the first feature within the global batch; count: the number of labels in the global batch, by
    default that of these features.
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


def truncated(length: int, **parts: Sequence[Feature]) -> str:
    """How many examples of each part, such as train=features, are cut off at `length` tokens; "" if none are."""
    counts = {name: len({feature.example for feature in features if feature.cut}) for name, features in parts.items()}
    found = " and ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    total = sum(counts.values())
    are = "example is" if total == 1 else "examples are"
    return f"{found} {are} longer than {length} tokens, and cut off" if found else ""


def label_count(features: Sequence[Feature]) -> int:
    """The total number of labels of the features, or 1 if they have none."""
    return max(sum(0 if feature.labels is None else len(feature.labels) for feature in features), 1)


def as_int32(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


def sequence(tokenizer: Tokenizer, first: list[int], second: list[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The token ids and segment ids of the sequence [CLS] first [SEP] or [CLS] first [SEP] second [SEP]."""
    ids = [tokenizer.cls_id, *first, tokenizer.sep_id]
    segments = [0] * len(ids)
    if second is not None:
        ids += [*second, tokenizer.sep_id]
        segments += [1] * (len(second) + 1)
    return as_int32(ids), as_int32(segments)
