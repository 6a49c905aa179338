"""Read task data in the formats in which it is distributed: tables, CoNLL columns, SQuAD JSON, SWAG CSV and JSONL.

Every error in a file is reported with the file name and, where possible, the line number.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.registry import CHOICE, REGRESSION, SPAN, TOKENS, Columns, TaskInfo

STANDARD = Columns("text", None, "label")
BOM = "\ufeff"


def read_examples(info: TaskInfo, path: Path | str, columns: Columns = STANDARD, labelled: bool = True) -> list:
    """Read the examples in a file.

    info: the task; columns: the columns of the user's own table, used only if the task does not define its columns;
    labelled: False if labels may be missing, as for prediction.
    A .jsonl file has one JSON object per line.  Otherwise, the kind of task determines the format: one word per line
    for words, SQuAD JSON for spans, SWAG CSV for choices, and for sentences a table, which is comma-separated with
    quotes if the file is .csv, and otherwise tab-separated without quotes.
    Raises FileNotFoundError, or ValueError with the file and line for malformed input.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return parse_examples(info, read_lines(path), path, columns, labelled)


def parse_examples(info: TaskInfo, lines: list[str], path: Path, columns: Columns, labelled: bool) -> list:
    """Parse the examples in lines read from `path`, whose extension helps to determine the format."""
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path} is empty; expected at least one example")
    if path.suffix == ".jsonl":
        records = list(read_records(lines, path))
        check_types(records, "labels" if info.kind == TOKENS else str((info.columns or columns).label))
        examples = [from_record(info, record, columns, labelled, where) for record, where in records]
    elif info.kind == TOKENS:
        examples = list(read_words(lines, path, labelled))
    elif info.kind == SPAN:
        examples = list(read_squad("\n".join(lines), path, labelled))
    elif info.kind == CHOICE:
        examples = list(read_swag(lines, path, labelled))
    else:
        examples = list(read_table(info, lines, path, info.columns or columns, labelled))
    if not examples:
        raise ValueError(f"{path} contains no examples")
    return examples


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without a byte order mark and without line endings."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "convert it to UTF-8 first, for example with iconv -f LATIN1 -t UTF-8"
        ) from None
    lines = text.removeprefix(BOM).split("\n")
    return [line.removesuffix("\r") for line in lines[: -1 if not lines[-1] else None]]


# ------------------------------------------------------------------------------------------------ sentences


def read_table(
    info: TaskInfo, lines: list[str], path: Path, columns: Columns, labelled: bool
) -> Iterator[SentenceExample]:
    """Read a table with one example per row, either tab-separated or CSV."""
    rows = split_rows(lines, path)
    if columns.header:
        (names, where), rows = rows[0], rows[1:]
        names = [name.strip() for name in names]
        width = len(names)
    else:
        names, width = None, len(rows[0][0])
    text = column_of(columns.text, names, width, path)
    pair = None if columns.pair is None else column_of(columns.pair, names, width, path)
    label = column_of(columns.label, names, width, path, needed=labelled)
    for row, where in rows:
        if len(row) != width:
            raise ValueError(f"{where}: {len(row)} columns; expected {width}, as in the first line")
        yield SentenceExample(
            some_text(row[text], where),
            None if pair is None else some_text(row[pair], where),
            None if label is None else label_of(info, row[label], where, labelled),
            where,
        )


