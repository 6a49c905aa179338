"""Examples: the content of a line, a sentence or a question in a task's file, before tokenization."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SentenceExample:
    """A sentence, or a pair of sentences, with one label."""

    text: str
    pair: str | None = None
    """the second sentence of a pair"""
    label: str | float | None = None
    """the name of a class, or a number to predict; None if the label is not known"""
    where: str | None = field(default=None, compare=False)
    """the file and line that the example was read from"""


@dataclass(frozen=True)
class WordsExample:
    """The words of a sentence, with one label each."""

    words: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    """one label for each word; None if the labels are not known"""
    where: str | None = field(default=None, compare=False)
    """the file and line of the first word"""


@dataclass(frozen=True)
class Answer:
    text: str
    start: int
    """the offset of the answer's first character in the context"""


@dataclass(frozen=True)
class SpanExample:
    """A question about a context, and the passages of the context that answer it."""

    identity: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    """several answers if several people answered; none if the context has no answer or the answer is not known"""


@dataclass(frozen=True)
class ChoiceExample:
    """The beginning of a text, and several endings, one of which is correct."""

    text: str
    endings: tuple[str, ...]
    label: int | None = None
    """the number of the correct ending, from 0; None if it is not known"""
