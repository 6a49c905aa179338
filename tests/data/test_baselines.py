"""The baselines against counting in plain Python, and how fast they count."""

import time
from collections import Counter

import numpy as np
import pytest

from minibert.data import baselines as module
from minibert.data.baselines import baselines
from minibert.data.corpus import Document
from minibert.data.masked_batch import masked_from_padded
from minibert.data.pretraining import evaluation_batches
from minibert.data.shards import write_shards
from tests.data.helpers import FIRST, ToyTokenizer


def shards_of(folder, documents, size=60):
    texts = ["\n\n".join(" ".join(f"w{i}" for i in sentence) for sentence in document) for document in documents]
    documents = [Document(f"d{i}", f"g{i}", text) for i, text in enumerate(texts)]
    tokenizer = ToyTokenizer(size)
    return write_shards(documents, tokenizer, folder, processes=1), tokenizer


def random_documents(count, seed, size=60):
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, size - FIRST + 1)  # some tokens are frequent, some rare
    weights /= weights.sum()

    def sentence():
        tokens = generator.choice(np.arange(FIRST, size), generator.integers(1, 12), p=weights)
        for i in np.flatnonzero(generator.random(len(tokens)) < 0.5)[1:]:
            tokens[i] = FIRST + (7 * tokens[i - 1]) % (size - FIRST)  # the left neighbour tells something
        return tokens.tolist()

    return [[sentence() for _ in range(20)] for _ in range(count)]


def most_common(counter):
    return min(counter, key=lambda token: (-counter[token], token)) if counter else None


def by_hand(train, batches):
    single, after, between = Counter(), {}, {}
    for index in range(len(train)):
        tokens = train.read(index).tolist()
        single.update(tokens)
        for left, token in zip(tokens, tokens[1:], strict=False):
            after.setdefault(left, Counter())[token] += 1
        for left, token, right in zip(tokens, tokens[1:], tokens[2:], strict=False):
            between.setdefault((left, right), Counter())[token] += 1
    hits, total = [0, 0, 0], 0
    for batch in batches:
        ids = batch.original_ids.tolist()
        for position, label in zip(batch.masked_positions.tolist(), batch.masked_labels.tolist(), strict=True):
            left, right = ids[position - 1], ids[position + 1]
            frequent = most_common(single)
            follower = most_common(after.get(left, ())) if left in after else frequent
            middle = most_common(between[left, right]) if (left, right) in between else follower
            hits = [hit + (guess == label) for hit, guess in zip(hits, (frequent, follower, middle), strict=True)]
            total += 1
    return [hit / total for hit in hits]


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("chunk", [1, 500, 1 << 24])
def test_baselines_equal_counting_by_hand(tmp_path, pairs, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_TOKENS", chunk)
    train, tokenizer = shards_of(tmp_path / "train", random_documents(12, 1))
    held_out, _ = shards_of(tmp_path / "held_out", random_documents(6, 2))
    batches = evaluation_batches(held_out.all(), tokenizer, 32, pairs=pairs, batch_tokens=300)
    measured = baselines(train.all(), batches)
    assert list(measured) == ["most frequent", "left neighbour", "both neighbours"]
    assert list(measured.values()) == pytest.approx(by_hand(train.all(), batches), abs=1e-12)
    assert len(set(measured.values())) == 3


def test_neighbours_beyond_a_sequence_or_a_document_do_not_count(tmp_path):
    # w6 follows w5 across the two documents only; within a document, w7 does
    train, _ = shards_of(tmp_path / "train", [[[9, 5]], [[6, 8]], [[5, 7]], [[6, 6]]])
    held_out, tokenizer = shards_of(tmp_path / "held_out", [[[5, 7]], [[5, 6]]])
    batches = evaluation_batches(held_out.all(), tokenizer, 16, pairs=False, mask_rate=1.0)
    # masked: 5 and 7, 5 and 6.  Most frequent: 6.  After [CLS]: 6; after 5: 7.  Between [CLS] and 7 ...: as after [CLS]
    assert baselines(train.all(), batches) == {"most frequent": 0.25, "left neighbour": 0.25, "both neighbours": 0.25}


def test_the_token_before_a_sequence_is_no_neighbour(tmp_path):
    train, _ = shards_of(tmp_path / "train", [[[5, 7]], [[6, 6, 6]]])
    # two sequences, of the first tokens of which only the second is masked: the one before it ends in 5
    batch = masked_from_padded([[9, 5], [7, 9]], labels=[[-100, -100], [7, -100]])
    assert set(baselines(train.all(), [batch]).values()) == {0.0}  # 6, the most frequent, and not 7, which follows 5


def test_nothing_masked_is_refused(tmp_path):
    shards, tokenizer = shards_of(tmp_path / "train", [[[5, 6]], [[7, 8]]])
    batches = evaluation_batches(shards.all(), tokenizer, 16, pairs=False, mask_rate=0.0)
    with pytest.raises(ValueError, match="no masked token"):
        baselines(shards.all(), batches)


@pytest.mark.slow
def test_two_million_tokens_are_counted_in_seconds(tmp_path):
    generator = np.random.default_rng(0)
    ids = (FIRST + generator.zipf(1.2, 2_000_000) % 8000).tolist()
    documents = [[ids[start : start + 10_000]] for start in range(0, len(ids), 10_000)]
    shards, tokenizer = shards_of(tmp_path / "shards", documents, size=8192)
    train, held_out = shards.split()
    batches = evaluation_batches(held_out, tokenizer, 128, pairs=False)
    start = time.process_time()
    baselines(train, batches)
    assert time.process_time() - start < 5
