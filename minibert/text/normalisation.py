"""Normalise text for WordPiece, and record which original character each normalised character comes from.

Four steps, as in google-research/bert's tokenization.py (class BasicTokenizer): clean up, put spaces around
Chinese characters, strip accents, lower-case.  Every step looks at one character at a time, with one exception
(the order of accents, below), so normalisation maps each character to its replacement, and the origin of
each normalised character is the position of the character that it was made from.
"""

import re
from collections.abc import Callable, Sequence
from itertools import groupby

from minibert.text.characters import (
    character_set,
    clean,
    combining_class,
    decompose,
    is_accent,
    lower,
    spread_chinese,
)


class _Memo(dict):
    """A dictionary from characters to their normalised forms, each computed on first use."""

    def __init__(self, rule: Callable) -> None:
        self.rule = rule

    def __missing__(self, character: str) -> str:
        self[character] = self.rule(character)
        return self[character]


class Normaliser:
    """BERT's normalisation of text; `tokenizers` calls it BertNormalizer.

    lowercase: whether to lower-case (an "uncased" model).
    strip_accents: whether to remove accents; None means the same as lowercase, as in the original BERT.
    tokenize_chinese_chars: whether each Chinese character becomes a word of its own.
    clean_text: whether control characters are removed and white space becomes plain spaces.

    >>> Normaliser().normalise("Ça  va?")[0]
    'ca  va?'
    >>> Normaliser(lowercase=False).normalise("Ça\\tva?")[0]
    'Ça va?'
    """

    def __init__(
        self,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
    ):
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.tokenize_chinese_chars = tokenize_chinese_chars
        self.clean_text = clean_text
        self._strips = lowercase if strip_accents is None else strip_accents
        self._becomes = _Memo(self._normalise_character)
        self._order_shows = re.compile(f"[{character_set('COMBINING_BUT_KEPT').regex}]")

    def normalise(self, text: str) -> tuple[str, Sequence[int]]:
        """Return the normalised text and, for each of its characters, the index in `text` of its origin.

        >>> Normaliser().normalise("Ne")
        ('ne', range(0, 2))
        >>> Normaliser().normalise("né")
        ('ne', [0, 1])
        >>> Normaliser().normalise("a国")
        ('a 国 ', [0, 1, 1, 1])
        """
        if text.isascii() and text.isprintable():  # nothing to clean, to strip or to spread
            return text.lower() if self.lowercase else text, range(len(text))
        made = [self._becomes[character] for character in text]
        normalised = "".join(made)
        if self._strips and self._order_shows.search(normalised):
            return self._normalise_with_order(text)
        return normalised, [index for index, part in enumerate(made) for _ in part]

    def _normalise_character(self, character: str) -> str:
        made = self._prepare(character)
        if self._strips:
            made = "".join(part for part in map(decompose, made) for part in part if not is_accent(part))
        return self._recase(made)

    def _prepare(self, character: str) -> str:
        """Apply the steps that come before accents are stripped."""
        made = clean(character) if self.clean_text else character
        return spread_chinese(made) if made and self.tokenize_chinese_chars else made

    def _recase(self, text: str) -> str:
        return "".join(map(lower, text)) if self.lowercase else text

    def _normalise_with_order(self, text: str) -> tuple[str, list[int]]:
        """Do the work of `normalise` for text in which the order of accents matters.

        NFD sorts the marks on a letter by their combining class.  For most marks the sorting has no effect, as they are
        removed, but `tokenizers`' table of accents lacks some 140 marks.  The sorted order also decides the origins:
        the library assigns the n-th part that starts a character to the n-th character, in the sorted order.
        """
        origins_before = []  # one for each character that is left after the clean-up
        parts = []  # (part, whether it is the first part of its character's decomposition)
        for index, character in enumerate(text):
            for prepared in self._prepare(character):
                origins_before.append(index)
                parts += [(part, index == 0) for index, part in enumerate(decompose(prepared))]

        normalised, origins, started = "", [], 0
        for class_is_zero, group in groupby(parts, key=lambda part: combining_class(part[0]) == 0):
            run = list(group)
            if not class_is_zero:
                run.sort(key=lambda part: combining_class(part[0]))  # a stable sort, like NFD's
            for part, is_first in run:
                started += is_first
                made = "" if is_accent(part) else self._recase(part)
                normalised += made
                origins += [origins_before[started - 1]] * len(made)
        return normalised, origins
