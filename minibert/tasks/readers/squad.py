"""SQuAD's JSON files, versions 1.1 and 2.0: articles, paragraphs, questions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minibert.tasks.readers.records import Record, object_lines, shown

SHAPE = 'expected "data", "paragraphs", "context", "qas"'


def squad_records(document: dict, text: str, path: Path) -> Iterator[Record]:
    """Yield the questions of a SQuAD file as records; document: what was parsed from `text`.

    Raises ValueError with the file and line for anything that is missing or has another type.
    """
    lines = object_lines(text, document)

    def inner(holder: Any, name: str) -> list:
        where = f"{path}, line {lines[id(holder)]}"
        if name not in holder:
            raise ValueError(f"{where}: {path} is not a SQuAD file: {name!r} is missing ({SHAPE})")
        found = holder[name]
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise ValueError(f"{where}: {name!r} is {shown(found)}; expected a list of objects, as in SQuAD's files")
        return found

    for article in inner(document, "data"):
        for paragraph in inner(article, "paragraphs"):
            for entry in inner(paragraph, "qas"):
                where = f"{path}, line {lines[id(entry)]}, question {shown_id(entry)}"
                if "context" not in paragraph:
                    raise ValueError(f"{where}: the paragraph has no 'context' ({SHAPE})")
                if entry.get("is_impossible", False) is None:
                    raise ValueError(f"{where}: is_impossible is null; expected true or false")
                yield Record({"is_impossible": False, **entry, "context": paragraph["context"]}, where)


def shown_id(entry: dict) -> str:
    identity = entry.get("id")
    return identity if isinstance(identity, str) and identity.isprintable() else shown(identity)
