"""A set of documents within token shards: the documents to train on, or the held-out documents."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from minibert.data.shards import Shards


class DocumentSet:
    """Some documents of the shards, in ascending order of their numbers.

    Only a few numbers per *document* are kept in memory; sentences and tokens are read from disk when needed.
    """

    def __init__(self, shards: "Shards", numbers: Sequence[int] | np.ndarray) -> None:
        self.shards = shards
        self.numbers = np.asarray(numbers, np.int64)
        starts = shards.document_starts
        self.first_sentences = starts[self.numbers]
        """int64 [documents] the number of each document's first sentence, among all sentences of the shards."""
        self.sentence_counts = starts[self.numbers + 1] - self.first_sentences
        """int64 [documents] the number of sentences in each document."""
        self.first_tokens = shards.sentence_starts[self.first_sentences]
        """int64 [documents] the address of each document's first token, its index among all tokens of the shards."""
        self.token_counts = shards.sentence_starts[self.first_sentences + self.sentence_counts] - self.first_tokens
        """int64 [documents] the number of tokens in each document."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __repr__(self) -> str:
        return f"<DocumentSet of {len(self):,} documents, {self.tokens:,} tokens>"

    @property
    def tokens(self) -> int:
        """The number of tokens in all documents."""
        return int(self.token_counts.sum())

    @property
    def sentences(self) -> int:
        """The number of sentences in all documents."""
        return int(self.sentence_counts.sum())

    def read(self, index: int) -> np.ndarray:
        """The token ids of the document at `index` in the set, as a view, not a copy."""
        start = self.first_tokens[index]
        return self.shards.read(start, start + self.token_counts[index])

    def records(self) -> Iterator[dict]:
        """The name, group and metadata of each document."""
        wanted = set(self.numbers.tolist())
        return (record for number, record in enumerate(self.shards.records()) if number in wanted)

    @cached_property
    def groups(self) -> list[str]:
        """The groups that the documents belong to, sorted; for the default corpus these are the years."""
        return sorted({record["group"] for record in self.records()})
