"""Added tokens: words that are found in a text as they are, before WordPiece splits what lies between them.

They come from `add_tokens` and `add_special_tokens` of `transformers`, and behave as in the `tokenizers` library: most
special tokens are looked for in the text as given, ordinary added words in the normalised text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from minibert.text.characters import character_set, white_space


@dataclass(frozen=True)
class AddedToken:
    """A token that is never split.

    content: its text; special: whether decoding leaves it out.
    normalized: whether it is looked for in the normalised text, after normalising the content, or in the text as given.
    single_word: whether it is ignored beside a letter, a digit or a mark.
    lstrip, rstrip: whether the white space on its left or right belongs to it.
    """

    content: str
    special: bool = False
    normalized: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is matched wherever it occurs, without the white space around it."""
        return not (self.single_word or self.lstrip or self.rstrip)


class AddedTokens:
    """Finds added tokens in text.

    >>> found = AddedTokens({"new york": (7, AddedToken("new york", lstrip=True))})
    >>> list(found.split("in new york."))
    [(0, 2, None), (2, 11, 7), (11, 12, None)]
    """

    def __init__(self, tokens: dict[str, tuple[int, AddedToken]]):
        """tokens: the text to look for -> (token id, the token)."""
        self._tokens = tokens
        longest_first = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if tokens else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    @property
    def within_chunks(self) -> bool:
        """Whether no match can contain white space."""
        space = white_space()
        return not any(
            token.lstrip or token.rstrip or not space.isdisjoint(text) for text, (_, token) in self._tokens.items()
        )

    def split(self, text: str) -> Iterator[tuple[int, int, int | None]]:
        """Yield the parts of a text as (start, end, id of the added token, or None for ordinary text).

        Where several tokens begin at the same position, the longest is taken.
        """
        end = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            start, stop = match.span()
            token_id, token = self._tokens[match[0]]
            if not token.plain:
                if token.single_word and _touches_word(text, start, stop):
                    continue
                start, stop = _with_space(token, text, start, stop, end)
            if end < start:
                yield end, start, None
            yield start, stop, token_id
            end = stop
        if end < len(text):
            yield end, len(text), None


def _touches_word(text: str, start: int, stop: int) -> bool:
    words = character_set("WORD")
    return (start > 0 and text[start - 1] in words) or (stop < len(text) and text[stop] in words)


def _with_space(token: AddedToken, text: str, start: int, stop: int, free: int) -> tuple[int, int]:
    """Extend a match over white space; free: the end of the previous match, beyond which nothing is taken."""
    space = white_space()
    if token.lstrip:
        while start > free and text[start - 1] in space:
            start -= 1
    while token.rstrip and stop < len(text) and text[stop] in space:
        stop += 1
    return start, stop
