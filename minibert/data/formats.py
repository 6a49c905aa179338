"""The formats of corpus files: which one a file has, by its name and its first bytes, and how it is opened."""

import bz2
import gzip
import io
import lzma
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from minibert.base.beginnings import HEAD, check_pointer, not_text, not_utf8
from minibert.base.progress import require

TEXT, JSONL, CSV, TSV, PARQUET = "text", "JSONL", "CSV", "TSV", "parquet"
KINDS = {
    ".txt": TEXT,
    ".text": TEXT,
    ".md": TEXT,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}
READABLE = ".txt, .md, .jsonl, .csv, .tsv or .parquet, also with .gz, .bz2, .xz or .zst"
RECORDS = JSONL, CSV, TSV, PARQUET  # the kinds in which each record is a document

MARKUP = {  # how files of markup begin, in small letters -> what they are, and how to go on
    b"<?xml": ("XML", "extract its text"),
    b"<mediawiki": ("a dump of a wiki", "extract its text, for example with WikiExtractor --json"),
    b"<doc id=": ("the output of WikiExtractor", "run it with --json, and give the names the ending .jsonl"),
    b"<!doctype": ("HTML", "extract its text"),
    b"<html": ("HTML", "extract its text"),
}


class Format(NamedTuple):
    """The format of a file, as its name says: one of the kinds, None if unknown, and its compression's ending or ""."""

    kind: str | None
    compression: str


def format_of(path: Path) -> Format:
    """The format that the endings of a file's name stand for, whatever their case."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    compression = endings.pop() if endings and endings[-1] in COMPRESSIONS else ""
    return Format(KINDS.get(endings[-1]) if endings else None, compression)


def check_file(path: Path, kind: str, compression: str) -> None:
    """Check the packages that a file needs and its first bytes; read nothing of a file that can be read only once.

    Raises ModuleNotFoundError when a package is missing, ValueError when the file is not what its name says.
    """
    if compression == ".zst":
        require(f"reading {path}", "zstandard")
    if kind == PARQUET:
        require(f"reading {path}", "pyarrow")
    if path.is_file() and kind == PARQUET:
        with path.open("rb") as file:
            check_pointer(path, file.read(HEAD))
    elif path.is_file():
        with guarded(path), open_bytes(path, compression) as stream:
            check_head(stream.read(HEAD), path, compression)


def check_head(head: bytes, name: Path | str, compression: str = "") -> None:
    """Raise ValueError if the first bytes of a file (or standard input) are not those of plain text in UTF-8."""
    inside = f" inside {COMPRESSIONS[compression]}" if compression else ""
    if found := not_text(head):
        ending = next((end for end, what in COMPRESSIONS.items() if found.what == f"compressed with {what}"), "")
        advice = f"{found.advice}, or give its name the ending {ending}" if ending else found.advice
        raise ValueError(f"{name} is not UTF-8 text{inside}: it is {found.what}, by its bytes at offset 0; {advice}")
    begins = head.removeprefix(BOM_UTF8).lstrip().lower()
    for beginning, (what, advice) in MARKUP.items():
        if begins.startswith(beginning):
            raise ValueError(
                f"{name} is not plain text{inside}: it is {what}, since it begins with {beginning.decode()}; {advice}, "
                "or put another line before it to learn the tags too"
            )


def open_bytes(path: Path, compression: str = "") -> BinaryIO:
    """Open a file for reading, decompressed.  Raises ModuleNotFoundError if Zstandard's library is missing."""
    opened: Any
    if compression == ".gz":
        opened = gzip.open(path, "rb")
    elif compression == ".bz2":
        opened = bz2.open(path, "rb")
    elif compression == ".xz":
        opened = lzma.open(path, "rb")
    elif compression == ".zst":
        require(f"reading {path}", "zstandard")
        opened = io.BufferedReader(_Zstandard(path.open("rb")))
    else:
        opened = path.open("rb")
    return opened


class _Zstandard(io.RawIOBase):
    """The content of a file of Zstandard frames; unlike the library's own reader, it notices a missing end."""

    def __init__(self, file: BinaryIO) -> None:
        import zstandard

        self.file, self.new_frame = file, zstandard.ZstdDecompressor().decompressobj
        self.frame: Any = None
        self.waiting, self.content = b"", memoryview(b"")  # compressed data, and content not yet read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.content:
            data = self.waiting or self.file.read(HEAD)
            if not data:
                if self.frame is not None:
                    raise EOFError("the end of a frame is missing")
                return 0
            self.frame = self.frame or self.new_frame()
            self.content, self.waiting = memoryview(self.frame.decompress(data)), b""
            if self.frame.eof:
                self.frame, self.waiting = None, self.frame.unused_data
        size = min(len(buffer), len(self.content))
        buffer[:size], self.content = self.content[:size], self.content[size:]
        return size

    def close(self) -> None:
        self.file.close()
        super().close()


@contextmanager
def guarded(name: Path | str) -> Iterator[None]:
    """A context manager that turns the errors of damaged compressed data into a ValueError that names the file."""
    try:
        yield
    except Exception as error:
        raise named(error, name) from None


def named(error: Exception, name: Path | str) -> Exception:
    """The error itself, or for that of damaged compressed data a ValueError that names the file."""
    damaged = isinstance(error, EOFError | zlib.error | lzma.LZMAError) or type(error).__name__ == "ZstdError"
    if damaged or (isinstance(error, OSError) and error.errno is None):  # gzip and bz2 raise OSError
        return ValueError(f"{name} is damaged or incomplete ({error}); download it or compress it again")
    return error


def decoded_lines(stream: BinaryIO, name: Path | str) -> Iterator[str]:
    """Yield the lines of a binary stream as text; a byte-order mark at the beginning is dropped.

    Lines end at a line feed, or in data without line feeds at a carriage return.
    Raises ValueError for bytes that are not UTF-8 (with their offset), and for damaged compressed data.
    """
    offset = 0
    lines = iter(stream)
    while True:
        try:
            line = next(lines, b"")
        except Exception as error:  # not by `guarded`, which would take longer than reading a short line
            raise named(error, name) from None
        if not line:
            return
        if offset == 0:
            check_head(line[:HEAD], name)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(name, line, error, offset) from None
        first, size = offset == 0, len(line)
        line = b""  # a line may be as large as the corpus, so its bytes are not kept beside its text
        text = text.removeprefix("\ufeff") if first else text
        if first and "\r" in text and not text.endswith("\n"):
            yield from (part + "\n" for part in text.split("\r"))
            return
        yield text
        offset += size
