"""Five small tasks made from the default corpus, the State of the Union addresses; they need no download.

Their labels are derived from the text and its metadata, so nothing was annotated by hand:

    sotu-era          sentence   in which of four periods was this passage spoken?
    sotu-party        sentence   was the speaker a Democrat or a Republican?
    sotu-order        pair       are these two sentences in their original order, or were they swapped?
    sotu-punctuation  tokens     which mark followed each word?  (the context on both sides matters)
    sotu-inserted     span       which sentence of this passage comes from another address?

No dev data leaks into training.  Models are evaluated on the addresses that pre-training held out (by year), which a
model from `minibert pretrain` has never seen, with or without labels.  For sotu-party, presidents in the dev part are
excluded from the training part: otherwise, a model could learn to recognise the speaker instead of the party.
Random choices depend only on the address, so the examples are the same on every machine.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minibert.data.corpus import DEFAULT_CORPUS, Document, read_corpus
from minibert.data.held_out import HELD_OUT_SHARE, held_out_documents, stable_hash
from minibert.tasks.examples import Answer, SentenceExample, SpanExample, WordsExample
from minibert.text.sentences import split_sentences

TRAIN_EXAMPLES, DEV_EXAMPLES = 12_000, 1_500  # the maximum numbers of examples, chosen evenly across the addresses

ERAS = {"1790-1860": 1860, "1861-1913": 1913, "1914-1945": 1945, "1946-today": 9999}  # name -> its last year
PASSAGE_WORDS = 50  # minimum words per passage in sotu-era and sotu-party; passages consist of whole sentences
LONGEST_PASSAGE = 90

PARTIES = ("Democratic", "Republican")
FIRST_YEAR_OF_BOTH = 1861  # the first Republican president took office

IN_ORDER, SWAPPED = "in order", "swapped"
PAIR_WORDS = 5, 50  # minimum and maximum number of words per sentence in a pair

NO_MARK = "O"
MARKS = {",": ",", ".": ".", "!": ".", "?": "?", ";": ";", ":": ":"}  # a mark -> its label
AROUND_WORDS = "".join(MARKS) + "\"'“”‘’`()[]<>*_-—–…/&"  # characters that are stripped from the ends of a word
WINDOW_WORDS = 64  # words per example in sotu-punctuation; an example may begin and end within a sentence

QUESTION = "Which sentence was inserted?"
AROUND = 4  # number of the address's own sentences around the inserted one
INSERTED_WORDS = 6, 40  # minimum and maximum number of words per sentence in sotu-inserted


def sotu_examples(task: str, held_out: float = HELD_OUT_SHARE) -> tuple[list, list]:
    """The training examples and the dev examples of a task.

    task: one of SOTU_TASKS; held_out: the share of the corpus that pre-training held out.
    Raises ValueError for any other task, and ModuleNotFoundError if the package `sotu` is not installed.
    """
    if task not in SOTU_TASKS:
        raise ValueError(f"unknown task {task!r}; choose one of {', '.join(SOTU_TASKS)}")
    parts = split_documents(list(read_corpus([DEFAULT_CORPUS])), held_out)
    if task == "sotu-party":
        parts = split_by_president(*parts)
    make: Any = SOTU_TASKS[task]
    train, dev = ([list(make(document, random_of(document), part)) for document in part] for part in parts)
    if task == "sotu-party":
        train, dev = balanced(train), balanced(dev)  # otherwise, always predicting the majority party would score well
    return limited(train, TRAIN_EXAMPLES), limited(dev, DEV_EXAMPLES)


def split_documents(documents: list[Document], held_out: float) -> tuple[list[Document], list[Document]]:
    """The training documents and the dev documents, split as in pre-training (see data/held_out.py)."""
    chosen = held_out_documents(
        np.array([stable_hash(document.group) for document in documents], np.uint64),
        np.array([stable_hash(document.name) for document in documents], np.uint64),
        np.array([len(document.text) for document in documents]),
        held_out,
    )
    train = [document for document, out in zip(documents, chosen, strict=True) if not out]
    return train, [document for document, out in zip(documents, chosen, strict=True) if out]


def split_by_president(train: list[Document], dev: list[Document]) -> tuple[list[Document], list[Document]]:
    """The training and dev documents by Democrats and Republicans since 1861, with no president in both parts.

    Presidents in the dev part are removed from the training part.  They are identified by surname, so that, for
    example, both Presidents Bush count as one.
    """

    def of_two_parties(documents):
        return [
            document
            for document in documents
            if document.metadata["party"] in PARTIES and document.metadata["year"] >= FIRST_YEAR_OF_BOTH
        ]

    dev = of_two_parties(dev)
    speakers = {document.metadata["president"] for document in dev}
    return [document for document in of_two_parties(train) if document.metadata["president"] not in speakers], dev


def random_of(document: Document) -> np.random.Generator:
    """A random number generator seeded only by the document's name."""
    return np.random.default_rng([1790, *document.name.encode()])


def balanced(by_document: list[list[SentenceExample]]) -> list[list[SentenceExample]]:
    """The examples grouped by label, each group thinned evenly to the size of the smallest.

    Each document thus keeps its share of the examples with a label.
    """
    groups: dict[str, list[SentenceExample]] = {}
    for examples in by_document:
        for example in examples:
            groups.setdefault(str(example.label), []).append(example)
    fewest = min(map(len, groups.values()))
    return [limited([examples], fewest) for examples in groups.values()]


