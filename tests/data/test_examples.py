"""The order of examples and the windows: bijections, coverage of an epoch, never across documents."""

import numpy as np
import pytest

from minibert.data import examples
from minibert.data.examples import Windows, in_epoch_order, permute
from tests.data.helpers import numbered_shards, random_lengths


@pytest.mark.parametrize("size", [*range(1, 40), 99, 100, 101, 4096, 10_007])
def test_permutation_is_a_bijection(size):
    for epoch in range(3):
        assert sorted(permute(np.arange(size), size, 1, epoch)) == list(range(size))


def test_permutation_differs_by_seed_epoch_and_stream_and_is_random_access():
    whole = permute(np.arange(5000), 5000, 1, 2, 3)
    for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)]:
        same = (whole == permute(np.arange(5000), 5000, *other)).sum()
        assert same < 10  # one is expected by chance
    examples._turns.cache_clear()
    assert permute(1234, 5000, 1, 2, 3) == whole[1234]
    assert np.array_equal(permute(np.array([4999, 0]), 5000, 1, 2, 3), whole[[4999, 0]])


def test_permutation_looks_random():
    """Every place is equally likely to come first; neighbours do not stay neighbours."""
    firsts = np.array([permute(np.arange(2), 100, seed, 0) for seed in range(1000)])  # [1000, 2]
    counts = np.bincount(firsts[:, 0], minlength=100)
    assert ((counts - 10) ** 2 / 10).sum() < 99 + 5 * np.sqrt(2 * 99)  # chi-squared
    order = permute(np.arange(10_000), 10_000, 1, 1)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(np.arange(10_000), order)[0, 1]) < 0.05
    assert (np.abs(np.diff(order)) == 1).sum() < 15  # two are expected by chance
    counts = np.bincount(np.diff(order) % 100, minlength=100)  # 100: the left digits of the Feistel rounds
    assert np.abs(counts - 100).max() < 6 * 10


@pytest.mark.parametrize("index, size", [(5, 5), (-1, 5), (0, 0)])
def test_indices_outside_are_refused(index, size):
    with pytest.raises(ValueError, match="outside"):
        permute(index, size, 0, 0)


def test_epochs_follow_each_other():
    index, epochs = in_epoch_order(np.arange(95, 205), 100, 7)
    assert epochs.tolist() == [0] * 5 + [1] * 100 + [2] * 5
    assert sorted(index[5:105]) == list(range(100))
    again, _ = in_epoch_order(np.arange(150, 160), 100, 7)
    assert np.array_equal(again, index[55:65])


def windows_of(lengths, length, tmp_path, seeds=range(3), epochs=range(4)):
    """(document of each token, [starts and stops of all windows of an epoch])"""
    shards, _ = numbered_shards(tmp_path / f"shards{length}{len(lengths)}", lengths)
    source = Windows(shards.all(), length)
    every = np.arange(source.size)
    results = []
    for seed in seeds:
        for epoch in epochs:
            [(starts, stops)], labels = source.parts(every, np.full_like(every, epoch), every, seed, 0, 0)
            assert labels is None
            results.append((starts, stops))
    document_of = np.repeat(np.arange(len(lengths)), [sum(document) for document in lengths])
    return document_of, results


@pytest.mark.parametrize("length", [4, 5, 9, 16, 128])
def test_windows_of_an_epoch_cover_each_token_once_and_stay_in_a_document(tmp_path, length):
    exact = [[length - 2], [2 * (length - 2)], [2 * (length - 2) - 1], [2 * length - 3], [1], [length - 1]]
    document_of, results = windows_of(random_lengths(30) + exact, length, tmp_path)
    for starts, stops in results:
        assert np.all(starts < stops) and np.all(stops - starts <= length - 2)
        assert np.array_equal(document_of[starts], document_of[stops - 1])
        order = np.argsort(starts)
        assert starts[order][0] == 0 and stops[order][-1] == len(document_of)
        assert np.array_equal(starts[order][1:], stops[order][:-1])


def test_the_tiling_is_another_in_each_epoch(tmp_path):
    _, results = windows_of([[1000], [1003], [998]], 16, tmp_path)
    tilings = {tuple(sorted(starts)) for starts, _ in results}
    assert len(tilings) > 8


def test_most_windows_are_full(tmp_path):
    _, [(starts, stops), *_] = windows_of([[5000], [7001]], 16, tmp_path)
    assert (stops - starts == 14).mean() > 0.99


def test_windows_too_short_for_a_token_are_refused(tmp_path):
    shards, _ = numbered_shards(tmp_path / "shards", [[5]])
    with pytest.raises(ValueError, match="too short"):
        Windows(shards.all(), 3)
