"""Numbered examples: which tokens make up each sequence, and the order of the sequences.

Nothing is shuffled or planned ahead.  A source has a fixed number S of examples; example number n of a training phase
belongs to epoch n // S, and a permutation of that epoch says which of the S examples it is.  Any step can therefore
be computed directly, and a resumed run needs to know only its step.
"""

from functools import lru_cache
from math import isqrt

import numpy as np

from minibert.base.philox import SITE_ORDER, SITE_WINDOW, integer_below, philox4x32
from minibert.data.documents import DocumentSet

FEISTEL_ROUNDS = 4


def permute(index: np.ndarray, size: int, seed: int, epoch: int, stream: int = 0) -> np.ndarray:
    """The image of each index in 0 .. size - 1 under this epoch's permutation, as int64 of the shape of `index`.

    The bijection of 0 .. size - 1 is computed entry by entry.  The index is written as two digits (left, right), with
    a = ceil(sqrt(size)) values on the left and b = ceil(size / a) on the right, and in each round one digit is
    rotated by a random amount that depends on the other:

        left = (left + F(right)) mod a        right = (right + F(left)) mod b        ...

    Each round is invertible, so all rounds together form a bijection of the a * b pairs, of which at most a - 1
    lie outside 0 .. size - 1.  An index that is mapped outside is permuted again until it is inside ("cycle
    walking"): the pairs form cycles, and the walk stays on one cycle, so this too is a bijection.
    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 5 (generalised Feistel).
    """
    index = np.asarray(index, np.int64)
    if size < 1 or index.size and not (0 <= index.min() and index.max() < size):
        raise ValueError(f"cannot permute an index outside 0 to {size - 1}")
    a = isqrt(size - 1) + 1
    b = -(-size // a)
    turns = _turns(a, b, seed, epoch, stream)
    outside = np.ones(index.shape, bool)
    while outside.any():
        left, right = index % a, index // a
        for r in range(0, FEISTEL_ROUNDS, 2):
            left = (left + turns[r][right]) % a
            right = (right + turns[r + 1][left]) % b
        index = np.where(outside, left + a * right, index)
        outside = index >= size
    return index


def in_epoch_order(examples: np.ndarray, size: int, seed: int, stream: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Map examples [B], numbered from the phase's start, to (index in the source, epoch), int64 [B] each."""
    epochs, index = np.divmod(examples, size)
    for epoch in np.unique(epochs):
        of_epoch = epochs == epoch
        index[of_epoch] = permute(index[of_epoch], size, seed, int(epoch), stream)
    return index, epochs


@lru_cache(maxsize=16)
def _turns(a: int, b: int, seed: int, epoch: int, stream: int) -> list[np.ndarray]:
    """The table of F for each round (F(right) < a, F(left) < b): about sqrt(size) entries, cached for the epoch."""
    return [
        integer_below(philox4x32((seed, epoch), (np.arange(digits), r, stream, SITE_ORDER))[0], limit)
        for r in range(FEISTEL_ROUNDS)
        for digits, limit in [((b, a), (a, b))[r % 2]]
    ]


def windows_in(token_counts: np.ndarray, length: int) -> np.ndarray:
    """The number of windows of `length` tokens, [CLS] and [SEP] included, in documents of so many tokens, int64."""
    width = length - 2
    return np.where(token_counts <= width, 1, token_counts // width + 1)


class Windows:
    """Sequences without sentence pairs: [CLS], up to length - 2 tokens of one document, [SEP].

    In an epoch the windows tile every document: each token is in exactly one window.  The tiling starts at
    a different place in every epoch, so that a token is not always seen with the same neighbours: a document of n
    tokens gets floor(n / w) + 1 windows of w = length - 2, which is more than enough, and the spare positions are
    divided at random between the first and the last window.  A document of up to w tokens is one window.
    """

    SHORTEST = 4  # tokens

    def __init__(self, documents: DocumentSet, length: int) -> None:
        if length < self.SHORTEST:
            raise ValueError(
                f"sequences of {length} tokens are too short; expected at least 4: [CLS], two tokens and [SEP]"
            )
        self.documents = documents
        self.width = length - 2
        counts = windows_in(documents.token_counts, length)
        self.ends = np.cumsum(counts)  # [documents], number of windows up to and including each document
        self.size = int(self.ends[-1]) if len(self.ends) else 0

    def parts(
        self, index: np.ndarray, epochs: np.ndarray, sequence_numbers: np.ndarray, seed: int, step: int, stream: int
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], None]:
        """The token addresses of the windows `index` [B] in their epochs: [(starts, stops)] int64 [B], and no labels.

        The tiling is a function of (seed, epoch, document); sequence numbers and step do not matter.
        """
        width = self.width
        document = np.searchsorted(self.ends, index, side="right")  # [B]
        tokens = self.documents.token_counts[document]  # [B]
        counts = np.where(tokens <= width, 1, tokens // width + 1)
        window = index - (self.ends[document] - counts)  # [B], within the document

        # the first window begins `shift` tokens before the document; the last one must not be empty
        draws, *_ = philox4x32((seed, 0), (document, epochs, stream, SITE_WINDOW))
        spare = counts * width - tokens
        least = np.where(spare == width, 1, 0)
        most = np.minimum(spare, width - 1)
        shift = np.where(counts == 1, 0, least + integer_below(draws, most - least + 1))
        start = np.maximum(window * width - shift, 0)
        stop = np.minimum((window + 1) * width - shift, tokens)
        first = self.documents.first_tokens[document]
        return [(first + start, first + stop)], None