def limited(by_document: list[list], most: int) -> list:
    """All examples in one list, thinned to `most` evenly spaced ones if there are more.

    Even spacing preserves each document's share of the examples.
    """
    examples = [example for examples in by_document for example in examples]
    if len(examples) <= most:
        return examples
    return [examples[len(examples) * number // most] for number in range(most)]


# ------------------------------------------------------------------------------------------------ era and party


def passages(document: Document) -> Iterator[str]:
    """Yield passages of 50 to 90 words that consist of consecutive whole sentences; longer sentences are skipped."""
    words: list[str] = []
    for sentence in split_sentences(document.text):
        more = sentence.split()
        if len(words) + len(more) > LONGEST_PASSAGE:
            words = []
        if len(more) <= LONGEST_PASSAGE:
            words += more
        if len(words) >= PASSAGE_WORDS:
            yield " ".join(words)
            words = []


def era(document: Document, _random: np.random.Generator, _others: Sequence[Document]) -> Iterator[SentenceExample]:
    label = next(name for name, last in ERAS.items() if document.metadata["year"] <= last)
    for text in passages(document):
        yield SentenceExample(text, label=label)


def party(document: Document, _random: np.random.Generator, _others: Sequence[Document]) -> Iterator[SentenceExample]:
    for text in passages(document):
        yield SentenceExample(text, label=document.metadata["party"])


# ------------------------------------------------------------------------------------------------ order


def order(document: Document, random: np.random.Generator, _others: Sequence[Document]) -> Iterator[SentenceExample]:
    """Yield pairs of adjacent sentences, swapped with probability 1/2; each sentence is in at most one pair."""
    least, most = PAIR_WORDS
    sentences = split_sentences(document.text)
    for first, second in zip(sentences[::2], sentences[1::2], strict=False):
        if not all(least <= len(sentence.split()) <= most for sentence in (first, second)):
            continue
        if random.random() < 0.5:
            yield SentenceExample(first, second, IN_ORDER)
        else:
            yield SentenceExample(second, first, SWAPPED)


# ------------------------------------------------------------------------------------------------ punctuation


def punctuation(
    document: Document, _random: np.random.Generator, _others: Sequence[Document]
) -> Iterator[WordsExample]:
    """Yield runs of WINDOW_WORDS lower-case words without punctuation, labelled with the mark that followed each word.

    Neither capital letters nor the boundaries of runs reveal the marks.
    """
    words, labels = words_and_marks(document.text)
    for begin in range(0, len(words) - WINDOW_WORDS + 1, WINDOW_WORDS):
        window = slice(begin, begin + WINDOW_WORDS)
        yield WordsExample(tuple(words[window]), tuple(labels[window]))


def words_and_marks(text: str) -> tuple[list[str], list[str]]:
    """The words of a text in lower case, and the label of the mark that followed each word.

    If several marks follow a word, the last one that has a label counts.  A piece that consists only of marks, such as
    a dash between spaces, is not a word.

    >>> words_and_marks('"Why," he asked -- "not now?"')
    (['why', 'he', 'asked', 'not', 'now'], [',', 'O', 'O', 'O', '?'])
    """
    words, labels = [], []
    for piece in text.lower().split():
        if piece.isalnum():  # true of most words, so this check halves the running time
            words.append(piece)
            labels.append(NO_MARK)
            continue
        core = piece.strip(AROUND_WORDS)
        after = piece[piece.rindex(core) + len(core) :] if core else piece
        label = next((MARKS[mark] for mark in reversed(after) if mark in MARKS), NO_MARK)
        if core:
            words.append(core)
            labels.append(label)
        elif words and label != NO_MARK and labels[-1] == NO_MARK:
            labels[-1] = label  # a mark that stands alone belongs to the preceding word
    return words, labels


# ------------------------------------------------------------------------------------------------ inserted


def inserted(document: Document, random: np.random.Generator, others: list[Document]) -> Iterator[SpanExample]:
    """Yield passages with one inserted sentence, from an address of another year; it is never first or last."""
    strangers = [other for other in others if other.group != document.group]
    if not strangers:
        return
    sentences = sentences_of(document.text)
    for begin in range(0, len(sentences) - AROUND + 1, AROUND // 2):
        own = sentences[begin : begin + AROUND]
        others_sentences = sentences_of(strangers[random.integers(len(strangers))].text)
        stranger = others_sentences[random.integers(len(others_sentences))]
        if not all(map(fits, [*own, stranger])) or stranger in own:
            continue
        index = int(random.integers(1, AROUND))
        context = " ".join([*own[:index], stranger, *own[index:]])
        start = len(" ".join(own[:index])) + 1
        yield SpanExample(f"{document.name}-{begin}", QUESTION, context, (Answer(stranger, start),))


@lru_cache(maxsize=512)
def sentences_of(text: str) -> list[str]:
    """The sentences of an address, without line breaks; cached, since an address supplies sentences to many others."""
    return [" ".join(sentence.split()) for sentence in split_sentences(text)]


def fits(sentence: str) -> bool:
    least, most = INSERTED_WORDS
    return least <= len(sentence.split()) <= most


SOTU_TASKS = {
    "sotu-era": era,
    "sotu-party": party,
    "sotu-order": order,
    "sotu-punctuation": punctuation,
    "sotu-inserted": inserted,
}
