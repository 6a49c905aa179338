"""Cut a very long text into slices, so that work on it takes little memory."""

import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n]")


def slices(text: str, size: int) -> Iterator[str]:
    """Yield a text in slices of at least `size` characters, cut at white space; a short text is one slice.

    A text without white space is cut anywhere, into slices of at most twice the size.

    >>> list(slices("to be or not to be", 6))
    ['to be or', ' not to', ' be']
    """
    begin = 0
    while len(text) - begin > size:
        found = _SPACE.search(text, begin + size, begin + 2 * size)
        end = found.start() if found else min(begin + 2 * size, len(text))
        yield text[begin:end]
        begin = end
    if begin < len(text):
        yield text[begin:] if begin else text
