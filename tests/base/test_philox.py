"""Philox4x32-10 against Random123's published vectors, and its helpers."""

import numpy as np
import pytest

from minibert.base import philox
from minibert.base.philox import happens, integer_below, philox4x32

# Random123, tests/kat_vectors, the lines "philox4x32 10": counter, key, result
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


def plain_philox(key, counter):
    """The same function for one counter, in plain Python integers."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        product0, product1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = product1 >> 32 ^ c1 ^ k0, product1 % 2**32
        c2, c3 = product0 >> 32 ^ c3 ^ k1, product0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


@pytest.mark.parametrize("counter, key, expected", KNOWN_ANSWERS)
def test_published_vectors(counter, key, expected):
    assert [int(word) for word in philox4x32(words(key), words(counter))] == words(expected)
    as_array = np.array(words(counter), np.uint32)
    assert [int(word) for word in philox4x32(words(key), as_array)] == words(expected)


def test_broadcast_counters_equal_single_calls():
    rows = np.arange(3, dtype=np.uint32)[:, None]
    columns = np.array([0, 7, 2**32 - 1, 5], np.uint32)
    result = philox4x32((11, 22), (rows, columns, 9, 2**31 + 1))
    assert all(word.shape == (3, 4) and word.dtype == np.uint32 for word in result)
    for i in range(3):
        for j in range(4):
            expected = plain_philox((11, 22), (i, int(columns[j]), 9, 2**31 + 1))
            assert tuple(int(word[i, j]) for word in result) == expected


def test_last_axis_counters_equal_separate_ones():
    counters = np.random.default_rng(0).integers(0, 2**32, (5, 4), dtype=np.uint32)
    together = philox4x32((1, 2), counters)
    apart = philox4x32((1, 2), tuple(counters.T))
    assert all(np.array_equal(a, b) for a, b in zip(together, apart, strict=True))


def test_block_size_does_not_matter(monkeypatch):
    counter = (np.arange(1000), np.arange(1000) % 7, 3, 4)
    whole = philox4x32((5, 6), counter)
    monkeypatch.setattr(philox, "_BLOCK", 64)
    blocked = philox4x32((5, 6), counter)
    assert all(np.array_equal(a, b) for a, b in zip(whole, blocked, strict=True))


def test_inputs_are_not_changed_and_empty_ones_work():
    position = np.arange(10, dtype=np.uint64)
    philox4x32((0, 0), (position, 0, 0, 0))
    assert np.array_equal(position, np.arange(10))
    assert philox4x32((0, 0), (np.zeros(0, np.uint32), 0, 0, 0))[0].shape == (0,)


def test_large_seeds_are_taken_modulo_two_to_the_32():
    assert philox4x32((2**32 + 3, 4), (1, 2, 3, 4)) == philox4x32((3, 2**40 + 4), (1, 2, 3, 4))
    assert philox4x32((3, 4), (1, 2, 3, 4)) != philox4x32((4, 3), (1, 2, 3, 4))


@pytest.mark.parametrize("key", [(-1, 0), (0, -1)])
def test_negative_key_is_refused(key):
    with pytest.raises(ValueError, match="0 or more"):
        philox4x32(key, (0, 0, 0, 0))


def test_wrong_counter_length_is_refused():
    with pytest.raises(ValueError, match="4 words, got 3"):
        philox4x32((0, 0), (0, 0, 0))


def test_sites_are_different_and_reserved_for_data():
    sites = [value for name, value in vars(philox).items() if name.startswith("SITE_")]
    assert len(set(sites)) == len(sites) and min(sites) >= 2**31 and max(sites) < 2**32


def test_happens_and_integer_below():
    draws = philox4x32((1, 2), (np.arange(100_000), 0, 0, 0))
    for probability in (0.0, 0.15, 0.5, 1.0):
        bound = 5 * np.sqrt(probability * (1 - probability) * 100_000)
        assert abs(happens(draws[0], probability).sum() - probability * 100_000) <= bound
    values = integer_below(draws[1], 10)
    assert values.min() == 0 and values.max() == 9
    assert np.abs(np.bincount(values) - 10_000).max() < 5 * np.sqrt(100_000 * 0.1 * 0.9)
    extremes = np.array([0, 2**32 - 1], np.uint32)
    assert integer_below(extremes, 7).tolist() == [0, 6]
    assert happens(extremes, 1.0).all() and not happens(extremes, 0.0).any()
