"""Examples: the content of a line, a sentence or a question in a task's file, before tokenization."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SentenceExample:
    """A sentence, or a pair of sentences, with one label."""

    text: str
    pair: str | None = None
    """the second sentence of a pair"""
    label: str | float | None = None
    """a class by its name, or a number to predict; None if it is not known"""
    where: str | None = field(default=None, compare=False)
    """file and line that it was read from"""


@dataclass(frozen=True)
class WordsExample:
    """The words of a sentence, with one label each."""

    words: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    """as many as words; None if they are not known"""
    where: str | None = field(default=None, compare=False)
    """file and line of its first word"""


@dataclass(frozen=True)
class Answer:
    text: str
    start: int
    """where it begins in the context, in characters"""


@dataclass(frozen=True)
class SpanExample:
    """A question about a context, and the passages of the context that answer it."""

    identity: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    """several if several people answered; none if the context has no answer, or if it is not known"""


@dataclass(frozen=True)
class ChoiceExample:
    """A beginning, and several endings of which one is correct."""

    text: str
    endings: tuple[str, ...]
    label: int | None = None
    """which ending is correct, from 0; None if it is not known"""
