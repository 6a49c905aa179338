"""A stand-in for the tokenizer, and corpora in which each token says where it comes from."""

import re

import numpy as np

from minibert.data.corpus import Document
from minibert.data.shards import write_shards

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
FIRST = 5  # the id of the first ordinary token


class ToyTokenizer:
    """The word w12 is token 12; every seventh piece of the vocabulary continues a word."""

    pad_id, unk_id, cls_id, sep_id, mask_id = range(5)
    special_ids = [0, 1, 2, 3, 4]
    lowercase = True

    def __init__(self, size=1000, every=7):
        self.vocabulary = SPECIAL + [f"##w{i}" if i % every == 0 else f"w{i}" for i in range(FIRST, size)]
        self.continuation = np.array([piece.startswith("##") for piece in self.vocabulary])

    def __len__(self):
        return len(self.vocabulary)

    def tokenize_ids(self, text):
        return [int(number) for number in re.findall(r"w(\d+)", text)]


def flat_batch(lengths, tokenizer, seed=0):
    """token_ids and cu_seqlens of random sequences [CLS] ... [SEP] of the given lengths."""
    generator = np.random.default_rng(seed)
    rows = [
        np.r_[tokenizer.cls_id, generator.integers(FIRST, len(tokenizer), length - 2), tokenizer.sep_id]
        for length in lengths
    ]
    return np.concatenate(rows).astype(np.int32), np.cumsum([0, *lengths]).astype(np.int32)


def numbered_documents(sentence_lengths):
    """A document for each list of sentence lengths; the token at address i of the whole corpus is w(5 + i)."""
    token = FIRST
    for number, lengths in enumerate(sentence_lengths):
        sentences = []
        for length in lengths:
            sentences.append(" ".join(f"w{i}" for i in range(token, token + length)))
            token += length
        yield Document(f"document {number}", f"group {number // 2}", "\n\n".join(sentences), {"number": number})


def random_lengths(documents, seed=0, most_sentences=30, longest=25):
    """Sentence lengths of some documents, at random."""
    generator = np.random.default_rng(seed)
    return [
        generator.integers(1, longest + 1, generator.integers(1, most_sentences + 1)).tolist() for _ in range(documents)
    ]


def numbered_shards(folder, sentence_lengths, **options):
    """(shards, tokenizer) of such a corpus; `token id - 5` is the token's address."""
    size = FIRST + sum(map(sum, sentence_lengths))
    tokenizer = ToyTokenizer(max(size, 6))
    return write_shards(numbered_documents(sentence_lengths), tokenizer, folder, processes=1, **options), tokenizer


def within_bounds(count, trials, probability, deviations=4.5):
    """Whether a count of successes is that of `trials` coins: exceeded by chance once in 150,000 times."""
    return abs(count - trials * probability) <= deviations * np.sqrt(trials * probability * (1 - probability))