def split_rows(lines: list[str], path: Path) -> list[tuple[list[str], str]]:
    """The fields and the location (file and line) of each non-empty row."""
    if path.suffix == ".csv":
        reader, rows = csv.reader(line + "\n" for line in lines), []
        try:
            for row in reader:
                if row:
                    rows.append((row, f"{path}, line {reader.line_num}"))
        except csv.Error as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
        return rows
    return [(line.split("\t"), f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def column_of(wanted: Any, names: list[str] | None, width: int, path: Path, needed: bool = True) -> Any:
    """The index of the column `wanted`, given by name or index; None if it is missing and not needed.

    names: the column names from the header line, or None if there is no header; width: the number of columns.
    """
    if names is None:
        if wanted >= width:
            raise ValueError(f"{path}, line 1: {width} columns; expected at least {wanted + 1}")
        return wanted
    if wanted in names:
        return names.index(wanted)
    if not needed:
        return None
    raise ValueError(f"{path}, line 1: no column {wanted!r}; the columns are {', '.join(names)}")


def some_text(text: Any, where: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where}: the text is {text!r}; expected some words")
    return text.strip()


def label_of(info: TaskInfo, value: Any, where: str, labelled: bool) -> str | float | None:
    """Convert a label from a file to a class name or, for regression, a number; None for an empty label if allowed."""
    value = str(value).strip()
    if not value:
        if labelled:
            raise ValueError(f"{where}: the label is missing")
        return None
    if info.kind == REGRESSION:
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{where}: the label is {value!r}; expected a number, as in the other lines") from None
    if info.labels is not None:
        if value not in info.labels and value not in info.labels.values():
            raise ValueError(f"{where}: the label is {value!r}; expected {' or '.join(info.labels)}")
        return info.labels.get(value, value)
    return value


# ------------------------------------------------------------------------------------------------ words


def read_words(lines: list[str], path: Path, labelled: bool) -> Iterator[WordsExample]:
    """Read CoNLL data: each line has a word in its first column and the word's tag in the last.

    Columns are separated by tabs or spaces; empty lines end sentences.
    """
    words, tags, width, first = [], [], None, 0
    for number, line in enumerate([*lines, ""], 1):
        if not line.strip():
            if words:
                labels = tuple(tags) if len(tags) == len(words) else None
                yield WordsExample(tuple(words), labels, f"{path}, sentence from line {first}")
            words, tags = [], []
            continue
        parts = [part.strip() for part in (line.split("\t") if "\t" in line else line.split())]
        if parts[0] == "-DOCSTART-":
            continue
        width = width or len(parts)
        if len(parts) != width or not all(parts):
            raise ValueError(f"{path}, line {number}: {len(parts)} columns; expected {width}, as in the first line")
        if len(parts) == 1 and labelled:
            raise ValueError(f"{path}, line {number}: the word {parts[0]!r} has no tag; expected a word and a tag")
        first = first if words else number
        words.append(parts[0])
        if len(parts) > 1:
            check_tag(parts[-1], f"{path}, line {number}")
            tags.append(parts[-1])


def check_tag(tag: str, where: str) -> None:
    """Raise ValueError for a BIO tag without an entity type; other tags, such as parts of speech, are accepted."""
    if tag[:2] in ("B-", "I-") and len(tag) == 2:
        raise ValueError(f"{where}: the tag {tag!r} has no entity type; expected a tag like B-person")


# ------------------------------------------------------------------------------------------------ questions on a text


def read_squad(text: str, path: Path, labelled: bool) -> Iterator[SpanExample]:
    """Read SQuAD JSON, version 1.1 or 2.0."""
    try:
        articles = json.loads(text)["data"]
        entries = [
            (paragraph["context"], entry)
            for a in articles
            for paragraph in a["paragraphs"]
            for entry in paragraph["qas"]
        ]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}); expected a SQuAD file") from None
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is not a SQuAD file: {error} is missing (expected "data", "paragraphs", "context", "qas")'
        ) from None
    for context, entry in entries:
        where = f"{path}, question {entry.get('id')}"
        found = entry.get("answers") or []
        if labelled and not found and not entry.get("is_impossible"):
            raise ValueError(f"{where}: no answer, but is_impossible is not set")
        answers = () if entry.get("is_impossible") else tuple(Answer(a["text"], a["answer_start"]) for a in found)
        yield checked(SpanExample(str(entry.get("id")), entry["question"], context, answers), where)


def checked(example: SpanExample, where: str) -> SpanExample:
    """Return the example unchanged.  Raises ValueError if an answer is not at its stated offset in the context."""
    for answer in example.answers:
        there = example.context[answer.start : answer.start + len(answer.text)]
        if answer.text and there == answer.text:
            continue
        offset = example.context.find(answer.text)
        hint = (
            f"the answer occurs at {offset}"
            if offset >= 0 and answer.text
            else "the answer does not occur in the context"
        )
        raise ValueError(
            f"{where}: the context has {there!r} at {answer.start}, not the answer {answer.text!r}; {hint}"
        )
    return example


# ------------------------------------------------------------------------------------------------ choices


