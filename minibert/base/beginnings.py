"""What a file is by its first bytes, where it should be text in UTF-8, and what to do about it."""

import re
from typing import NamedTuple

HEAD = 4096  # bytes, which suffice for `not_text`


class NotText(NamedTuple):
    """What data is instead of text in UTF-8, such as "a PDF", and what to do about it."""

    what: str
    advice: str


UNPACK = "unpack it"
POINTER = b"version https://git-lfs.github.com/spec/"
BEGINNINGS = (
    (b"\xff\xfe\0\0", "UTF-32", "convert it with iconv -f UTF-32 -t UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32", "convert it with iconv -f UTF-32 -t UTF-8"),
    (b"\xff\xfe", "UTF-16", "convert it with iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "UTF-16", "convert it with iconv -f UTF-16 -t UTF-8"),
    (b"\x1f\x8b", "compressed with gzip", "decompress it"),
    (b"BZh91AY", "compressed with bzip2", "decompress it"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "decompress it"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4", "decompress it"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook (or .docx, .epub)", "unpack it, or save it as text or CSV"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook or Word document of an older version", "save it as text or CSV"),
    (b"PAR1\x15", "a parquet file", "give its name the ending .parquet"),
    (b"ARROW1\0\0", "an Arrow file", "save the data set with to_parquet or to_json"),
    (b"\xff\xff\xff\xff", "an Arrow file, as save_to_disk writes", "save the data set with to_parquet or to_json"),
    (b"%PDF-", "a PDF", "convert it with pdftotext"),
    (b"{\\rtf", "an RTF file", "save it as text"),
    (b"\x89HDF", "an HDF5 file", "export its text"),
    (b"SQLite format 3", "an SQLite database", "export its text"),
    (b"\x93NUMPY", "a NumPy array", "export its text"),
    (b"\x80\x02", "a Python pickle", "export its text, if you trust it"),
    (b"\x80\x03", "a Python pickle", "export its text, if you trust it"),
    (b"\x80\x04", "a Python pickle", "export its text, if you trust it"),
    (b"\x80\x05", "a Python pickle", "export its text, if you trust it"),
    (POINTER, "a Git LFS pointer instead of the file itself", "fetch the file with git lfs pull"),
    (b"\x89PNG", "a picture (PNG)", "recognise its text with OCR"),
    (b"\xff\xd8\xff", "a picture (JPEG)", "recognise its text with OCR"),
)
TAR, TAR_OFFSET = b"ustar", 257
ISO_2022 = re.compile(rb"\x1b\$[@AB()]")  # the beginning of characters of two bytes, which consist of ASCII


def not_text(head: bytes) -> NotText | None:
    """What data with these first bytes is, if it is not text in UTF-8; None if it may be.

    head: the first HEAD bytes, or all if there are fewer.  Other bytes that are not UTF-8 are found by decoding.

    >>> not_text(b"%PDF-1.7").what, not_text("grün".encode("latin-1"))
    ('a PDF', None)
    """
    for beginning, what, advice in BEGINNINGS:
        if head.startswith(beginning):
            return NotText(what, advice)
    if head[TAR_OFFSET:].startswith(TAR):
        return NotText("a tar archive", "unpack it with tar -xf")
    if ISO_2022.search(head):
        return NotText("ISO-2022, an older encoding of Japanese", "convert it with iconv -f ISO-2022-JP -t UTF-8")
    zeros = head.count(0)
    if zeros >= max(1, len(head) // 4):
        order = "LE" if head[1::2].count(0) > zeros // 2 else "BE"
        return NotText(
            f"UTF-16 without a byte order mark, or no text ({zeros} of its first {len(head)} bytes are zero)",
            f"if it is text, convert it with iconv -f UTF-16{order} -t UTF-8",
        )
    return None


def check_pointer(path: object, head: bytes) -> None:
    """Raise ValueError if a file of any format, with these first bytes, is a pointer that Git LFS left in its place."""
    if head.startswith(POINTER):
        found = not_text(head)
        assert found is not None
        raise ValueError(f"{path} is {found.what}; {found.advice}")


def not_utf8(name: object, data: bytes, error: UnicodeDecodeError, offset: int = 0) -> ValueError:
    """The error to raise for text that is not UTF-8; data: the bytes at `offset`, which gave `error`."""
    return ValueError(
        f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at offset {offset + error.start}; convert it to UTF-8 "
        "first, for example with iconv -f LATIN1 -t UTF-8 (for Japanese -f SHIFT_JIS, for Chinese -f GB18030)"
    )
