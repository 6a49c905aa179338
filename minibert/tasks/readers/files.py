"""Task files as bytes and as lines of text, whether from a file or from standard input."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minibert.base.streams import standard_input

BOM = "\ufeff"
OTHERS = {  # the first bytes of data that is not text -> what it is
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"BZh91AY&SY": "compressed with bzip2",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"%PDF-": "a PDF",
}
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
    return Source(path, inner.suffix.lower(), decompressed(path.read_bytes(), path))


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
    data, path = source.data, source.path
    found = next((what for magic, what in OTHERS.items() if data.startswith(magic)), None)
    if found is None and b"\x00" in data[:2]:
        found = "UTF-16 without a byte order mark"
    if found is not None:
        raise ValueError(f"{path} is {found}; expected text in UTF-8{how_to_convert(found)}")
    try:
        return data.decode("utf-8").removeprefix(BOM)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}; "
            "convert it to UTF-8 first, for example with iconv -f LATIN1 -t UTF-8"
        ) from None


def how_to_convert(found: str) -> str:
    return f", for example from iconv -f {found.split()[0]} -t UTF-8" if found.startswith("UTF") else ""


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
