"""Divide the text of a file into documents, and say what ends their sentences: as the options say, or as it looks."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from minibert.data.document import Document
from minibert.data.findings import Findings
from minibert.data.formats import JSONL, TEXT, decoded_lines
from minibert.data.layout import sentence_ends_of
from minibert.data.records import TEXT_FIELD, read_jsonl
from minibert.text.sentences import SentenceEnds

SAMPLE = 1 << 18  # the number of characters at the beginning of a file by which its layout is recognised

JSON = re.compile(r'\s*(?:\[\s*)?\{\s*"(?:[^"\\]|\\.)*"\s*:')  # the beginning of an object, or of a list of them

DocumentEnds = Literal["auto", "file", "line", "blank"]


@dataclass(frozen=True)
class CorpusOptions:
    """How the text of a corpus is divided into documents and sentences."""

    documents: DocumentEnds = "auto"
    """What a document is in a text file: the file, a line, or a block between blank lines."""
    sentences: Literal["auto", "marks", "lines", "both"] = "auto"
    """What ends a sentence; see split_sentences."""
    text_field: str | None = None
    """The field of a JSONL object, or the column of a table, that holds the text; None for `text`."""


class Source(NamedTuple):
    """A file (or standard input: path None) to read, and what its name says."""

    path: Path | None
    name: str  # the prefix of document names, a relative path so that moving a folder does not change what is held out
    kind: str = TEXT
    compression: str = ""
    whole: bool = False  # whether it is one of many small files, each of which is a document
    alone: bool = False  # whether the corpus is this one file
    fields: bool = (
        False  # whether it has to be JSONL, whatever its name: no other file has the field that was asked for
    )

    @property
    def shown(self) -> str:
        return "standard input" if self.path is None else str(self.path)


def of_records(
    records: Iterator[Document | None], kind: str, options: CorpusOptions, findings: Findings
) -> Iterator[Document]:
    """Yield the documents of records, with their sentence ends; count records without text."""
    sample, size = [], 0
    for record in records:
        sample.append(record)
        size += len(record.text) if record else 0
        if size >= SAMPLE:
            break
    ends: SentenceEnds
    if options.sentences == "auto":
        ends = sentence_ends_of([line for record in sample if record for line in (*_lines(record.text), "")])
    else:
        ends = options.sentences
    findings.add(kind, ends)
    for record in chain(sample, records):
        if record is None:
            findings.without_text += 1
        else:
            yield record if ends == record.ends else replace(record, ends=ends)


def _lines(text: str) -> list[str]:
    return text[:SAMPLE].split("\n")


def read_text(stream: BinaryIO, file: Source, options: CorpusOptions, findings: Findings) -> Iterator[Document]:
    """Yield the documents of a text file, or of JSONL under another name."""
    lines = decoded_lines(stream, file.shown)
    sample, size = [], 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if size >= SAMPLE:
            break
    field = options.text_field or TEXT_FIELD
    if looks_like_jsonl(sample):
        if file.alone and options.documents in ("file", "line"):
            raise ValueError(
                f"--documents {options.documents} does not apply to {file.shown}, which is JSONL, a document a line; "
                "omit it"
            )
        records = read_jsonl(chain(sample, lines), file.shown, file.name, field)
        yield from of_records(records, JSONL, options, findings)
        return
    is_named_json = file.path is not None and ".json" in map(str.lower, file.path.suffixes[-2:])
    if sample and (is_named_json or JSON.match("".join(line[:SAMPLE] for line in sample))):
        raise ValueError(
            f"{file.shown} does not have one JSON object per line; convert a list of objects, for example with "
            "jq -c '.[]' FILE.json > FILE.jsonl"
        )
    if file.fields and sample:
        raise ValueError(no_fields(options, file.shown))
    layout = layout_of([line[:SAMPLE] for line in sample], options, file)
    findings.add(layout.documents, layout.sentences)
    everything = chain(_emptied(sample), lines)
    for name, text in _divide(everything, layout.documents, file.name):
        yield Document(name, file.name, text, ends=layout.sentences)


def no_fields(options: CorpusOptions, shown: str) -> str:
    """The message for a --text-field that cannot act."""
    return (
        f"--text-field {options.text_field} does not apply to {shown}: only JSONL, CSV, TSV and parquet files have "
        "fields; omit it"
    )


def _emptied(lines: list[str]) -> Iterator[str]:
    """Yield the lines and forget them, since one of them may be very long."""
    lines.reverse()
    while lines:
        yield lines.pop()


def _divide(lines: Iterable[str], documents: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each document: the file, its lines, or its blocks between blank lines."""
    block, count = Block(), 0
    for line in lines:
        blank = line.isspace()
        if not blank or (block.lines and documents == "file"):
            block.add(line)
        if block.lines and (documents == "line" or (blank and documents == "blank")):
            del line
            yield f"{name}#{count}", block.take()
            count += 1
    if block.lines:
        yield name if documents == "file" else f"{name}#{count}", block.take()


class Block:
    """The lines of a document, joined a thousand at a time: a short line takes much more memory than its text."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.lines: list[str] = []  # never empty once there is a line

    def add(self, line: str) -> None:
        if len(self.lines) == 1000:
            self.parts.append("".join(self.lines))
            self.lines.clear()
        self.lines.append(line)

    def take(self) -> str:
        """The text so far; the block is empty afterwards."""
        if len(self.lines) == 1 and not self.parts:
            return self.lines.pop()
        text = "".join((*self.parts, *self.lines))
        self.parts.clear()
        self.lines.clear()
        return text


class Layout(NamedTuple):
    """What divides a text file into documents ("file", "line", "blank") and these into sentences."""

    documents: str
    sentences: SentenceEnds


def layout_of(lines: Sequence[str], options: CorpusOptions, file: Source) -> Layout:
    """The layout of a text file that begins with these lines: as the options say, or as it looks.

    Documents end at blank lines, with two exceptions: in a folder of many small files that are not of
    google-research/bert's form, each file is a document; and if the corpus is one file without blank lines, each line
    is a document.
    """
    sentences = sentence_ends_of(lines) if options.sentences == "auto" else options.sentences
    documents: str = options.documents
    if documents == "auto":
        full = [line for line in lines if not line.isspace()]
        blank_lines = len(full) < len(lines)
        documents = "blank"
        if file.whole and sentences != "lines":
            documents = "file"
        elif file.alone and not blank_lines and len(full) >= 2 and sentences != "marks":
            documents = "line"
    if documents == "line" and options.sentences == "auto":
        sentences = "marks"
    return Layout(documents, sentences)


def looks_like_jsonl(lines: Iterable[str]) -> bool:
    """Whether the first line that is not blank is a JSON object."""
    first = next((line for line in lines if line and not line.isspace()), "")
    if not first.lstrip().startswith("{"):
        return False
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and bool(record)
