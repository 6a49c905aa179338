"""The kinds of examples that task files contain, before tokenization."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SentenceExample:
    """A sentence or a sentence pair, with one label."""

    text: str
    pair: str | None = None
    """the second sentence of a pair"""
    label: str | float | None = None
    """the name of a class, or the number to predict; None if unknown"""
    where: str | None = field(default=None, compare=False)
    """the file and line that the example was read from"""


@dataclass(frozen=True)
class WordsExample:
    """The words of a sentence, with one label for each word."""

    words: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    """one label for each word; None if unknown"""
    where: str | None = field(default=None, compare=False)
    """the file, and the line of the sentence's first word"""


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
    """more than one if several people answered; empty if the context has no answer or the answer is unknown"""
    where: str | None = field(default=None, compare=False)
    """the file and line that the example was read from"""


@dataclass(frozen=True)
class ChoiceExample:
    """The beginning of a text and several possible endings, one of which is correct."""

    text: str
    endings: tuple[str, ...]
    label: int | None = None
    """the index of the correct ending, counted from 0; None if unknown"""
    where: str | None = field(default=None, compare=False)
    """the file and line that the example was read from"""
