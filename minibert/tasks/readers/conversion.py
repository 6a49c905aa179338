"""From records to examples, one function for each kind of task."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.readers.labels import Labels
from minibert.tasks.readers.records import SURROGATE, Record, listed, one_of, shown, text_from, texts_from
from minibert.tasks.readers.tables import is_numbered
from minibert.tasks.registry import CHOICE, REGRESSION, SENTENCE, SPAN, TOKENS, Columns, TaskInfo


@dataclass(frozen=True)
class Reading:
    """What it takes to read one file."""

    info: TaskInfo
    columns: Columns
    """the names of the fields"""
    labels: Labels | None
    """None to read no labels, as for prediction"""
    passed_over: Counter
    """counts what is passed over: reason -> number"""


def examples_from(reading: Reading, records: Iterable[Record]) -> Iterator[Any]:
    """Yield the examples of the records; examples whose label says that they have none are passed over and counted.

    Raises ValueError with the file, line and what was expected for a malformed record.
    """
    info, columns = reading.info, reading.columns
    convert = CONVERSIONS[info.kind]
    for record in records:
        if reading.labels is not None and info.no_label:
            given = record.find(columns.label)
            if isinstance(given, str | int) and str(given).strip() in info.no_label:
                reading.passed_over[f"without a label ({str(given).strip()})"] += 1
                continue
        if info.broken_rows and any(is_blank(record.find(names)) for names in (columns.text, columns.pair) if names):
            reading.passed_over["without a text"] += 1
            continue
        yield convert(reading, record)


def is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def sentence_example(reading: Reading, record: Record) -> SentenceExample:
    columns, where = reading.columns, record.where
    text = text_from(record.find(columns.text), where).strip()
    pair = text_from(record.find(columns.pair), where, "the second text").strip() if columns.pair else None
    label = None if reading.labels is None else reading.labels.label(record.find(columns.label), where)
    return SentenceExample(text, pair, label, where)


def words_example(reading: Reading, record: Record) -> WordsExample:
    columns, where = reading.columns, record.where
    words = texts_from(record.find(columns.text), where, "the words", 1)
    if reading.labels is None:
        return WordsExample(words, None, where)
    labels = record.find(columns.label)
    if not isinstance(labels, list):
        raise ValueError(f"{where}: the labels are {shown(labels)}; expected a list with one for each word")
    if len(labels) != len(words):
        raise ValueError(f"{where}: {len(words)} words and {len(labels)} labels; expected one label for each word")
    names = tuple(str(reading.labels.label(label, where)) for label in labels)
    return WordsExample(words, names, where)


# ------------------------------------------------------------------------------------------------ answers


def span_example(reading: Reading, record: Record) -> SpanExample:
    columns, where = reading.columns, record.where
    context = text_from(record.find(columns.text), where, "the text")
    question = text_from(record.find(columns.pair), where, "the question")
    identity = record.find(("id",), needed=False)
    if isinstance(identity, dict | list):
        raise ValueError(f"{where}: the id is {shown(identity)}; expected a text or a number")
    if isinstance(identity, str) and SURROGATE.search(identity):
        raise ValueError(f"{where}: the id contains half of a surrogate pair (\\ud800-\\udfff); expected whole ones")
    answers: tuple[Answer, ...] = ()
    if reading.labels is not None:
        impossible = record.find(("is_impossible",), needed=False)
        if impossible is not None and not isinstance(impossible, bool):
            raise ValueError(f"{where}: is_impossible is {shown(impossible)}; expected true or false")
        found = record.find(columns.label, needed=not impossible)
        answers = answers_from([] if found is None and impossible else found, where)
        if impossible and answers:
            raise ValueError(f"{where}: is_impossible is true, but there are answers; expected one or the other")
        if impossible is False and not answers:
            raise ValueError(f"{where}: no answer, but is_impossible is not set")
    example = SpanExample(where if identity is None else str(identity), question, context, answers, where)
    for answer in answers:
        check_answer(answer, context, where)
    return example


def answers_from(value: Any, where: str) -> tuple[Answer, ...]:
    """The answers of a question: a list of {"text", "answer_start"} as in SQuAD's files, or {"text": [...],
    "answer_start": [...]} as `datasets` writes them; "start" is a synonym of "answer_start"."""
    if isinstance(value, dict):
        texts, begins = value.get("text"), value.get("answer_start", value.get("start"))
        if not isinstance(texts, list) or not isinstance(begins, list) or len(texts) != len(begins):
            raise ValueError(
                f'{where}: the answers are {shown(value)}; expected {{"text": […], "answer_start": […]}} with one '
                "start for each text"
            )
        value = [{"text": text, "answer_start": begin} for text, begin in zip(texts, begins, strict=True)]
    if not isinstance(value, list):
        raise ValueError(f'{where}: the answers are {shown(value)}; expected [{{"text": …, "answer_start": …}}, …]')
    return tuple(answer_from(item, where) for item in value)


def answer_from(value: Any, where: str) -> Answer:
    if not isinstance(value, dict):
        raise ValueError(f'{where}: an answer is {shown(value)}; expected {{"text": …, "answer_start": …}}')
    text, begin = value.get("text"), value.get("start", value.get("answer_start"))
    if value.get("answer_start", begin) != begin:
        raise ValueError(
            f'{where}: an answer has "start" {shown(begin)} and "answer_start" {shown(value["answer_start"])}; '
            "expected one of the two"
        )
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f'{where}: the "text" of an answer is {shown(text)}; expected some words')
    if isinstance(begin, float) and begin.is_integer():
        begin = int(begin)
    if not isinstance(begin, int) or isinstance(begin, bool) or begin < 0:
        raise ValueError(
            f'{where}: the "answer_start" of the answer {shown(text)} is {shown(begin)}; expected the number of '
            "characters before it"
        )
    return Answer(text, begin)


def check_answer(answer: Answer, context: str, where: str) -> None:
    """Raise ValueError if an answer is not at its stated offset in the context."""
    there = context[answer.start : answer.start + len(answer.text)]
    if there == answer.text:
        return
    offset = context.find(answer.text)
    hint = f"the answer occurs at {offset}" if offset >= 0 else "the answer does not occur in the context"
    raise ValueError(
        f"{where}: the context has {shown(there)} at {answer.start}, not the answer {shown(answer.text)}; {hint}"
    )


# ------------------------------------------------------------------------------------------------ choices


def choice_example(reading: Reading, record: Record) -> ChoiceExample:
    """SWAG's records have a sentence, the beginning of a second one (sent2) and its endings, in fields of their own."""
    columns, where = reading.columns, record.where
    endings = endings_from(record, columns.pair)
    if next((name for name in columns.text if name in record.values), None) == "sent1":
        begun = record.find(("sent2",))
        if not isinstance(begun, str):
            raise ValueError(f"{where}: sent2 is {shown(begun)}; expected the beginning of a sentence")
        endings = tuple(f"{begun.strip()} {ending}".strip() for ending in endings)
    text = text_from(record.find(columns.text), where).strip()
    label = None if reading.labels is None else choice_from(record.find(columns.label), endings, where)
    return ChoiceExample(text, endings, label, where)


