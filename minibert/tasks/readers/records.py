"""Records: the rows of a table or the objects of a JSON file, as dictionaries that know where they were read."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.base.json_text import parse_json
from minibert.tasks.readers.files import Lines

OBJECTS = re.compile(r'"(?:[^"\\]|\\.)*"|[{\n]')
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Record:
    """One row of a table, or one JSON object."""

    values: dict[str, Any]
    where: str
    """the file and line"""

    def find(self, names: tuple[str, ...], needed: bool = True) -> Any:
        """The value of the first field of `names` that is there, or None.

        Raises ValueError if there is none but one is needed.
        """
        for name in names:
            if name in self.values:
                return self.values[name]
        if needed:
            raise ValueError(f"{self.where}: {one_of(names)} is missing; the line has {listed(self.values)}")
        return None


def one_of(names: tuple[str, ...]) -> str:
    """The names as a text: 'words' or 'tokens'."""
    return " or ".join(repr(name) for name in names)


def listed(names: Iterable[str]) -> str:
    """The names as a text of one line: words, labels."""
    return ", ".join(name if name.isprintable() and len(name) <= 60 else shown(name) for name in names) or "no fields"


def text_from(value: Any, where: str, what: str = "the text") -> str:
    """A text from a field; a whole number is read as its digits.  Raises ValueError for blank and other values."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: {what} is {shown(value)}; expected some words")
    if SURROGATE.search(value):
        raise ValueError(
            f"{where}: {what} contains half of a surrogate pair (\\ud800-\\udfff); expected whole characters"
        )
    return value


def texts_from(value: Any, where: str, what: str, least: int) -> tuple[str, ...]:
    """At least `least` texts from a field that is a list."""
    if not isinstance(value, list) or len(value) < least:
        found = f"{len(value)} of them" if isinstance(value, list) else shown(value)
        raise ValueError(f"{where}: {what} are {found}; expected a list of {least} or more texts")
    return tuple(text_from(item, where, f"one of {what}") for item in value)


def shown(value: Any) -> str:
    """A value for an error message, in at most 60 characters."""
    text = "missing" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


# ------------------------------------------------------------------------------------------------ JSON


def json_lines(lines: Lines, path: Path) -> Iterator[Record]:
    """Yield the objects of a file with one JSON object per line."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield record_of(parse_json(line, path, number), where)


def json_records(document: list, text: str, path: Path) -> Iterator[Record]:
    """Yield the objects of a JSON array, which was read from `text`."""
    lines = object_lines(text, document)
    for number, value in enumerate(document, 1):
        where = f"{path}, line {lines[id(value)]}" if isinstance(value, dict) else f"{path}, item {number}"
        yield record_of(value, where)


def record_of(value: Any, where: str) -> Record:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {shown(value)}; expected a JSON object, {{…}}")
    return Record(value, where)


def object_lines(text: str, document: Any) -> dict[int, int]:
    """For each JSON object in a document, the line on which it begins: id(object) -> line, counted from 1.

    The objects begin at the braces outside strings, in the order in which a walk through the document meets them.
    """
    if "\n" not in text.strip():  # SQuAD's own files have one line
        first = text.count("\n", 0, text.find("{")) + 1
        return defaultdict(lambda: first)
    line, begins = 1, []
    for match in OBJECTS.finditer(text):
        if match.group() == "{":
            begins.append(line)
        line += match.group() == "\n"
    found = (id(value) for value in objects_in(document))
    return dict(zip(found, begins, strict=True))


def objects_in(document: Any) -> Iterator[dict]:
    """Yield all dictionaries in a parsed document, in the order of their opening braces."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
        if isinstance(value, dict | list):
            waiting.extend(reversed(list(value.values() if isinstance(value, dict) else value)))
