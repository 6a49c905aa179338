"""Examples: what a line, a sentence or a question of a task's file says, before any tokenizer has seen it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SentenceExample:
    """A sentence, or a pair of sentences, with one label."""

    text: str
    pair: str | None = None
    """the second sentence of a pair"""
    label: str | float | None = None
    """a class by its name, or a number to predict; None where it is not known"""
    where: str | None = field(default=None, compare=False)
    """file and line that it was read from"""


@dataclass(frozen=True)
class WordsExample:
    """The words of a sentence, with one label each."""

    words: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    """as many as words; None where they are not known"""
    where: str | None = field(default=None, compare=False)
    """file and line of its first word"""


@dataclass(frozen=True)
class Answer:
    text: str
    start: int
    """where it begins in the context, in characters"""


@dataclass(frozen=True)
class SpanExample:
    """A question on a context, and the passages of the context that answer it."""

    identity: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()
    """several where several people answered; none where the context has no answer, or where it is not known"""


@dataclass(frozen=True)
class ChoiceExample:
    """A beginning, and several endings of which one is right."""

    text: str
    endings: tuple[str, ...]
    label: int | None = None
    """which ending is right, from 0; None where it is not known"""
