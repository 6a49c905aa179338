"""A griffe extension for the API reference: doctests in docstrings become blocks of code."""

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"(?:^|(?<=\n))>>>.*?(?=\n\n|\Z)", re.DOTALL)  # to the next empty line


class DoctestBlocks(griffe.Extension):
    """Indents doctests, which Markdown then leaves as they are."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = DOCTEST.sub(indented, obj.docstring.value)


def indented(match: re.Match[str]) -> str:
    """A doctest after an empty line, each of its lines four spaces further in."""
    return "\n" + "\n".join(f"    {line}" for line in match[0].splitlines())
