"""The formats of corpus files: which one a file has, by its name and its first bytes, and how it is opened."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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

# the first bytes of what may stand in a file under a wrong name, and how to go on
BEGINNINGS = (
    (b"\xff\xfe\0\0", "it begins with the byte-order mark of UTF-32", "convert it with iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "it begins with the byte-order mark of UTF-16", "convert it with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "it begins with the byte-order mark of UTF-16", "convert it with iconv -f UTF-16 -t UTF-8"),
    (b"\x1f\x8b", "it is compressed with gzip", "give its name the ending .gz"),
    (b"BZh91AY", "it is compressed with bzip2", "give its name the ending .bz2"),
    (b"\xfd7zXZ\0", "it is compressed with xz", "give its name the ending .xz"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with Zstandard", "give its name the ending .zst"),
    (b"PK\x03\x04", "it is a zip archive (or a .docx, .xlsx or .epub file)", "unpack it, or save it as text"),
    (b"PAR1\x15", "it is a parquet file", "give its name the ending .parquet"),
    (b"%PDF-", "it is a PDF", "convert it with pdftotext"),
    (b"{\\rtf", "it is an RTF file", "save it as text"),
    (b"\x89HDF", "it is an HDF5 file", "export its text"),
    (b"SQLite format 3", "it is an SQLite database", "export its text"),
)
HEAD = 4096  # bytes


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
    if path.is_file() and kind != PARQUET:
        with guarded(path), open_bytes(path, compression) as stream:
            check_head(stream.read(HEAD), path, compression)


def check_head(head: bytes, name: Path | str, compression: str = "") -> None:
    """Raise ValueError if the first bytes of a file (or standard input) are not those of text in UTF-8."""
    inside = f" inside {COMPRESSIONS[compression]}" if compression else ""
    for beginning, what, advice in BEGINNINGS:
        if head.startswith(beginning):
            raise ValueError(f"{name} is not UTF-8 text{inside}: {what}, by its bytes at offset 0; {advice}")
    zeros = head.count(0)
    if zeros >= max(1, len(head) // 4):
        order = "LE" if head[1::2].count(0) > zeros // 2 else "BE"
        raise ValueError(
            f"{name} is not UTF-8 text{inside}: {zeros} of its first {len(head)} bytes are zero, as in UTF-16 without "
            f"a byte-order mark; if it is text, convert it with iconv -f UTF-16{order} -t UTF-8"
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
            raise ValueError(
                f"{name} is not UTF-8: byte 0x{line[error.start]:02x} at offset {offset + error.start}; "
                "convert it to UTF-8 first, for example with iconv -f LATIN1 -t UTF-8"
            ) from None
        first, size = offset == 0, len(line)
        line = b""  # a line may be as large as the corpus, so its bytes are not kept beside its text
        yield text.removeprefix("\ufeff") if first else text
        offset += size
