"""Corpus files in which each record is a document: JSONL, CSV, TSV and parquet."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minibert.base.json_text import parse_json
from minibert.data.document import Document
from minibert.data.formats import JSONL, PARQUET, TSV, decoded_lines, guarded, open_bytes

TEXT_FIELD = "text"
OTHER_FIELD = "choose another with --text-field"
TYPES = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}


def read_records(path: Path, kind: str, compression: str, name: str, field: str) -> Iterator[Document | None]:
    """Yield the document of each record of a file, or None for a record without text.

    name: the prefix of document names; field: the field or column with the text.  The fields `id` and `group`, where
    there are any, name the document and its group; further fields become its metadata.
    Raises ValueError for a record that cannot be read (file and line).
    """
    if kind == PARQUET:
        yield from read_parquet(path, name, field)
        return
    with guarded(path):
        stream = open_bytes(path, compression)
    with stream:
        lines = decoded_lines(stream, path)
        if kind == JSONL:
            yield from read_jsonl(lines, path, name, field)
        else:
            yield from read_table(lines, path, name, field, "\t" if kind == TSV else ",")


def check_first_record(path: Path, kind: str, compression: str, field: str) -> None:
    """Raise ValueError if the first record of a file, or its header, lacks the field with the text."""
    if path.is_file():
        next(read_records(path, kind, compression, path.name, field), None)


def read_jsonl(lines: Iterable[str], path: Path | str, name: str, field: str) -> Iterator[Document | None]:
    """Yield the document of each line that is not blank; None if its text is blank or null."""
    expected = f'each line must be an object like {{"{field}": "..."}}'
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line.rstrip("\r\n"), path, number)
        except ValueError as error:
            raise ValueError(f"{error}; {expected}") from None
        if isinstance(record, list):
            raise ValueError(f"{path}, line {number}: no text; {expected}, not a list (jq -c '.[]' makes lines of one)")
        if not isinstance(record, dict) or field not in record:
            found = f", only {_named(record)}: {OTHER_FIELD}" if isinstance(record, dict) and record else ""
            raise ValueError(f"{path}, line {number}: no text; {expected}{found}")
        if not isinstance(record[field], str | None):
            raise ValueError(
                f"{path}, line {number}: no text; {expected}, but the field {field!r} holds "
                f"{TYPES[type(record[field])]}: {OTHER_FIELD}"
            )
        record[field] = record[field] or ""
        yield _document(record, field, f"{path}, line {number}", f"{name}#{number}")


def read_table(
    lines: Iterable[str], path: Path | str, name: str, field: str, delimiter: str
) -> Iterator[Document | None]:
    """Yield the document of each row of a CSV or TSV file, which begins with a header; None if it has no text."""
    csv.field_size_limit(2**31 - 1)
    taken: list[str] = []  # the lines of the current row
    rows = csv.reader(_kept(lines, taken), delimiter=delimiter, strict=True)
    line = 1
    try:
        header = next(rows, None)
        if header is None:
            return
        header = [name.strip() for name in header]
        _check_column(header, path, field)
        taken.clear()
        while (line := rows.line_num + 1) and (row := next(rows, None)) is not None:
            if delimiter == "\t" and len(taken) > 1 and _are_rows(taken, len(header)):
                raise ValueError(
                    f"{path}, line {line}: a quote begins a field that goes on for {len(taken)} lines, but each line "
                    f"has {len(header)} columns, like a row; double the quotes that are part of a text, and put quotes "
                    "around it"
                )
            taken.clear()
            if not row:
                continue  # a blank line
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, line {line}: {len(row)} columns, but the header has {len(header)} "
                    f"({', '.join(header)}); put quotes around fields that contain a separator"
                )
            record = dict(zip(header, row, strict=True))
            yield _document(record, field, f"{path}, line {line}", f"{name}#{line}")
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {line}: not a valid row ({error}); expected columns separated by "
            f"{'tabs' if delimiter == chr(9) else 'commas'}, with quotes doubled inside quoted fields"
        ) from None


def _kept(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _are_rows(lines: Sequence[str], width: int) -> bool:
    """Whether each line has as many columns as a table whose tabs are never inside quotes."""
    return width > 1 and all(line.count("\t") == width - 1 for line in lines)


def read_parquet(path: Path, name: str, field: str) -> Iterator[Document | None]:
    """Yield the document of each row of a parquet file; None if it has no text."""
    with _parquet_guarded(path):
        file = _parquet_file(path)
        present = file.schema_arrow.names
    _check_column(present, path, field)
    columns = [column for column in dict.fromkeys((field, "id", "group", "title", "url")) if column in present]
    batches, number = file.iter_batches(batch_size=1000, columns=columns), 0
    while True:
        with _parquet_guarded(path):
            batch = next(batches, None)
            records = [] if batch is None else batch.to_pylist()
        if batch is None:
            return
        for record in records:
            number += 1
            if not isinstance(record[field], str | None):
                raise ValueError(
                    f"{path}, row {number}: the column {field} holds {type(record[field]).__name__}, not text; "
                    f"{OTHER_FIELD}"
                )
            record[field] = record[field] or ""
            yield _document(record, field, f"{path}, row {number}", f"{name}#{number}")


@contextmanager
def _parquet_guarded(path: Path) -> Iterator[None]:
    """Turn pyarrow's errors, which do not name the file, into a ValueError that does."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a parquet file, or damaged ({reason}); download it again") from None


def _parquet_file(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(path)


def _document(record: dict, field: str, where: str, name: str) -> Document | None:
    text = record.pop(field)
    if not is_unicode(text):
        raise ValueError(f"{where}: the text contains half of a surrogate pair (\\ud800-\\udfff)")
    if not text or text.isspace():
        return None
    identity, group = record.pop("id", None), record.pop("group", None)
    identity = name if identity in (None, "") else str(identity)
    return Document(identity, identity if group in (None, "") else str(group), text, record)


def _check_column(columns: Sequence[str], path: Path | str, field: str) -> None:
    if field not in columns:
        advice = separated(columns) or f"; {OTHER_FIELD}"
        raise ValueError(f"{path} has no column {field!r}, only {', '.join(map(repr, columns))}{advice}")
    for name in (field, "id", "group"):
        if columns.count(name) > 1:
            raise ValueError(f"{path} has {columns.count(name)} columns {name!r}; expected one")


def separated(columns: Sequence[str]) -> str:
    """A note for an error message, if the header line is one column and seems to be separated by something else."""
    found = [what for mark, what in SEPARATORS.items() if mark in columns[0]] if len(columns) == 1 else []
    return f" (separated by {found[0]}?); expected commas in a .csv file and tabs in others" if found else ""


def _named(record: dict) -> str:
    names = [repr(name) for name in record]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
