"""Sentence pairs: what the paper says of them, and that nothing but the text of B betrays the label."""

import numpy as np
import pytest

from minibert.data.pairs import Pairs
from tests.data.helpers import numbered_shards, random_lengths, within_bounds

LENGTHS = random_lengths(60, seed=3) + [[12], [4, 3], [200, 1], [1, 200], [1] * 50, [70, 80, 90, 100]]


class Drawn:
    """Several epochs of pairs, and where their tokens come from."""

    def __init__(self, tmp_path, length, lengths=LENGTHS, epochs=8):
        shards, _ = numbered_shards(tmp_path / "shards", lengths)
        self.source = Pairs(shards.all(), length)
        every = np.arange(self.source.size)
        parts, labels = [], []
        for epoch in range(epochs):
            (a, b), label = self.source.parts(every, every * 0 + epoch, every, 5, epoch, 0)
            parts.append([*a, *b])
            labels.append(label)
        self.a_start, self.a_stop, self.b_start, self.b_stop = np.concatenate(parts, axis=1)
        self.random = np.concatenate(labels) == 1
        self.a, self.b = self.a_stop - self.a_start, self.b_stop - self.b_start
        self.budget = length - 3
        self.document_of = np.repeat(np.arange(len(lengths)), [sum(document) for document in lengths])
        self.sentence_starts = shards.sentence_starts
        self.first_starts = shards.sentence_starts[shards.document_starts[:-1]]


@pytest.fixture(scope="module", params=[16, 64, 128])
def drawn(request, tmp_path_factory):
    return Drawn(tmp_path_factory.mktemp("pairs"), request.param)


def test_there_is_one_example_for_each_sentence_with_a_follower(drawn):
    assert drawn.source.size == sum(len(document) - 1 for document in LENGTHS)


def test_a_and_b_fit_and_are_not_empty(drawn):
    assert drawn.a.min() >= 1 and drawn.b.min() >= 1
    assert (drawn.a + drawn.b).max() == drawn.budget


def test_half_of_the_pairs_are_random(drawn):
    assert within_bounds(drawn.random.sum(), len(drawn.random), 0.5)


def test_a_and_b_lie_within_one_document_each(drawn):
    document_of = drawn.document_of
    assert np.array_equal(document_of[drawn.a_start], document_of[drawn.a_stop - 1])
    assert np.array_equal(document_of[drawn.b_start], document_of[drawn.b_stop - 1])


def test_a_true_b_follows_and_a_random_one_is_from_another_document(drawn):
    assert np.array_equal(drawn.b_start[~drawn.random], drawn.a_stop[~drawn.random])
    document_of = drawn.document_of
    assert np.all((document_of[drawn.b_start] == document_of[drawn.a_start]) == ~drawn.random)


def test_the_seam_lies_between_sentences(drawn):
    assert np.isin(drawn.a_stop, drawn.sentence_starts).all()
    assert np.isin(drawn.b_start, drawn.sentence_starts).all()
    assert not np.isin(drawn.b_start, drawn.first_starts).any()


def test_every_follower_can_be_a_random_b(drawn):
    """Every sentence but the first of each document, where enough text follows it."""
    starts = set(drawn.b_start[drawn.random].tolist())
    long_documents = [i for i, document in enumerate(LENGTHS) if len(document) > 20]
    candidates = [s for s in drawn.sentence_starts[:-1] if drawn.document_of[s] in long_documents]
    assert np.mean([s in starts for s in candidates]) > 0.6


LONG = random_lengths(30, seed=4, most_sentences=200)


def test_most_sequences_are_full_and_one_in_ten_is_short(tmp_path):
    drawn = Drawn(tmp_path, 128, LONG)
    document_ends = np.cumsum([sum(document) for document in LONG])
    left = document_ends[drawn.document_of[drawn.a_stop - 1]] - drawn.a_stop
    total = (drawn.a + drawn.b)[left >= 125]  # where the document does not end too soon
    # of the short ones, one in 124 draws the full length after all
    assert within_bounds((total < 125).sum(), len(total), 0.1 * 123 / 124)
    short = total[total < 125]
    assert short.min() <= 4 and abs(np.mean(short) - 63) < 6


def describe(drawn):
    """What can be seen of a pair without reading it."""
    ends_sentence = np.isin(drawn.b_stop, drawn.sentence_starts)
    begins_sentence = np.isin(drawn.a_start, drawn.sentence_starts)
    return {"a": drawn.a, "b": drawn.b, "sum": drawn.a + drawn.b, "ends": ends_sentence, "begins": begins_sentence}


@pytest.mark.parametrize("length", [16, 128])
def test_lengths_and_ends_do_not_tell_the_label(tmp_path, length):
    drawn = Drawn(tmp_path, length, LONG)
    for name, value in describe(drawn).items():
        true, random = value[~drawn.random].astype(float), value[drawn.random].astype(float)
        error = np.sqrt(true.var() / len(true) + random.var() / len(random))
        # B's end: a true one ends where the budget does, a random one likewise, but in other sentences
        assert abs(true.mean() - random.mean()) < (0.02 if name == "ends" else 4.5 * error + 1e-9), name


def test_lengths_are_settled_before_the_coin_is_tossed(tmp_path, monkeypatch):
    from minibert.data import pairs

    monkeypatch.setattr(pairs, "RANDOM_SHARE", 0.0)
    true = Drawn(tmp_path / "true", 64)
    monkeypatch.setattr(pairs, "RANDOM_SHARE", 1.0)
    random = Drawn(tmp_path / "random", 64)
    assert not true.random.any() and random.random.all()
    assert np.array_equal(true.a_start, random.a_start) and np.array_equal(true.a_stop, random.a_stop)
    assert np.array_equal(true.b, random.b)


def test_decisions_depend_on_seed_step_and_sequence_only(tmp_path):
    shards, _ = numbered_shards(tmp_path / "shards", LENGTHS)
    source = Pairs(shards.all(), 64)
    index, numbers, zeros = np.arange(100), np.arange(100), np.zeros(100, int)

    def parts(index=index, numbers=numbers, seed=1, step=2, stream=0):
        (a, b), labels = source.parts(index, zeros[: len(index)], numbers, seed, step, stream)
        return np.stack([*a, *b, labels])

    reference = parts()
    assert np.array_equal(parts(index[30:40], numbers[30:40]), reference[:, 30:40])
    for other in [{"seed": 2}, {"step": 3}, {"stream": 1}, {"numbers": numbers + 100}]:
        assert not np.array_equal(parts(**other), reference)


def test_corpora_without_another_document_are_refused(tmp_path):
    for number, lengths in enumerate([[[5, 5, 5]], [[5, 5, 5], [7]]]):
        shards, _ = numbered_shards(tmp_path / f"shards{number}", lengths)
        with pytest.raises(ValueError, match="at least two documents.*found 1"):
            Pairs(shards.all(), 64)


def test_pairs_too_short_for_tokens_are_refused(tmp_path):
    shards, _ = numbered_shards(tmp_path / "shards", [[5, 5], [5, 5]])
    with pytest.raises(ValueError, match="too short"):
        Pairs(shards.all(), 4)
    (a, b), _ = Pairs(shards.all(), 5).parts(np.arange(2), np.zeros(2, int), np.arange(2), 0, 0, 0)
    assert [(y - x).tolist() for x, y in (a, b)] == [[1, 1], [1, 1]]
