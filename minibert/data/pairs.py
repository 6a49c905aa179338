"""Sentence pairs for next-sentence prediction: [CLS] A [SEP] B [SEP], where B follows A half of the time.

Sources: Devlin et al. 2019, section 3.1 and appendix A.2; the authors' create_pretraining_data.py.  As in both:

- A and B are spans of text: consecutive sentences, gathered until they fill the sequence, and divided into A and B
  between two sentences at random;
- in one example in ten a shorter length is drawn, since downstream tasks have short inputs too;
- in half of the examples, B is replaced by text from *another* document.

A model exploits every cue.  If a random B were longer, or more often ended with a full stop, or were
more often the first sentence of a document, the label could be guessed without reading A.  Everything except the text
of B is therefore settled *before* the coin is tossed: the true B and a random candidate are both laid out, both begin
with a sentence that is not its document's first, both get the same number of tokens, and both end inside a sentence.

There are two more differences from the release.  The release shortens a pair that is too long at random ends of the
longer part, which often removes the words where A and B meet; here A loses its beginning and B its end, so that the
end of one sentence and the beginning of the next really are adjacent.  The release also makes every example
whose text has just one sentence a random one, so that fewer than half are true pairs; here each example starts at a
sentence that is followed by another.
"""

from collections.abc import Sequence

import numpy as np

from minibert.base.philox import SITE_PAIR, happens, integer_below, philox4x32
from minibert.data.documents import DocumentSet

SHORT_SHARE = 0.1  # share of the examples that get a random shorter length
RANDOM_SHARE = 0.5  # share of the examples that get a random B
CANDIDATES = 4  # number of starting points tried for a random B, until one has enough text after it

FOLLOWS, RANDOM = 0, 1  # the labels, as in transformers


class Pairs:
    """Examples of sentence pairs, one for each sentence that is followed by another in its document.

    A begins at that sentence.  An epoch is one pass over all such sentences.  As an example spans several
    sentences, each token is seen several times in an epoch, in a different context each time.
    """

    SHORTEST = 5  # tokens

    def __init__(self, documents: DocumentSet, length: int) -> None:
        if length < self.SHORTEST:
            raise ValueError(
                f"pairs of {length} tokens are too short; expected at least 5: [CLS], A, [SEP], B and [SEP]"
            )
        self.documents = documents
        self.budget = length - 3  # number of tokens of A and B together
        counts = documents.sentence_counts - 1
        check_documents_for_pairs(int(np.count_nonzero(counts)))
        self.ends = np.cumsum(counts)  # [documents], number of beginnings up to and including each document
        self.size = int(self.ends[-1]) if len(self.ends) else 0

    def parts(
        self, index: np.ndarray, epochs: np.ndarray, sequence_numbers: np.ndarray, seed: int, step: int, stream: int
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
        """The token addresses of A and B in the examples `index` [B], and the labels.

        All decisions are functions of (seed, step, sequence number), so each epoch makes new ones.
        Returns [(starts, stops) of A, of B], addresses int64 [B], and labels int32 [B], 0 true and 1 random.
        """
        document, sentence = self._locate(index)  # [B], [B]
        starts = self.documents.shards.sentence_starts
        last = self._document_end(document)  # [B]
        short, short_budget, seam, tail, label, *candidates = _draws(sequence_numbers, seed, step, stream)

        # the budget: the whole length, or a random part of it
        budget = np.where(happens(short, SHORT_SHARE), 2 + integer_below(short_budget, self.budget - 1), self.budget)

        # A ends after one of the sentences that are needed to fill the budget, but not after the last of these
        end = np.searchsorted(starts, starts[sentence] + budget)
        end = np.clip(end, sentence + 2, last)  # at least two sentences, all from this document
        middle = sentence + 1 + integer_below(seam, end - sentence - 1)
        a_stop = b_start = starts[middle]
        a_length = a_stop - starts[sentence]

        # B is the text that follows: the rest of the budget, but at least a quarter of the budget;
        # where the document ends before that, B ends inside the last sentence, too
        longest = np.maximum(budget - a_length, np.maximum(budget // 4, 1))
        available = starts[last] - b_start
        cut = integer_below(tail, starts[last] - starts[last - 1])
        b_length = np.where(available >= longest, longest, available - cut)

        # lay out a random B, and give the true B and the random B the same length
        random_start, available = self._random_start(document, b_length, candidates)
        b_length = np.minimum(b_length, available)
        a_length = np.minimum(a_length, budget - b_length)

        is_random = happens(label, RANDOM_SHARE)
        b_start = np.where(is_random, random_start, b_start)
        labels = np.where(is_random, RANDOM, FOLLOWS).astype(np.int32)
        return [(a_stop - a_length, a_stop), (b_start, b_start + b_length)], labels

    def _locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The document (within the set) and the sentence (within the shards) at which each example `index` begins."""
        document = np.searchsorted(self.ends, index, side="right")
        documents = self.documents
        before = self.ends[document] - (documents.sentence_counts[document] - 1)
        return document, documents.first_sentences[document] + index - before

    def _document_end(self, document: np.ndarray) -> np.ndarray:
        """The number of the sentence after the document's last sentence."""
        return self.documents.first_sentences[document] + self.documents.sentence_counts[document]

    def _random_start(
        self, document: np.ndarray, wanted: np.ndarray, draws: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The start of a sentence in another document, and the number of tokens from there to that document's end.

        All sentences but the first of each document are equally likely.  The first candidate
        with the wanted number of tokens after it is taken; if there is none, the candidate with the most tokens.
        """
        starts = self.documents.shards.sentence_starts
        own = self.documents.sentence_counts[document] - 1  # [B]
        first_own = self.ends[document] - own
        index = integer_below(np.stack(draws), self.size - own)  # [candidates, B], A's own document left out
        index = np.where(index < first_own, index, index + own)
        other, sentence = self._locate(index)
        start = starts[sentence + 1]
        available = starts[self._document_end(other)] - start
        enough = np.minimum(available, wanted)
        best = np.argmax(enough, axis=0)[None]  # the first of the largest candidates
        return np.take_along_axis(start, best, 0)[0], np.take_along_axis(available, best, 0)[0]


def check_documents_for_pairs(count: int) -> None:
    """Raise ValueError if fewer than two documents take part in sentence pairs."""
    if count < 2:
        raise ValueError(
            "sentence pairs need at least two documents of two or more sentences (a random B comes from another "
            f"document), found {count}; in a text file, separate documents with blank lines"
        )


def _draws(sequence_numbers: np.ndarray, seed: int, step: int, stream: int) -> list[np.ndarray]:
    """Random words for each sequence, as a list of uint32 [B]: 5 for the decisions, then those for the candidates."""
    calls = np.arange(-(-(5 + CANDIDATES) // 4))[:, None]  # four words each
    words = philox4x32((seed, step), (calls, sequence_numbers, stream, SITE_PAIR))
    return [word for call in zip(*words, strict=True) for word in call][: 5 + CANDIDATES]
