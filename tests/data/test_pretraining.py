"""Pre-training batches: functions of (seed, step), the same however they are computed, and what options do."""

import dataclasses

import numpy as np
import pytest

from minibert.data.batch import Batch
from minibert.data.examples import _turns
from minibert.data.masked_batch import MaskedBatch
from minibert.data.masking import Masking
from minibert.data.pretraining import (
    BatchOptions,
    LengthPhase,
    PretrainingData,
    evaluation_batches,
    parse_phases,
    phase_ends,
)
from tests.data.helpers import FIRST, ToyTokenizer, numbered_shards, random_lengths, within_bounds

PHASES = parse_phases("16:0.4 64:0.4 128:0.2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    lengths = random_lengths(60, most_sentences=80)
    shards, tokenizer = numbered_shards(tmp_path_factory.mktemp("corpus") / "shards", lengths, shard_tokens=5000)
    return shards, tokenizer


def options_of(batch_tokens, mask_rate=0.15, whole_word=False, **options) -> BatchOptions:
    return BatchOptions(batch_tokens, Masking(mask_rate, whole_word), **options)


def data_of(corpus, phases=PHASES, steps=100, seed=0, batch_tokens=1024, **options):
    shards, tokenizer = corpus
    return PretrainingData(shards.all(), tokenizer, phases, steps, seed, options_of(batch_tokens, **options))


def assert_same(one: MaskedBatch, other: MaskedBatch):
    for a, b, kind in ((one.tokens, other.tokens, Batch), (one, other, MaskedBatch)):
        for field in dataclasses.fields(kind)[kind is MaskedBatch :]:
            first, second = getattr(a, field.name), getattr(b, field.name)
            assert np.array_equal(first, second) and type(first) is type(second), field.name


def sequences_of(batch):
    return np.split(batch.original_ids, batch.tokens.cu_seqlens[1:-1])


def test_phases_by_shares_of_steps(corpus):
    assert PHASES == [LengthPhase(16, 0.4), LengthPhase(64, 0.4), LengthPhase(128, 0.2)]
    assert phase_ends(PHASES, 100) == [40, 80, 100]
    assert phase_ends(PHASES, 1) == [0, 1, 1]
    assert parse_phases("128") == [LengthPhase(128, 1.0)]
    assert parse_phases("8:0.25:0.4 16:0.75") == [LengthPhase(8, 0.25, 0.4), LengthPhase(16, 0.75, None)]
    data = data_of(corpus)
    assert [data.length_at(step) for step in (0, 39, 40, 79, 80, 99)] == [16, 16, 64, 64, 128, 128]
    assert [data.sequences_at(step) for step in (0, 40, 80)] == [64, 16, 8]


@pytest.mark.parametrize(
    "text, message",
    [
        ("16:0.5 64:0.4", "sum to 1, got '16:0.5 64:0.4'"),
        ("16:1.5 64:-0.5", "above 0"),
        ("", "sum to 1"),
        ("16:half 64:half", "'16:half' is not length:share"),
        ("16:0.5:0.2:1 64:0.5", "'16:0.5:0.2:1' is not length:share"),
        ("16:0.5:1.2 64:0.5", "mask_rate must be above 0 and at most 1, got 1.2 at length 16"),
        ("x", "'x' is not length:share"),
    ],
)
def test_bad_phases_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_phases(text)


def test_a_phase_may_have_a_mask_rate_of_its_own(corpus):
    data = data_of(corpus, parse_phases("16:0.5:0.4 64:0.5"), steps=100)
    for steps, rate in ((range(0, 50), 0.4), (range(50, 100), 0.15)):
        batches = [data.batch(step) for step in steps]
        candidates = sum(len(batch.tokens.token_ids) - 2 * len(batch.tokens.sequence_numbers) for batch in batches)
        candidates -= sum(len(batch.tokens.sequence_numbers) for batch in batches if batch.nsp_labels is not None)
        masked = sum(batch.mlm_count for batch in batches)
        assert abs(masked - rate * candidates) < 5 * (rate * (1 - rate) * candidates) ** 0.5


@pytest.mark.parametrize("step, length, pairs", [(0, 16, False), (40, 64, True), (99, 128, True)])
def test_what_a_batch_is_made_of(corpus, step, length, pairs):
    _, tokenizer = corpus
    batch = data_of(corpus).batch(step)
    assert len(batch.tokens.token_ids) <= 1024 and batch.tokens.lengths.max() <= length
    assert len(batch.tokens.sequence_numbers) == 1024 // length
    assert (batch.nsp_labels is not None) == pairs
    assert batch.nsp_count == (len(batch.tokens.sequence_numbers) if pairs else 0)
    assert batch.mlm_count == len(batch.masked_positions) > 0
    for i, sequence in enumerate(sequences_of(batch)):
        separators = np.flatnonzero(sequence == tokenizer.sep_id)
        assert sequence[0] == tokenizer.cls_id and separators[-1] == len(sequence) - 1
        assert len(separators) == 1 + pairs and (sequence < FIRST).sum() == 2 + pairs
        start, stop = batch.tokens.cu_seqlens[i : i + 2]
        assert np.array_equal(batch.tokens.position_ids[start:stop], np.arange(stop - start))
        in_b = np.arange(stop - start) > separators[0]
        assert np.array_equal(batch.tokens.segment_ids[start:stop], in_b)
        text = np.split(sequence, separators)  # [CLS] A, [SEP] B, [SEP]
        for part in text[:-1]:
            assert np.array_equal(np.diff(part[1:]), np.ones(len(part) - 2))  # a run of neighbouring tokens
        if pairs:
            follows = text[1][1] == text[0][-1] + 1
            assert batch.nsp_labels[i] == (0 if follows else 1)


def test_a_batch_depends_on_nothing_but_its_step(corpus):
    data = data_of(corpus)
    in_order = [data.batch(step) for step in range(0, 100, 9)]
    _turns.cache_clear()
    fresh = data_of(corpus)
    for i in reversed(range(len(in_order))):
        assert_same(fresh.batch(9 * i), in_order[i])
    other = data_of(corpus, seed=1)
    assert not np.array_equal(other.batch(0).tokens.token_ids, in_order[0].tokens.token_ids)


@pytest.mark.parametrize("step", [0, 50, 90])
@pytest.mark.parametrize("whole_word", [False, True])
def test_processes_that_share_a_batch_make_the_same_one(corpus, step, whole_word):
    data = data_of(corpus, whole_word=whole_word)
    whole = data.batch(step)
    sequences = data.sequences_at(step)
    assert_same(data.batch(step, 0, sequences), whole)
    for first, count in [(0, 3), (3, sequences - 3), (sequences - 1, 1)]:
        part = data.batch(step, first, count)
        assert_same(part, whole.take(first, first + count))
        assert (part.mlm_count, part.nsp_count) == (whole.mlm_count, whole.nsp_count)
    assert_same(data.batch(step, 5), whole.take(5, sequences))
    with pytest.raises(ValueError, match="cannot take"):
        data.batch(step, 0, 0)


@pytest.mark.parametrize("phase", [0, 1])
def test_the_first_epoch_of_a_phase_covers_the_corpus(corpus, phase):
    shards, _ = corpus
    data = data_of(corpus, parse_phases("16:0.501 32:0.499"), steps=1000)
    first, sequences = [(0, 64), (501, 32)][phase]
    steps = range(first, first + -(-data._sources[phase].size // sequences))
    seen = np.concatenate([sequence[1:-1] for step in steps for sequence in sequences_of(data.batch(step))])
    counts = np.bincount(seen - FIRST, minlength=shards.all().tokens)
    assert counts.min() >= 1  # the rest of the last batch belongs to the next epoch
    assert counts.sum() - len(counts) <= 1024


def test_the_same_text_is_masked_anew_in_each_epoch(corpus):
    shards, tokenizer = corpus
    data = data_of(corpus, parse_phases("16"), steps=100_000)
    size = data._sources[0].size
    masked = np.zeros(shards.all().tokens, int)
    steps = 10 * size // 64
    for step in range(steps):
        batch = data.batch(step)
        masked += np.bincount(batch.masked_labels - FIRST, minlength=len(masked))
    shares = np.bincount(masked, minlength=11)[:11] / len(masked)
    expected = 0.15 * 0.85**9 * 10  # once in ten epochs
    assert abs(shares[1] - expected) < 0.02 and abs(shares[0] - 0.85**10) < 0.02


def test_masks_and_labels_of_many_batches_are_as_in_the_paper(corpus):
    data = data_of(corpus, parse_phases("64:1"), steps=200)
    batches = [data.batch(step) for step in range(200)]
    ordinary = sum((batch.original_ids >= FIRST).sum() for batch in batches)
    masked = sum(batch.mlm_count for batch in batches)
    assert within_bounds(masked, ordinary, 0.15)
    labels = np.concatenate([batch.nsp_labels for batch in batches])
    assert within_bounds(labels.sum(), len(labels), 0.5)
    for batch in batches:
        assert np.all(batch.original_ids[batch.masked_positions] >= FIRST)


def test_mask_rate_and_nsp_from(corpus):
    data = data_of(corpus, mask_rate=0.5, nsp_from=16)
    batch = data.batch(0)
    assert batch.nsp_labels is not None and batch.mlm_count > 300
    assert data_of(corpus, nsp_from=1000).batch(99).nsp_labels is None


def test_random_positions(corpus):
    plain, shifted = data_of(corpus), data_of(corpus, random_positions=True)
    starts, full = [], []
    for step in range(40):
        one, other = plain.batch(step).tokens, shifted.batch(step).tokens
        assert np.array_equal(one.token_ids, other.token_ids)
        offsets = other.position_ids[other.cls_positions]
        assert np.array_equal(other.position_ids, one.position_ids + np.repeat(offsets, other.lengths))
        starts.append(offsets)
        full.append(offsets[other.lengths == 16])
        assert other.position_ids.max() <= 127
    starts = np.concatenate(starts)
    assert set(np.concatenate(full)) == set(range(113))
    counts = np.bincount(starts[starts <= 112], minlength=113)
    assert np.abs(counts - counts.mean()).max() < 6 * np.sqrt(counts.mean())
    assert_same(shifted.batch(90), plain.batch(90))  # the longest sequences begin at 0, as in use


def test_training_and_evaluation_share_no_decision(corpus):
    """Even with the same seed, step and examples."""
    shards, tokenizer = corpus
    data = data_of(corpus, parse_phases("64"), batch_tokens=640)
    [evaluation] = evaluation_batches(shards.all(), tokenizer, 64, sequences=10, batch_tokens=640)
    training = data.batch(0)
    assert not np.array_equal(training.original_ids[:20], evaluation.original_ids[:20])
    assert not np.array_equal(training.nsp_labels, evaluation.nsp_labels)


@pytest.mark.parametrize("pairs", [True, False])
def test_evaluation_is_fixed_and_one_global_batch(corpus, pairs):
    shards, tokenizer = corpus
    one = evaluation_batches(shards.all(), tokenizer, 64, sequences=200, batch_tokens=1000, pairs=pairs)
    other = evaluation_batches(shards.all(), tokenizer, 64, sequences=200, batch_tokens=5000, pairs=pairs)
    assert len(one) > len(other) > 1
    for name in ("token_ids", "position_ids", "sequence_numbers"):
        joined = [np.concatenate([getattr(batch.tokens, name) for batch in batches]) for batches in (one, other)]
        assert np.array_equal(*joined)
    labels = [np.concatenate([batch.masked_labels for batch in batches]) for batches in (one, other)]
    assert np.array_equal(*labels)
    assert {batch.mlm_count for batch in one} == {sum(len(batch.masked_labels) for batch in one)}
    assert {batch.nsp_count for batch in one} == {200 if pairs else 0}
    assert np.array_equal(np.concatenate([batch.tokens.sequence_numbers for batch in one]), np.arange(200))


def test_the_labels_of_the_evaluation_set_say_whether_b_follows_a(corpus):
    """In the numbered corpus, the tokens of a B that follows go on counting."""
    shards, tokenizer = corpus
    follows = []
    for batch in evaluation_batches(shards.all(), tokenizer, 64, sequences=100, batch_tokens=1000):
        for ids, label in zip(sequences_of(batch), batch.nsp_labels, strict=True):
            middle = ids.tolist().index(tokenizer.sep_id)
            follows.append(ids[middle + 1] == ids[middle - 1] + 1)
            assert label == (0 if follows[-1] else 1)
    assert 30 < sum(follows) < 70


def test_evaluation_takes_no_more_than_there_is(tmp_path):
    shards, tokenizer = numbered_shards(tmp_path / "shards", [[5, 5, 5], [5, 5]])
    batches = evaluation_batches(shards.all(), tokenizer, 16)
    assert sum(len(batch.tokens.sequence_numbers) for batch in batches) == 3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_tokens": 100}, "cannot hold a sequence of 128"),
        ({"batch_tokens": 1_000_000}, "corpus is too small: .* 62500 sequences of 16 tokens, but the corpus has"),
        ({"steps": 0}, "at least 1 step"),
        ({"mask_rate": 0}, "mask_rate"),
        ({"mask_rate": 1.5}, "mask_rate"),
        ({"phases": [LengthPhase(16, 0.5)]}, "sum to 1"),
        ({"phases": [LengthPhase(3, 1)]}, "too short"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_bad_options_are_refused(corpus, options, message):
    with pytest.raises(ValueError, match=message):
        data_of(corpus, **options)


def test_another_tokenizer_is_refused(corpus):
    shards, _ = corpus
    with pytest.raises(ValueError, match="a different vocabulary"):
        PretrainingData(shards.all(), ToyTokenizer(), PHASES, 100, 0, BatchOptions(1024))


@pytest.mark.parametrize("step", [-1, 100])
def test_steps_outside_are_refused(corpus, step):
    with pytest.raises(ValueError, match="numbered 0 to 99"):
        data_of(corpus).batch(step)


def test_one_held_out_document_gives_no_pairs(tmp_path):
    shards, tokenizer = numbered_shards(tmp_path / "shards", [[5, 5, 5]])
    with pytest.raises(ValueError, match="1 held-out documents: sentence pairs need"):
        evaluation_batches(shards.all(), tokenizer, 64)
    assert len(evaluation_batches(shards.all(), tokenizer, 64, pairs=False)) == 1
