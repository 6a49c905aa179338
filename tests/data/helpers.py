"""A small stand-in for the tokenizer and hand-made batches, shared by the tests of minibert.data."""

import re

import numpy as np

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


class ToyTokenizer:
    """Words are ids by their own number: "w12" is token 12; "##" pieces are the multiples of `every`."""

    pad_id, unk_id, cls_id, sep_id, mask_id = range(5)
    special_ids = [0, 1, 2, 3, 4]
    lowercase = True

    def __init__(self, size=1000, every=7):
        self.vocabulary = SPECIAL + [f"##w{i}" if i % every == 0 else f"w{i}" for i in range(5, size)]
        self.continuation = np.array([piece.startswith("##") for piece in self.vocabulary])

    def __len__(self):
        return len(self.vocabulary)

    def tokenize_ids(self, text):
        return [int(number) for number in re.findall(r"w(\d+)", text)]


def sentence(ids):
    """One sentence of the given token numbers."""
    return " ".join(f"w{i}" for i in ids) + "."


def flat_batch(lengths, tokenizer, seed=0):
    """token_ids and cu_seqlens of random sequences [CLS] ... [SEP] of the given lengths."""
    generator = np.random.default_rng(seed)
    rows = [
        np.r_[tokenizer.cls_id, generator.integers(5, len(tokenizer), length - 2), tokenizer.sep_id]
        for length in lengths
    ]
    return np.concatenate(rows).astype(np.int32), np.cumsum([0, *lengths]).astype(np.int32)
