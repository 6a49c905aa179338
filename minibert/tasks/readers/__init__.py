"""Read task data in the formats in which it is distributed: tables, CoNLL columns, SQuAD JSON, SWAG CSV, JSON, parquet.

`files` reads bytes and lines, `tables`, `records`, `squad` and `conll` read formats, `labels` reads labels, and
`conversion` makes the examples.  Every error in a file is reported with the file name and the line.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from minibert.base.json_text import parse_json
from minibert.tasks.readers.conll import read_conll
from minibert.tasks.readers.conversion import Reading, examples_from
from minibert.tasks.readers.files import PARQUET, Lines, Source, lines_of, open_file, open_standard_input, text_of
from minibert.tasks.readers.labels import Labels
from minibert.tasks.readers.records import Record, json_lines, json_records, record_of
from minibert.tasks.readers.squad import squad_records
from minibert.tasks.readers.tables import parquet_records, split_rows, table_records
from minibert.tasks.registry import CHOICE, SPAN, TOKENS, Columns, OwnColumns, TaskInfo

__all__ = [
    "TASK_COLUMNS",
    "Lines",
    "columns_of",
    "lines_of",
    "open_file",
    "open_standard_input",
    "parse_examples",
    "read_examples",
]

TASK_COLUMNS = OwnColumns()
LIST = re.compile(r"\s*\[\s*(\{|\Z)")  # the first line of a list of objects


def read_examples(
    info: TaskInfo,
    path: Path | str,
    own: OwnColumns = TASK_COLUMNS,
    labelled: bool = True,
    passed_over: Counter | None = None,
) -> list:
    """Read the examples in a file, which may be compressed with gzip.

    info: the task; own: the names that the user gave for the columns; labelled: False to read no labels, as for
    prediction; passed_over: counts the rows that are passed over: reason -> number.

    Extension        Format
    .jsonl           one JSON object per line
    .json            one JSON object per line, a list of objects, or for spans SQuAD's format
    .parquet         one example per row; requires pyarrow
    .csv             a table, separated by commas, with quotes
    others           for words, one word per line; for spans, as .json; for choices, as .csv unless .tsv; otherwise a
                     table, separated by tabs, without quotes

    Raises FileNotFoundError, or ValueError with the file and line for malformed input.
    """
    return parse_examples(info, open_file(path), own, labelled, passed_over)


def parse_examples(
    info: TaskInfo, source: Source, own: OwnColumns, labelled: bool, passed_over: Counter | None = None
) -> list:
    """Parse the examples in a file that was read; the arguments are those of `read_examples`."""
    columns = columns_of(info, own)
    check_different(columns, labelled, source.path)
    passed_over = Counter() if passed_over is None else passed_over
    usual = own.label is None or own.label in info.names.label
    labels = Labels(info, own.label_names, usual) if labelled else None
    reading = Reading(info, columns, labels, passed_over)
    found: Iterable
    if source.suffix == ".parquet" or source.data.startswith(PARQUET):
        records, names = parquet_records(source)
        if labels is not None:
            labels.names = labels.names or named_in(names, columns, info)
        found = examples_from(reading, records)
    else:
        lines = lines_of(source)
        if not any(line.strip() for line in lines):
            raise ValueError(f"{source.path} is empty; expected at least one example")
        if info.kind == TOKENS and source.suffix not in (".jsonl", ".json", ".csv"):
            found = read_conll(lines, source.path, own, labels, passed_over)
        else:
            found = examples_from(reading, records_in(reading, source, lines))
    examples = list(found)
    if labels is not None:
        labels.finish()
    if not examples:
        raise ValueError(f"{source.path} contains no examples")
    return examples


def records_in(reading: Reading, source: Source, lines: Lines) -> Iterable[Record]:
    """The records of a text file whose extension or kind of task says its format."""
    info = reading.info
    if source.suffix == ".jsonl":
        number, first = next(((number, line) for number, line in enumerate(lines, 1) if line.strip()), (1, ""))
        if LIST.match(first):
            raise ValueError(
                f"{source.path}, line {number}: a list begins; expected one JSON object per line (for a list of "
                "objects, give the name the ending .json)"
            )
        return json_lines(lines, source.path)
    if source.suffix == ".json" or (info.kind == SPAN and source.suffix not in (".csv", ".tsv")):
        return json_file(info, source, lines)
    comma = source.suffix == ".csv" or (info.kind == CHOICE and source.suffix != ".tsv")
    rows = split_rows(lines, source.path, comma, info.columns is None)
    return table_records(info, reading.columns, rows, reading.labels is not None, reading.passed_over)


def json_file(info: TaskInfo, source: Source, lines: Lines) -> Iterable[Record]:
    """The records of a .json file: a list of objects, SQuAD's format, or one object per line."""
    text, path = text_of(source), source.path
    objects = [line.startswith("{") and line.rstrip().endswith("}") for line in lines if line.strip()]
    if len(objects) > 1 and all(objects):
        return json_lines(lines, path)
    document = parse_json(text, path)
    if isinstance(document, list):
        return json_records(document, text, path)
    if info.kind == SPAN and isinstance(document, dict) and not {"question", "answers"} & set(document):
        return squad_records(document, text, path)
    return [record_of(document, f"{path}, line 1")]


def columns_of(info: TaskInfo, own: OwnColumns) -> Columns:
    """The names of the fields: those that the user gave, and otherwise those of the task."""
    names = info.names
    given = [
        (chosen,) if chosen else usual
        for chosen, usual in zip((own.text, own.pair, own.label), (names.text, names.pair, names.label), strict=True)
    ]
    return Columns(*given)


def check_different(columns: Columns, labelled: bool, path: Path) -> None:
    """Raise ValueError if two of the fields that are read may be the same one."""
    read = {"text": columns.text, "pair": columns.pair, "label": columns.label if labelled else ()}
    for (one, names), (other, others) in combinations(read.items(), 2):
        if both := set(names) & set(others):
            raise ValueError(
                f"{path}: --{one}-column and --{other}-column are both {min(both)!r}; expected different columns, so "
                "give the other one as well"
            )


def named_in(names: dict[str, tuple[str, ...]], columns: Columns, info: TaskInfo) -> tuple[str, ...]:
    """The names that a parquet file gives its numbered labels, if the task does not name them itself."""
    found = next((names[column] for column in columns.label if column in names), ())
    return () if info.labels is not None or info.kind in (SPAN, CHOICE) else found
