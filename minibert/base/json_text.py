"""Read JSON strictly: what Python would take silently, or refuse without a file name, is refused in one line."""

import json
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from minibert.base.beginnings import check_pointer

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8.

    Raises ValueError, naming file and line, for bytes that are not UTF-8, malformed JSON, repeated keys, excessive
    nesting, and half of a surrogate pair; OSError if the file cannot be read.
    """
    data = path.read_bytes()
    check_pointer(path, data)
    if data.startswith(BOM_UTF8):
        raise ValueError(f"{path}, line 1: a byte order mark, which JSON has not; save the file as UTF-8 without it")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {error.start} of the file (0x{data[error.start]:02X}) is not UTF-8; "
            "convert the file to UTF-8"
        ) from None
    value = parse_json(text, path)
    if _ESCAPED_SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError(
                f"{path}: a text contains half of a surrogate pair (\\ud800-\\udfff); expected whole characters"
            ) from None
    return value


def parse_json(text: str, path: Path | str, line: int | None = None) -> Any:
    """Parse a file's JSON, or that of one line.

    Raises ValueError with the file and line for malformed JSON, repeated keys and excessive nesting.
    """
    where = f"{path}, line {line or 1}"
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {line or error.lineno}"
        raise ValueError(f"{where}: not valid JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise ValueError(f"{where}: the JSON is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{where}: not valid JSON ({error})") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} occurs twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repetition)
