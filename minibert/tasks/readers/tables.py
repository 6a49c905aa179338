"""Tables with one example per row: comma-separated with quotes, tab-separated without, and parquet."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minibert.data.records import separated
from minibert.tasks.readers.files import Lines, Source
from minibert.tasks.readers.records import Record, listed, one_of
from minibert.tasks.registry import CHOICE, SPAN, Columns, TaskInfo

BROKEN = "lines of broken rows"


def table_records(
    info: TaskInfo, columns: Columns, rows: list[tuple[list[str], str]], labelled: bool, passed_over: Counter
) -> Iterator[Record]:
    """Yield the rows of a table as records; rows: fields and location.

    Raises ValueError for a column that is missing or occurs twice, and for a row of another width; if the task's data
    set is known to have broken rows, those with too few columns are passed over and counted.
    """
    header, where = rows[0]
    names = [name.strip() for name in header]
    own = (columns.text, columns.label) != (info.names.text, info.names.label)  # names that the user gave must be there
    if info.positions is not None and not own and not set(columns.text) & set(names):
        text, label = info.positions
        if max(text, label) >= len(names):
            raise ValueError(f"{where}: {len(names)} columns; expected at least {max(text, label) + 1}")
        names = [f"column {number}" for number in range(1, len(names) + 1)]
        names[text], names[label] = columns.text[0], columns.label[0]
    else:
        rows = rows[1:]
        check_header(info, columns, names, where, labelled)
    for row, where in rows:
        if len(row) == len(names):
            yield Record(dict(zip(names, row, strict=True)), where)
        elif info.broken_rows and len(row) < len(names):
            passed_over[BROKEN] += 1
        else:
            raise ValueError(f"{where}: {len(row)} columns; expected {len(names)}, as in the first line")


def check_header(info: TaskInfo, columns: Columns, names: list[str], where: str, labelled: bool) -> None:
    """Raise ValueError if a column that is needed is missing from the header line, or one that is read occurs twice."""
    read = {CHOICE: {"sent2"}, SPAN: {"id", "is_impossible"}}.get(info.kind, set())
    for wanted in (columns.text, columns.pair, columns.label if labelled else ()):
        found = [name for name in wanted if names.count(name)]
        several = wanted if info.kind == CHOICE and wanted == columns.pair else ()
        numbered = [name for name in names if any(is_numbered(name, one) for one in several)]
        if wanted and not found and not numbered:
            raise ValueError(f"{where}: no column {one_of(wanted)}; the columns are {listed(names)}{separated(names)}")
        read = read | set(found[:1] or numbered)
    for name in names:
        if name in read and names.count(name) > 1:
            raise ValueError(f"{where}: {names.count(name)} columns {name!r}; expected one")


def is_numbered(name: str, prefix: str) -> bool:
    """Whether a column is one of several, such as ending0, ending1."""
    return name.startswith(prefix) and name[len(prefix) :].isdecimal()


def split_rows(lines: Lines, path: Path, comma: bool, own: bool) -> list[tuple[list[str], str]]:
    """The fields and the location (file and line) of each non-empty row of a CSV (`comma`) or tab-separated table.

    own: whether it is the user's own table: fields in quotes with doubled quotes inside, such as those that pandas
    writes between tabs, then show that the whole table has quotes.  GLUE's tables have such fields, but no quotes.
    """
    if not comma and not (own and any(is_quoted(field) for line in lines for field in line.split("\t"))):
        return [(line.split("\t"), f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((line + "\n" for line in lines), delimiter="," if comma else "\t", strict=True)
    rows, before = [], 0
    try:
        for row in reader:
            if row:
                rows.append((row, f"{path}, line {before + 1}"))
            before = reader.line_num
    except csv.Error as error:
        what = "a quoted field does not end" if "unexpected end" in str(error) else str(error)
        raise ValueError(
            f"{path}, line {before + 1}: {what}; expected fields in quotes, with quotes inside them doubled"
        ) from None
    return rows


def is_quoted(field: str) -> bool:
    """Whether a field is in quotes, with quotes inside it that are all doubled.

    >>> is_quoted('"a ""fine"" day"'), is_quoted('"fine"'), is_quoted('"a "fine" day"')
    (True, False, False)
    """
    inner = field[1:-1]
    return len(field) > 3 and field[0] == field[-1] == '"' and '""' in inner and '"' not in inner.replace('""', "")


def parquet_records(source: Source) -> tuple[list[Record], dict[str, tuple[str, ...]]]:
    """The rows of a parquet file, and the names of the numbered labels of each column where `datasets` stored them."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{source.path} is a parquet file, which requires the package pyarrow: pip install -e ".[parquet]"'
        ) from None
    try:
        names = pyarrow.parquet.read_schema(io.BytesIO(source.data)).names
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{len(twice)} columns {twice[0]!r}; expected one")
        table = pyarrow.parquet.read_table(io.BytesIO(source.data))
        rows = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{source.path} is not a valid parquet file ({' '.join(str(error).split())})") from None
    records = [Record(row, f"{source.path}, row {number}") for number, row in enumerate(rows, 1)]
    return records, label_names((table.schema.metadata or {}).get(b"huggingface"))


def label_names(metadata: bytes | None) -> dict[str, tuple[str, ...]]:
    """Column -> names of its numbered labels, from what `datasets` writes into a parquet file's schema, if it did."""
    try:
        features = json.loads(metadata or b"{}")["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
            feature = feature["feature"]
        feature = feature[0] if isinstance(feature, list) and feature else feature
        names: Any = feature.get("names") if isinstance(feature, dict) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            found[column] = tuple(names)
    return found