def read_swag(lines: list[str], path: Path, labelled: bool) -> Iterator[ChoiceExample]:
    """Read SWAG CSV: each row has a sentence, the beginning of a second sentence, and two or more endings for it."""
    (names, _), *rows = split_rows(lines, path.with_suffix(".csv"))
    endings = [name for name in names if name.startswith("ending")]
    text, begun = (column_of(name, names, len(names), path) for name in ("sent1", "sent2"))
    label = column_of("label", names, len(names), path, needed=labelled)
    if len(endings) < 2:
        raise ValueError(f"{path}, line 1: expected columns ending0, ending1, …; the columns are {', '.join(names)}")
    for row, where in rows:
        if len(row) != len(names):
            raise ValueError(f"{where}: {len(row)} columns; expected {len(names)}, as in the first line")
        candidates = tuple(f"{row[begun]} {row[names.index(name)]}".strip() for name in endings)
        yield ChoiceExample(
            some_text(row[text], where), candidates, None if label is None else choice_of(row[label], candidates, where)
        )


def choice_of(value: Any, endings: tuple[str, ...], where: str) -> int:
    """The index of the correct ending, converted from a label in a file."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < len(endings):
        raise ValueError(f"{where}: the label is {value!r}; expected the number of an ending, 0 to {len(endings) - 1}")
    return number


# ------------------------------------------------------------------------------------------------ JSONL


def read_records(lines: Iterable[str], path: Path) -> Iterator[tuple[dict, str]]:
    """Yield each object in a JSONL file with its location (file and line)."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where}: not valid JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(record, dict):
            raise ValueError(f"{where}: expected a JSON object, {{…}}")
        yield record, where


def from_record(info: TaskInfo, record: dict, columns: Columns, labelled: bool, where: str) -> Any:
    """The example represented by one JSONL object; where: its location, for error messages."""

    def get(name, needed=True):
        if needed and name not in record:
            raise ValueError(f"{where}: {name!r} is missing; the line has {', '.join(record)}")
        return record.get(name)

    if info.kind == TOKENS:
        words, labels = get("words"), get("labels", labelled)
        if (
            not isinstance(words, list)
            or not all(isinstance(word, str) and word.strip() for word in words)
            or not words
        ):
            raise ValueError(f'{where}: "words" must be a list of words')
        if labels is not None and (not isinstance(labels, list) or len(labels) != len(words)):
            raise ValueError(f"{where}: {len(words)} words and {len(labels)} labels; expected one label for each word")
        for label in labels or ():
            check_tag(plain_label(label, where), where)
        return WordsExample(tuple(words), None if labels is None else tuple(map(str, labels)), where)
    if info.kind == SPAN:
        answers = [
            Answer(answer["text"], answer.get("start", answer.get("answer_start")))
            for answer in get("answers", labelled) or []
        ]
        identity = str(record.get("id", where))
        return checked(SpanExample(identity, get("question"), get("context"), tuple(answers)), where)
    if info.kind == CHOICE:
        endings, label = get("endings"), get("label", labelled)
        if not isinstance(endings, list) or len(endings) < 2:
            raise ValueError(f'{where}: "endings" must be a list of two or more texts')
        return ChoiceExample(
            some_text(get("text"), where),
            tuple(endings),
            None if label is None else choice_of(label, tuple(endings), where),
        )
    columns = info.columns or columns
    label = get(columns.label, labelled)
    pair = columns.pair
    return SentenceExample(
        some_text(get(columns.text), where),
        None if pair is None else some_text(get(pair), where),
        None if label is None else label_of(info, plain_label(label, where), where, labelled),
        where,
    )


def plain_label(label: Any, where: str) -> str:
    if isinstance(label, list | dict):
        raise ValueError(f"{where}: the label is {json.dumps(label)}; expected a string or a number")
    return str(label)


def check_types(records: list[tuple[dict, str]], name: str) -> None:
    """Raise ValueError unless all labels in a file have the same type.

    If a file contained both "1" and 1, it would be unclear whether they are one class or two.
    """
    kinds = {str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    first = None
    for record, where in records:
        label = record.get(name)
        for one in label if isinstance(label, list) else [label]:
            kind = kinds.get(type(one))
            if first and kind and kind != first:
                raise ValueError(f"{where}: the label {json.dumps(one)} is {kind}, but the label before it is {first}")
            first = first or kind


def with_columns(columns: Columns, text: str | None, pair: str | None, label: str | None) -> Columns:
    """A copy of `columns` with the names that the user gave for the text, pair and label columns."""
    given: dict[str, Any] = {
        name: value for name, value in (("text", text), ("pair", pair), ("label", label)) if value is not None
    }
    return replace(columns, **given)
