"""What the fuzzer has to know of a reader."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz import mutators as m

ANY = object()  # an oracle's answer where it cannot say what is right


@dataclass(frozen=True)
class Reader:
    name: str
    bases: Callable[[], list[tuple[dict[str, bytes], str]]]
    """valid folders (name -> content), each with the name of the file that is changed"""
    mutators: tuple[m.Mutator, ...]
    read: Callable[[Path, str], Any]
    """(folder, file) -> a value that == compares, through the entry point that the commands use"""
    oracle: Callable[[Path, str], Any] | None = None
    """(folder, file) -> the right value; raises if the library refuses the file; None: the value before the change"""
    harmless: tuple[m.Mutator, ...] = (m.unchanged, m.json_rewritten)
    """changes after which the file must be accepted, with the value before"""
    numbered: bool = False
    """whether every refusal names a line, a row or an offset"""


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def one(name: str, content: bytes) -> Callable[[], list[tuple[dict[str, bytes], str]]]:
    return lambda: [({name: content}, name)]
