"""Task files as bytes and as lines of text, whether from a file or from standard input."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minibert.base.beginnings import HEAD, check_pointer, not_text, not_utf8
from minibert.base.streams import standard_input

BOM = "\ufeff"
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"


@dataclass(frozen=True)
class Source:
    """The contents of a file or of standard input."""

    path: Path
    """its name, for error messages"""
    suffix: str
    """the extension, in lower case and without .gz; "" for none"""
    data: bytes
    """the contents, decompressed if they were compressed with gzip"""


def open_file(path: Path | str) -> Source:
    """Read a file.  Raises FileNotFoundError if there is none, and ValueError for damaged gzip data."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is a folder; expected a file" if path.is_dir() else f"no such file: {path}")
    inner = Path(path.stem) if path.suffix.lower() == ".gz" else path
    data = path.read_bytes()
    check_pointer(path, data[:HEAD])
    return Source(path, inner.suffix.lower(), decompressed(data, path))


def open_standard_input() -> Source:
    """Read standard input, in the same way as a file."""
    path = Path("standard input")
    return Source(path, "", decompressed(standard_input().read(), path))


def decompressed(data: bytes, path: Path) -> bytes:
    """The data itself, or what it contains if it is compressed with gzip."""
    if not data.startswith(GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged gzip data ({error}); expected a complete file") from None


def text_of(source: Source) -> str:
    """The text, without a byte order mark.  Raises ValueError if the data is not UTF-8, saying what it is instead."""
    if found := not_text(source.data[:HEAD]):
        raise ValueError(f"{source.path} is {found.what}; expected text in UTF-8: {found.advice}")
    try:
        return source.data.decode("utf-8").removeprefix(BOM)
    except UnicodeDecodeError as error:
        raise not_utf8(source.path, source.data, error) from None


class Lines:
    """The lines of a text, each cut out when it is its turn: a list of short lines takes many times the text's memory.

    Lines end at a line feed, perhaps after a carriage return, or in a text without line feeds at a carriage return.
    Other characters, such as U+2028, end no line.

    >>> list(Lines("one\\r\\n\\ntwo"))
    ['one', '', 'two']
    """

    def __init__(self, text: str) -> None:
        self.text = text if "\n" in text else text.replace("\r", "\n")

    def __iter__(self) -> Iterator[str]:
        text, begin = self.text, 0
        while (end := text.find("\n", begin)) >= 0:
            yield text[begin:end].removesuffix("\r")
            begin = end + 1
        if begin < len(text):
            yield text[begin:].removesuffix("\r")


def lines_of(source: Source) -> Lines:
    """The lines of a text file.  Raises ValueError if it is no text in UTF-8."""
    return Lines(text_of(source))
