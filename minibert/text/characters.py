"""The properties of single characters that BERT's normaliser needs.

Python's own tables cannot be used: they grow with every Python version, and they differ from the tables of
`tokenizers` on about 500 characters.  The sets below are frozen in unicode_tables.py instead.  Only two properties
are still looked up in Python's `unicodedata`, and only for characters in a frozen set: a character's decomposition
and its combining class.  Unicode's stability policy promises that neither property of an assigned character changes.
"""

import re
import unicodedata
from bisect import bisect_right
from functools import cache

from minibert.text import unicode_tables


class CharacterSet:
    """A set of characters, stored as ranges of code points.

    >>> vowels = CharacterSet("61 65 69 6F 75")
    >>> "e" in vowels, "f" in vowels
    (True, False)
    >>> vowels.regex
    'aeiou'
    """

    def __init__(self, table: str):
        """table: hexadecimal code points and `first-last` ranges in ascending order, as in unicode_tables.py."""
        spans = [word.partition("-") for word in table.split()]
        self._firsts = [int(first, 16) for first, _, _ in spans]
        self._lasts = [int(last or first, 16) for first, _, last in spans]

    def __contains__(self, character: str) -> bool:
        code = ord(character)
        range_before = bisect_right(self._firsts, code) - 1
        return range_before >= 0 and code <= self._lasts[range_before]

    @property
    def regex(self) -> str:
        """The set as the content of a character class in a regular expression, to be used as f"[{...}]"."""
        return "".join(
            re.escape(chr(first)) + (f"-{re.escape(chr(last))}" if last > first else "")
            for first, last in zip(self._firsts, self._lasts, strict=True)
        )


@cache
def character_set(name: str) -> CharacterSet:
    """The set in unicode_tables.py with the given name, such as "PUNCTUATION" (parsed on first use)."""
    return CharacterSet(getattr(unicode_tables, name))


@cache
def white_space() -> frozenset[str]:
    """All white space of Unicode; the clean-up drops three of these characters, and replaces the others by a space."""
    spaces = character_set("WHITESPACE")
    return frozenset(chr(code) for code in range(0x3001) if chr(code) in spaces) | {"\x0b", "\x0c", "\x85"}


def clean(character: str) -> str:
    """Clean up one character: control characters are removed, and any white space becomes a plain space."""
    if character in character_set("WHITESPACE"):
        return " "
    return "" if character in character_set("REMOVED") else character


def spread_chinese(character: str) -> str:
    """Put a space on either side of a Chinese character to make it a word, as Chinese is written without spaces.

    >>> spread_chinese("国"), spread_chinese("a")
    (' 国 ', 'a')
    """
    return f" {character} " if character in character_set("CHINESE") else character


def decompose(character: str) -> str:
    """The canonical decomposition (NFD) of a character: the letter, then its accents.

    >>> [unicodedata.name(part) for part in decompose("é")]
    ['LATIN SMALL LETTER E', 'COMBINING ACUTE ACCENT']
    """
    return unicodedata.normalize("NFD", character) if character in character_set("DECOMPOSED") else character


def combining_class(character: str) -> int:
    """The canonical combining class, by which NFD sorts consecutive marks; 0 for a letter."""
    return unicodedata.combining(character) if character in character_set("COMBINING") else 0


def is_accent(character: str) -> bool:
    """Whether the character is a nonspacing mark, which stripping accents removes."""
    return character in character_set("NONSPACING")


def lower(character: str) -> str:
    """Lower-case one character without looking at its neighbours, so that the Greek capital sigma always becomes σ.

    >>> lower("É"), lower("Σ"), lower("ß"), len(lower("İ"))
    ('é', 'σ', 'ß', 2)
    """
    return _lower_case().get(character, character)


@cache
def _lower_case() -> dict[str, str]:
    """A dictionary from capital to small letters, made from the runs in LOWER (`first-last/step+distance`)."""
    small = {"\u0130": "i\u0307"}  # İ, the only character that becomes two characters: an i and a combining dot above
    for run in unicode_tables.LOWER.split():
        (parts,) = re.findall(r"^(\w+)(?:-(\w+))??(?:/(2))?([+-]\w+)$", run)
        first, last, step, distance = parts
        for code in range(int(first, 16), int(last or first, 16) + 1, int(step or 1)):
            small[chr(code)] = chr(code + int(distance, 16))
    return small