def endings_from(record: Record, names: tuple[str, ...]) -> tuple[str, ...]:
    """The endings: a field that is a list, or several fields whose names end in a number, such as ending0, ending1."""
    what = f"the endings ({names[0]})"
    for name in names:
        if name in record.values:
            return texts_from(record.values[name], record.where, what, 2)
        fields = sorted((key for key in record.values if is_numbered(key, name)), key=lambda key: int(key[len(name) :]))
        numbers = [int(key[len(name) :]) for key in fields]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"{record.where}: the fields {listed(fields)} have the same number; expected each once")
        if fields:
            return texts_from([record.values[key] for key in fields], record.where, what, 2)
    raise ValueError(
        f"{record.where}: no endings; expected a list {one_of(names)}, or fields like {names[-1]}0, {names[-1]}1, …; "
        f"the line has {listed(record.values)}"
    )


def choice_from(value: Any, endings: tuple[str, ...], where: str) -> int:
    """The index of the correct ending, from a label in a file."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if isinstance(value, bool) or not isinstance(value, str | int) else str(value).strip()
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not 0 <= number < len(endings):
        raise ValueError(
            f"{where}: the label is {shown(value)}; expected the number of an ending, 0 to {len(endings) - 1}"
        )
    return number


CONVERSIONS: dict[str, Callable[[Reading, Record], Any]] = {
    SENTENCE: sentence_example,
    REGRESSION: sentence_example,
    TOKENS: words_example,
    SPAN: span_example,
    CHOICE: choice_example,
}
