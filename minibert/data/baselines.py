"""Count-based baselines: three simple predictors that a model has to beat on the same held-out tokens.

    most frequent       the most frequent token of the training text
    left neighbour      the most frequent successor of the token on the left
    both neighbours     the most frequent token between the token on the left and the one on the right

A model that has learnt only word frequencies scores like the first baseline.  A model that beats the last baseline
has learnt to use context beyond the two neighbours.  The baselines even have an advantage: they see the true
neighbours, which are sometimes masked for the model.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from minibert.data.documents import DocumentSet
from minibert.data.masked_batch import MaskedBatch

CHUNK_TOKENS = 1 << 24  # number of training tokens counted at a time
BOUNDARY = -1  # stands for "no neighbour" between two documents and beyond the ends of a sequence


def baselines(train: DocumentSet, batches: Iterable[MaskedBatch]) -> dict[str, float]:
    """The accuracy, 0 to 1, of each baseline on all masked tokens of `batches`.

    train: the DocumentSet to count in; batches: the batches that the model is evaluated on.
    For a neighbour that never occurs in `train`, such as [CLS] or [SEP], `both neighbours` falls back on
    `left neighbour`, and `left neighbour` on the most frequent token.  Of equally frequent tokens, the one with the
    lowest id is guessed.  Raises ValueError when nothing is masked.
    """
    left, label, right = np.concatenate([_masked_tokens(batch) for batch in batches], axis=1)  # [M] each
    if not len(label):
        raise ValueError("the evaluation batches contain no masked tokens to predict")
    nothing = np.zeros_like(label)
    frequent, after_left, between = Counts(nothing), Counts(left), Counts(_pair(left, right))
    for tokens in _chunks(train):
        frequent.add(np.zeros_like(tokens), tokens)
        after_left.add(tokens[:-1], tokens[1:])
        between.add(_pair(tokens[:-2], tokens[2:]), tokens[1:-1])

    most_frequent = frequent.guess(nothing, otherwise=BOUNDARY)  # [M]
    left_neighbour = after_left.guess(left, otherwise=most_frequent)  # [M]
    both_neighbours = between.guess(_pair(left, right), otherwise=left_neighbour)  # [M]
    return {
        "most frequent": float(np.mean(most_frequent == label)),
        "left neighbour": float(np.mean(left_neighbour == label)),
        "both neighbours": float(np.mean(both_neighbours == label)),
    }


class Counts:
    """The number of times that each token occurred in each of the given contexts; a context is any int64 >= 0."""

    def __init__(self, contexts: np.ndarray) -> None:
        self.contexts = np.unique(contexts[contexts >= 0])
        self.keys = np.zeros(0, np.int64)  # (number of the context, token), ascending
        self.counts = np.zeros(0, np.int64)

    def add(self, contexts: np.ndarray, tokens: np.ndarray) -> None:
        """Count tokens, int64 [n], in their contexts [n]; ignore boundaries and contexts other than the given ones."""
        number, known = self._number(contexts)
        known &= tokens != BOUNDARY
        keys, counts = np.unique(_pair(number[known], tokens[known]), return_counts=True)
        self.keys, index = np.unique(np.concatenate([self.keys, keys]), return_inverse=True)
        weights = np.concatenate([self.counts, counts])
        self.counts = np.bincount(index, weights, minlength=len(self.keys)).astype(np.int64)

    def guess(self, contexts: np.ndarray, otherwise: int | np.ndarray) -> np.ndarray:
        """The most frequent token in each context [M], or `otherwise` ([M] or scalar) if the context never occurred."""
        number, token = self.keys >> 32, self.keys & 0xFFFFFFFF
        order = np.lexsort((token, -self.counts, number))  # in each context, the most frequent token first
        first = np.unique(number[order], return_index=True)[1]
        best = np.full(len(self.contexts) + 1, BOUNDARY)
        best[number[order[first]]] = token[order[first]]
        number, known = self._number(contexts)
        guesses = np.where(known, best[number], BOUNDARY)
        return np.where(guesses == BOUNDARY, otherwise, guesses)

    def _number(self, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index of each context [n] in `self.contexts`, and whether the context is one of them."""
        number = np.searchsorted(self.contexts, contexts)
        padded = np.append(self.contexts, BOUNDARY)
        return number, (padded[number] == contexts) & (contexts >= 0)


def _pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Combine two numbers below 2**31 into one int64 that sorts like the pair, and is negative if either number is."""
    return np.where((first < 0) | (second < 0), BOUNDARY, first << 32 | second)


def _masked_tokens(batch: MaskedBatch) -> np.ndarray:
    """The left neighbour, the masked token and the right neighbour, from the unmasked text; int64 [3, M]."""
    ids = batch.original_ids.astype(np.int64)
    left, right = np.roll(ids, 1), np.roll(ids, -1)
    left[batch.tokens.cu_seqlens[:-1]] = BOUNDARY
    right[batch.tokens.cu_seqlens[1:] - 1] = BOUNDARY
    return np.stack([left, ids, right])[:, batch.masked_positions]


def _chunks(documents: DocumentSet) -> Iterator[np.ndarray]:
    """Yield the tokens of several documents at a time, int64, with a boundary after each document."""
    boundary = np.array([BOUNDARY])
    pieces, size = [], 0
    for index in range(len(documents)):
        pieces += (documents.read(index), boundary)
        size += len(pieces[-2])
        if size >= CHUNK_TOKENS or index == len(documents) - 1:
            yield np.concatenate(pieces, dtype=np.int64)
            pieces, size = [], 0
