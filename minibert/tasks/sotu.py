"""Five small tasks made from the default corpus, the State of the Union addresses; they need no download.

Their labels are derived from the text and its metadata, so nothing was annotated by hand:

    sotu-era          sentence   in which of four periods was this passage spoken?
    sotu-shuffled     sentence   are these words in their original order, or were five neighbours shuffled?
    sotu-next         pair       does the second passage follow the first, or does it come from another address?
    sotu-punctuation  tokens     which mark followed each word?  (the context on both sides matters)
    sotu-replaced     span       which word of this sentence was replaced by a word of another address?

On each of them, a pre-trained tiny model scores far better than one with fresh weights; docs/fine-tuning.md has the
figures, also of the tasks that were dropped because it did not.

No dev data leaks into training.  Models are evaluated on the addresses that pre-training held out (by year), which a
model from `minibert pretrain` has never seen, with or without labels.  Text that an example takes from another address
comes from the example's own part.  Random choices depend only on the address, so the examples are the same on every
machine.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minibert.data.corpus import DEFAULT_CORPUS, Document, read_corpus
from minibert.data.held_out import HELD_OUT_SHARE, held_out_documents, stable_hash
from minibert.tasks.examples import Answer, SentenceExample, SpanExample, WordsExample
from minibert.text.sentences import split_sentences

TRAIN_EXAMPLES, DEV_EXAMPLES = 4_000, 1_500  # the maximum numbers of examples, chosen evenly across the addresses
TRAIN_EXAMPLES_OF = {
    "sotu-era": 2_000,  # with more, a model without pre-training comes closer, as it learns the words of each era
    "sotu-punctuation": 12_000,  # most marks are rare
}

ERAS = {"1790-1860": 1860, "1861-1913": 1913, "1914-1945": 1945, "1946-today": 9999}  # name -> its last year
PASSAGE_WORDS = 50  # minimum words per passage in sotu-era; passages consist of whole sentences
LONGEST_PASSAGE = 90

INTACT, SHUFFLED = "intact", "shuffled"
SHUFFLED_SENTENCE = 8, 30  # minimum and maximum number of words per sentence in sotu-shuffled
SHUFFLED_WORDS = 5  # number of neighbouring words that change places

FOLLOWS, ELSEWHERE = "follows", "from elsewhere"
NEXT_WORDS = 20, 50  # minimum and maximum number of words per passage in sotu-next; nearly all pairs fit in 128 tokens

NO_MARK = "O"
MARKS = {",": ",", ".": ".", "!": ".", "?": "?", ";": ";", ":": ":"}  # a mark -> its label
AROUND_WORDS = "".join(MARKS) + "\"'“”‘’`()[]<>*_-—–…/&"  # characters that are stripped from the ends of a word
WINDOW_WORDS = 64  # words per example in sotu-punctuation; an example may begin and end within a sentence

QUESTION = "Which word was replaced?"
REPLACED_SENTENCE = 8, 24  # minimum and maximum number of words per sentence in sotu-replaced


def sotu_examples(task: str, held_out: float = HELD_OUT_SHARE) -> tuple[list, list]:
    """The training examples and the dev examples of a task.

    task: one of SOTU_TASKS; held_out: the share of the corpus that pre-training held out.
    Raises ValueError for any other task, and ModuleNotFoundError if the package `sotu` is not installed.
    """
    if task not in SOTU_TASKS:
        raise ValueError(f"unknown task {task!r}; choose one of {', '.join(SOTU_TASKS)}")
    make: Any = SOTU_TASKS[task]
    train, dev = (
        [list(make(document, random_of(document), part)) for document in part]
        for part in split_documents(list(read_corpus([DEFAULT_CORPUS])), held_out)
    )
    return limited(train, TRAIN_EXAMPLES_OF.get(task, TRAIN_EXAMPLES)), limited(dev, DEV_EXAMPLES)


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


def random_of(document: Document) -> np.random.Generator:
    """A random number generator seeded only by the document's name."""
    return np.random.default_rng([1790, *document.name.encode()])


