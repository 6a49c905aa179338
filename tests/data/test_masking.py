"""Masking: the shares, what is never touched, whole words, and independence of how a batch is split."""

import numpy as np
import pytest

from minibert.data.masking import Masking, MaskingIds, first_pieces, mask_tokens
from tests.data.helpers import ToyTokenizer, flat_batch, within_bounds

TOKENIZER = ToyTokenizer()
IDS = MaskingIds.of(TOKENIZER)


def masked(lengths, seed=1, step=2, **options):
    token_ids, cu_seqlens = flat_batch(lengths, TOKENIZER)
    stream, numbers = options.pop("stream", 0), np.arange(len(lengths))
    hidden, positions, labels = mask_tokens(
        token_ids, cu_seqlens, numbers, IDS, seed, step, masking=Masking(**options), stream=stream
    )
    return token_ids, hidden, positions, labels


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("mask_rate", [0.15, 0.4])
def test_shares_are_those_of_the_paper(whole_word, mask_rate):
    token_ids, hidden, positions, labels = masked([202] * 1000, whole_word=whole_word, rate=mask_rate)
    # the pieces of a word fall together, so a count varies more: twice the bounds are enough for words of 1.2
    assert within_bounds(len(positions), 200_000, mask_rate, 9 if whole_word else 4.5)
    became = hidden[positions]
    is_mask, is_same = became == TOKENIZER.mask_id, became == labels
    assert within_bounds(is_mask.sum(), len(positions), 0.8)
    # a random token is the original one by chance once in 995 times
    assert within_bounds(is_same.sum(), len(positions), 0.1 + 0.1 / 995)
    replaced = became[~is_mask & ~is_same]
    assert replaced.min() >= 5 and len(np.unique(replaced)) > 900


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.0, 0.2, 0.8), (0.8, 0.2, 0.0), (0.0, 0.0, 1.0)])
def test_other_shares(shares):
    """Rows of the BERT paper's table 8."""
    _, hidden, positions, labels = masked([202] * 500, masked_as=shares)
    became = hidden[positions]
    is_mask, is_same = became == TOKENIZER.mask_id, became == labels
    assert within_bounds(is_mask.sum(), len(positions), shares[0])
    assert within_bounds(is_same.sum(), len(positions), shares[1] + shares[2] / 995)
    assert within_bounds((~is_mask & ~is_same).sum(), len(positions), shares[2] * (1 - 1 / 995))


@pytest.mark.parametrize("shares", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.1, 0.0, -0.1), ()])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="masked_as must be three shares that sum to 1"):
        Masking(masked_as=shares)


def test_labels_are_the_originals_and_the_rest_is_unchanged():
    token_ids, hidden, positions, labels = masked([50, 3, 2, 128] * 20)
    assert np.array_equal(labels, token_ids[positions])
    untouched = np.setdiff1d(np.arange(len(token_ids)), positions)
    assert np.array_equal(hidden[untouched], token_ids[untouched])
    assert np.all(np.diff(positions) > 0)
    assert hidden.dtype == positions.dtype == labels.dtype == np.int32


def test_special_tokens_are_never_chosen_nor_put_in():
    generator = np.random.default_rng(0)
    token_ids = generator.integers(0, 12, 20_000).astype(np.int32)  # full of special tokens
    hidden, positions, labels = mask_tokens(
        token_ids, np.array([0, 20_000], np.int32), np.array([0]), IDS, 3, 4, masking=Masking(0.9)
    )
    assert labels.min() >= 5
    random_ones = hidden[positions][(hidden[positions] != TOKENIZER.mask_id) & (hidden[positions] != labels)]
    assert len(random_ones) > 100 and random_ones.min() >= 5


def test_extreme_rates():
    token_ids, hidden, positions, _ = masked([30] * 10, rate=0.0)
    assert len(positions) == 0 and np.array_equal(hidden, token_ids)
    _, _, positions, _ = masked([30] * 10, rate=1.0)
    assert len(positions) == 280  # all but [CLS] and [SEP]


def test_whole_words_are_chosen_together():
    token_ids, _, positions, _ = masked([128] * 200, whole_word=True)
    chosen = np.zeros(len(token_ids), bool)
    chosen[positions] = True
    first = first_pieces(token_ids, IDS)
    assert np.array_equal(chosen, chosen[first])
    assert (first != np.arange(len(token_ids))).sum() > 1000  # there were words of several pieces
    _, _, apart, _ = masked([128] * 200, whole_word=False)
    chosen[:] = False
    chosen[apart] = True
    assert not np.array_equal(chosen, chosen[first])


def test_words_begin_at_plain_pieces_and_after_special_tokens():
    plain, more = 8, 7
    token_ids = np.array([2, more, more, plain, more, plain, 3, more, 3, 2, more, plain, 3], np.int32)
    assert first_pieces(token_ids, IDS).tolist() == [0, 1, 1, 3, 3, 5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("whole_word", [False, True])
def test_a_split_batch_is_masked_alike(whole_word):
    lengths = [16, 7, 40, 2, 128, 9]
    token_ids, cu_seqlens = flat_batch(lengths, TOKENIZER)
    whole, _, _ = mask_tokens(token_ids, cu_seqlens, np.arange(6), IDS, 5, 6, masking=Masking(whole_word=whole_word))
    for first, last in [(0, 1), (1, 4), (4, 6), (2, 3)]:
        start, stop = cu_seqlens[first], cu_seqlens[last]
        part, _, _ = mask_tokens(
            token_ids[start:stop],
            cu_seqlens[first : last + 1] - start,
            np.arange(first, last),
            IDS,
            5,
            6,
            masking=Masking(whole_word=whole_word),
        )
        assert np.array_equal(part, whole[start:stop])


def test_masks_are_fresh_for_each_step_seed_sequence_and_stream():
    reference = masked([300])[2]
    assert not np.array_equal(reference, masked([300], step=3)[2])
    assert not np.array_equal(reference, masked([300], seed=2)[2])
    assert not np.array_equal(reference, masked([300], stream=1)[2])
    assert np.array_equal(reference, masked([300])[2])
    token_ids, cu_seqlens = flat_batch([300], TOKENIZER)
    other = mask_tokens(token_ids, cu_seqlens, np.array([1]), IDS, 1, 2)[1]
    assert not np.array_equal(reference, other)


def test_choices_of_neighbours_are_independent():
    token_ids, _, positions, _ = masked([100_002])
    chosen = np.zeros(len(token_ids), bool)
    chosen[positions] = True
    both = (chosen[1:-2] & chosen[2:-1]).sum()
    assert within_bounds(both, 99_999, 0.15**2)


def test_inputs_are_not_changed():
    token_ids, cu_seqlens = flat_batch([50, 60], TOKENIZER)
    before = token_ids.copy()
    mask_tokens(token_ids, cu_seqlens, np.arange(2), IDS, 0, 0)
    assert np.array_equal(token_ids, before)


def test_vocabulary_of_special_tokens_only_is_refused():
    with pytest.raises(ValueError, match="only special tokens"):
        MaskingIds.of(ToyTokenizer(size=5))
