"""A griffe extension for the API reference: doctests and lists of names in docstrings become blocks of code."""

import re
from typing import Any

import griffe

NAME_AND_TEXT = re.compile(r"[\w.*/, -]{0,40}[\w*] {2,}\S")  # "heads     how many there are": a line of a list


class Blocks(griffe.Extension):
    """Indents what Markdown would run together, so that it is left as it is."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = with_blocks(obj.docstring.value)


def with_blocks(text: str) -> str:
    """A docstring in which doctests, and paragraphs whose first line is a name and its text, are indented."""
    return "\n\n".join(indented(part) if is_block(part) else part for part in text.split("\n\n"))


def is_block(paragraph: str) -> bool:
    first = paragraph.lstrip("\n").partition("\n")[0]
    return first.startswith(">>>") or bool(NAME_AND_TEXT.match(first))


def indented(paragraph: str) -> str:
    return "\n".join(f"    {line}" for line in paragraph.splitlines())