def limited(by_document: list[list], most: int) -> list:
    """All examples in one list, thinned to `most` evenly spaced ones if there are more.

    Even spacing preserves each document's share of the examples.
    """
    examples = [example for examples in by_document for example in examples]
    if len(examples) <= most:
        return examples
    return [examples[len(examples) * number // most] for number in range(most)]


@lru_cache(maxsize=512)
def sentences_of(text: str) -> list[str]:
    """The sentences of an address, without line breaks; cached, since an address supplies text to many others."""
    return [" ".join(sentence.split()) for sentence in split_sentences(text)]


def fits(text: str, limits: tuple[int, int]) -> bool:
    """Whether the number of words is within the limits (minimum, maximum)."""
    least, most = limits
    return least <= len(text.split()) <= most


def strangers_of(document: Document, others: Sequence[Document]) -> list[Document]:
    """The addresses of other years."""
    return [other for other in others if other.group != document.group]


# ------------------------------------------------------------------------------------------------ era


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


# ------------------------------------------------------------------------------------------------ shuffled


def shuffled(document: Document, random: np.random.Generator, _others: Sequence[Document]) -> Iterator[SentenceExample]:
    """Yield sentences in lower case without punctuation; with probability 1/2, five neighbouring words are shuffled.

    Neither capital letters nor punctuation reveal the original order.  Each sentence is in at most one example.
    """
    for sentence in sentences_of(document.text):
        words = words_and_marks(sentence)[0]
        if not fits(" ".join(words), SHUFFLED_SENTENCE):
            continue
        if random.random() < 0.5:
            yield SentenceExample(" ".join(words), label=INTACT)
        else:
            yield SentenceExample(" ".join(with_shuffled_words(words, random)), label=SHUFFLED)


def with_shuffled_words(words: list[str], random: np.random.Generator) -> list[str]:
    """The words, with SHUFFLED_WORDS neighbours in another order than before; at least two of these must differ."""
    while True:
        begin = int(random.integers(len(words) - SHUFFLED_WORDS + 1))
        end = begin + SHUFFLED_WORDS
        changed = words[:begin] + [words[begin + i] for i in random.permutation(SHUFFLED_WORDS)] + words[end:]
        if changed != words:
            return changed


# ------------------------------------------------------------------------------------------------ next


def next_passage(
    document: Document, random: np.random.Generator, others: Sequence[Document]
) -> Iterator[SentenceExample]:
    """Yield passages with the passage after it or, with probability 1/2, one from an address of another year.

    Each passage comes first or follows in at most one pair.
    """
    strangers = strangers_of(document, others)
    pieces = pieces_of(document.text)
    for first, second in zip(pieces[::2], pieces[1::2], strict=False):
        if not (fits(first, NEXT_WORDS) and fits(second, NEXT_WORDS)):
            continue
        if random.random() < 0.5:
            yield SentenceExample(first, second, FOLLOWS)
        elif strangers:
            stranger = strangers[random.integers(len(strangers))]
            if found := short_pieces_of(stranger.text):
                yield SentenceExample(first, found[random.integers(len(found))], ELSEWHERE)


@lru_cache(maxsize=512)
def pieces_of(text: str) -> list[str]:
    """An address cut into pieces that follow each other; each has the fewest sentences with NEXT_WORDS[0] words."""
    pieces: list[str] = []
    words: list[str] = []
    for sentence in sentences_of(text):
        words += sentence.split()
        if len(words) >= NEXT_WORDS[0]:
            pieces.append(" ".join(words))
            words = []
    return pieces


@lru_cache(maxsize=512)
def short_pieces_of(text: str) -> list[str]:
    """The pieces of an address that are short enough for a pair."""
    return [piece for piece in pieces_of(text) if fits(piece, NEXT_WORDS)]


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


# ------------------------------------------------------------------------------------------------ replaced


def replaced(document: Document, random: np.random.Generator, others: Sequence[Document]) -> Iterator[SpanExample]:
    """Yield sentences in which one word was replaced by a word from an address of another year.

    Both words are in lower case in their own sentences, and consist of letters, so the spelling reveals nothing.  The
    new word does not occur in the sentence otherwise, so there is one answer.
    """
    strangers = strangers_of(document, others)
    if not strangers:
        return
    for number, sentence in enumerate(sentences_of(document.text)):
        if not fits(sentence, REPLACED_SENTENCE):
            continue
        theirs = sentences_of(strangers[random.integers(len(strangers))].text)
        known = {word.strip(AROUND_WORDS).lower() for word in sentence.split()}
        new_words = [word for word, _ in plain_words(theirs[random.integers(len(theirs))]) if word not in known]
        old_words = plain_words(sentence)
        if not old_words or not new_words:
            continue
        old, start = old_words[random.integers(len(old_words))]
        new = new_words[random.integers(len(new_words))]
        context = sentence[:start] + new + sentence[start + len(old) :]
        yield SpanExample(f"{document.name}-{number}", QUESTION, context, (Answer(new, start),))


def plain_words(sentence: str) -> list[tuple[str, int]]:
    """The words of a sentence that consist of lower-case letters, with the offset of each; marks around are left out.

    >>> plain_words("We in 1790 (and now) don't.")
    [('in', 3), ('and', 12), ('now', 16)]
    """
    found = []
    for piece in re.finditer(r"\S+", sentence):
        word = piece[0].strip(AROUND_WORDS)
        if word.isalpha() and word.islower():
            found.append((word, piece.start() + piece[0].index(word)))
    return found


SOTU_TASKS = {
    "sotu-era": era,
    "sotu-shuffled": shuffled,
    "sotu-next": next_passage,
    "sotu-punctuation": punctuation,
    "sotu-replaced": replaced,
}
