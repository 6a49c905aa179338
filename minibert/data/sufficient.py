"""Check that a corpus is large enough for a training run while it is read for the first time.

Whether the documents are enough is known for certain only once they are tokens, which needs a vocabulary.  Learning it
may take long, so this check comes first: it counts sentences as they are, and each character as a token, of which there
are never more.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minibert.data.document import Document
from minibert.data.examples import windows_in
from minibert.data.held_out import split_documents, stable_hash
from minibert.data.pairs import check_documents_for_pairs
from minibert.data.pretraining import check_size
from minibert.text.sentences import split_sentences

PLENTY = 100  # sentences are counted until they suffice for this many batches


class Need(NamedTuple):
    """What a phase of the training needs: sequences of `length` tokens, in pairs or not."""

    length: int
    pairs: bool


class Sufficient:
    """Passes the documents of a corpus on, and raises ValueError after the last one if a run would find too few."""

    def __init__(self, needs: Sequence[Need], batch_tokens: int, held_out: float, tune: bool) -> None:
        """batch_tokens: the size of a batch; held_out, tune: how documents are held out; see split_documents."""
        self.needs, self.batch_tokens, self.held_out, self.tune = needs, batch_tokens, held_out, tune
        in_pairs = [batch_tokens // need.length for need in needs if need.pairs]
        self.plenty = PLENTY * max(in_pairs, default=0)
        self.groups, self.names = array("Q"), array("Q")  # hashes, one for each document, as in shards.py
        self.characters, self.pairs = array("q"), array("q")  # numbers, one for each document

    def passed(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents unchanged, then check them."""
        total = 0
        for document in documents:
            self.groups.append(stable_hash(document.group))
            self.names.append(stable_hash(document.name))
            self.characters.append(len(document.text))
            # a document of one sentence is cut, so it has at least one pair
            count = len(split_sentences(document.text, document.ends)) - 1 if total < self.plenty else 1
            pieces = len(document.text) > 1 and not document.text.isspace()
            self.pairs.append(max(count, pieces))
            total += self.pairs[-1]
            yield document
        self.check()

    def check(self) -> None:
        """Raise ValueError if the documents so far cannot be enough."""
        hashes = np.stack([np.array(self.groups, np.uint64), np.array(self.names, np.uint64)], axis=1)
        characters, pairs = np.array(self.characters, np.int64), np.array(self.pairs, np.int64)
        train, held_out = split_documents(hashes, characters, self.held_out, self.tune)
        for need in self.needs:
            if need.pairs:
                check_documents_for_pairs(int(np.count_nonzero(pairs[train])))
                examples = int(pairs[train].sum())
            else:
                examples = int(windows_in(characters[train], need.length).sum())
            check_size(examples, self.batch_tokens, need.length)
        if self.needs[-1].pairs:
            try:
                check_documents_for_pairs(int(np.count_nonzero(pairs[held_out])))
            except ValueError as error:
                raise ValueError(f"cannot evaluate on the {len(held_out)} held-out documents: {error}") from None
