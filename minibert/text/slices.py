"""Cut a very long text into slices, so that work on it takes little memory."""

import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n]")


def slices(text: str, size: int) -> Iterator[str]:
    """Yield a text in slices of at least `size` characters, cut at white space; a short text is one slice.

    >>> list(slices("to be or not to be", 6))
    ['to be or', ' not to', ' be']
    """
    begin = 0
    while len(text) - begin > size:
        found = _SPACE.search(text, begin + size)
        if found is None:
            break
        yield text[begin : found.start()]
        begin = found.start()
    yield text[begin:] if begin else text
