"""Split text into sentences, by rules.

Three rules find the ends of sentences, one after the other:

- An empty line always ends a sentence.
- A mark that can only end a sentence does so: the full stops, question and exclamation marks of Chinese, Hindi,
  Arabic, Armenian, Amharic, Burmese and other scripts (Unicode's property Sentence_Break, UAX #29).  Thai and Lao have
  no such marks; there, the spaces between sentences and clauses end them.
- `.`, `!`, `?` and `…` end a sentence before white space, unless a small letter follows or the word before is an
  abbreviation.  A document without capitals has no such clue, so there a small letter may follow.

The third rule suits edited English prose: speeches, news, books.  It fails for a sentence that ends in a title or an
initial ("Plan B. We ..." is not split), for a sentence that begins with a lower-case letter in a document that has
capitals ("iPhones sell." joins the sentence before), and for a full stop without a space after it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

SentenceEnds = Literal["marks", "lines", "both"]
"""What ends a sentence: marks (a line break is white space), line breaks (each line is a sentence), or both."""

_LINE = re.compile(r"\n")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")  # an empty line
# A mark that may end a sentence, any closing quotes and brackets, white space, and a lookahead at what follows.  Each
# run of characters is looked at once, so that the time is linear: hence the lookbehinds and the possessive `++`.
_END = re.compile(
    r"""(?<! [.!?…] ) (?P<mark> [.!?…]++ ) ["'”’»)\]“‘«›‹」』】》〉）]*+ \s++
    (?= [-"'“‘«(\[•–—¿¡„‚»›‹「『【《〈（\s]*+ (?P<next> \w+ (?: ['’]\w+ )? ) )""",
    re.VERBOSE,
)
_LAST_WORD = re.compile(r"(?<![\w.'’&-])[\w.'’&-]+\Z")
_LONGEST_WORD = 100  # the number of characters before a mark that are searched for an abbreviation or an enumerator
_HEAD = 10_000  # the number of characters at a document's beginning in which capitals are counted
_LETTERS_FOR_A_CAPITAL = 500  # with fewer capitals than one in so many letters, a document has none to speak of

# Abbreviations that never end a sentence, because a name or a number follows
_TITLES = frozenset(
    """mr mrs ms messrs mme mlle dr prof hon rev fr st ste mt ft gen col capt cpt lt maj sgt cpl pvt adm brig cmdr
    gov sen rep pres supt insp amb atty no nos art sec secs fig vol pp dept univ""".split()
)
_JOINERS = frozenset(["v", "vs", "viz", "cf", "ca", "approx"])  # nor do these, always lower-case
# Abbreviations that end a sentence only before a word that often begins one, as in "by the U.S. The ..."
_SHORT = frozenset(
    """jr sr esq co cos inc corp ltd bros etc al ed eds assn ave blvd rd jan feb mar apr jun jul aug sept sep oct
    nov dec mon tue tues wed thu thurs fri sat sun ariz calif colo conn fla ga ill ind kans ky la mass md mich minn
    miss mo nebr nev okla ore pa penn tenn tex va vt wash wis wyo""".split()
)
_BEGINNERS = frozenset(
    """the this that these those there a an we i it he she they you our my his her its their in on at for from with
    by to under after before during since when while if as although though because but and or nor so yet for not
    now then thus today here what who how why let no all many most some such both each every another however
    moreover therefore""".split()
)
_SUBJECTS = frozenset("i he she it we you they there this these those what who how why".split())
# Of these abbreviations, those that are English words once they are written small
_WORDS = frozenset("no art fig la sat sun mass miss ill wash ore mar pa dec".split())
_ENUMERATOR = re.compile(r"[\W_]*(?:\d{1,3}|[a-zA-Z]|[ivxIVX]+)[.)]+", re.ASCII)  # "1." or "(b)." or "IV."


def split_sentences(text: str, ends: SentenceEnds = "marks", capitals: bool | None = None) -> list[str]:
    """The sentences of a text, in order, without the white space around them.

    ends: "marks" for running text, in which an empty line always ends a sentence, so that headings stand alone, and a
    single line break counts as white space; "lines" for one sentence a line; "both" for one paragraph a line.
    capitals: whether sentences begin with capitals; None to look at the text.

    >>> split_sentences('Mr. Adams met John Q. Public at 3.30 p.m. in St. Louis. "Why?" he asked. Nobody knew!')
    ['Mr. Adams met John Q. Public at 3.30 p.m. in St. Louis.', '"Why?" he asked.', 'Nobody knew!']
    >>> split_sentences("It costs the U.S. Treasury $1.5 million. So says the U.S. The House agrees.")
    ['It costs the U.S. Treasury $1.5 million.', 'So says the U.S.', 'The House agrees.']
    >>> split_sentences("INDIAN AFFAIRS\\n\\n1. The tribes are\\nat peace.")
    ['INDIAN AFFAIRS', '1. The tribes are\\nat peace.']
    >>> split_sentences("他说：“你好！”天气很好。我们走吧。")
    ['他说：“你好！”', '天气很好。', '我们走吧。']
    >>> split_sentences("one line\\nand another", ends="lines")
    ['one line', 'and another']
    """
    return list(iterate_sentences(text, ends, capitals))


def iterate_sentences(text: str, ends: SentenceEnds = "marks", capitals: bool | None = None) -> Iterator[str]:
    """Yield what split_sentences returns, one sentence after the other, so that a long text takes little memory."""
    for sentence in _untrimmed(text, ends, capitals):
        if trimmed := sentence.strip():
            yield trimmed


def _untrimmed(text: str, ends: SentenceEnds, capitals: bool | None) -> Iterator[str]:
    if ends == "lines":
        yield from _between(_LINE, text)
        return
    capitals = has_capitals(text) if capitals is None else capitals
    spaces = _ends_at_spaces(text)
    for paragraph in _between(_LINE if ends == "both" else _PARAGRAPH, text):
        for part in _parts(paragraph, spaces):
            yield from _english(part, capitals)


def _between(separator: re.Pattern, text: str) -> Iterator[str]:
    """Yield the pieces of a text between separators."""
    begin = 0
    for found in separator.finditer(text):
        yield text[begin : found.start()]
        begin = found.end()
    yield text[begin:] if begin else text


def has_capitals(text: str) -> bool:
    """Whether capitals in a text can show where a sentence begins; True for a text without any small letters, too."""
    head = text[:_HEAD]
    small = sum(map(str.islower, head))
    return small == 0 or sum(map(str.isupper, head)) * _LETTERS_FOR_A_CAPITAL >= small


def ends_in_mark(sentence: str) -> bool:
    """Whether a sentence ends in a mark of any script, perhaps before closing quotes and brackets."""
    return _patterns()["closed"].search(sentence[-_LONGEST_ENDING:]) is not None


def breaks_anywhere(text: str) -> bool:
    """Whether a text begins in a script that is written without spaces, so that lines may break between any letters."""
    return _patterns()["anywhere"].match(text) is not None


_LONGEST_ENDING = 20  # characters of marks, quotes, brackets and spaces


@cache
def _patterns() -> dict[str, Any]:
    """Patterns that need Unicode's properties; compiled once, when first used."""
    import regex

    # the marks that only end sentences; Tibetan's are not in the property
    own = r"[[\p{SB=STerm}།༎]--[!?]]"
    close = r"[\p{Pe}\p{Pf}\p{SB=Extend}\p{SB=Format}]*+"
    spaceless = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Bopomofo}\p{Yi}ー]"
    after_own = rf"(?<![.!?…])[.!?…]*+{own}[\p{{SB=STerm}}\p{{SB=ATerm}}།༎…]*+{close}(?:(?<quote>\"){close})?"
    continues = r"(?!\p{SB=Sp}*\p{SB=SContinue})"  # as in "！，": rule SB8a
    # a stop between two letters of a script that is written without spaces
    between = rf"(?<=[{spaceless}\p{{Pe}}\p{{Pf}}])[.!?．]+{close}(?=\s*[{spaceless}\p{{Ps}}\p{{Pi}}])"
    greek = r"(?<=\p{Greek})[;\u037e](?=\s+[\p{Ps}\p{Pi}]*\p{Lu})"  # its question mark
    sources = dict(
        own=rf"{after_own}{continues}|{between}|{greek}",
        some=rf"{own}|．|[;\u037e]|[.!?](?:{close})(?:{spaceless}|[\p{{Ps}}\p{{Pi}}])",  # without these, nothing to do
        spaces=r"(?<=\p{lb=SA})(?<!ๆ)\s+(?=[\p{lb=SA}--[ๆฯ]])",  # between letters of Thai, Lao, Khmer or Burmese
        anywhere=r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{lb=SA}\p{P}&&[^\p{ASCII}]]",
        stops=r"[\p{Khmer}\p{Myanmar}&&\p{SB=STerm}]",
        closed=r"[\p{SB=STerm}\p{SB=ATerm}།༎…;\u037e][\p{Pe}\p{Pf}\p{Pi}\p{SB=Extend}\p{SB=Format}\"'\s]*\Z",
    )
    return {name: regex.compile(source, regex.V1) for name, source in sources.items()}


def _ends_at_spaces(text: str) -> bool:
    """Whether spaces end sentences between letters of scripts like Thai: not if the text has marks for it."""
    if text.isascii():
        return False
    return _patterns()["spaces"].search(text) is not None and _patterns()["stops"].search(text) is None


def _parts(paragraph: str, spaces: bool) -> list[str]:
    """Cut a paragraph after the marks that can only end a sentence and, if so asked, at the spaces of Thai."""
    if paragraph.isascii() or not (spaces or _patterns()["some"].search(paragraph)):
        return [paragraph]
    parts, begin = [], 0
    for found in _patterns()["own"].finditer(paragraph):
        end = found.end()
        if found["quote"] and paragraph.count('"', begin, found.start()) % 2 == 0:
            end = found.start("quote")  # the straight quote opens the next sentence
        parts.append(paragraph[begin:end])
        begin = end
    parts.append(paragraph[begin:])
    return [piece for part in parts for piece in _patterns()["spaces"].split(part)] if spaces else parts


def _english(text: str, capitals: bool) -> Iterator[str]:
    """Split a paragraph at `.`, `!`, `?` and `…`."""
    begin = 0
    for end in _END.finditer(text):
        before = text[max(begin, end.start("mark") - _LONGEST_WORD) : end.start("mark")]
        if _ends_sentence(before, end["mark"], end["next"], capitals):
            yield text[begin : end.end()]
            begin = end.end()
    yield text[begin:] if begin else text


def _ends_sentence(before: str, mark: str, following: str, capitals: bool) -> bool:
    """Whether a mark ends a sentence.

    before: the sentence up to the mark, or its end; following: the word after the mark; capitals: whether the text has
    any.
    """
    if following[0].islower() and capitals:
        return False
    if len(before) < _LONGEST_WORD and _ENUMERATOR.fullmatch(before + mark):
        return False  # "1. The ..." is one sentence
    if mark != ".":
        return True
    found = _LAST_WORD.search(before)
    word = found[0] if found else ""
    if word.lower() in _TITLES:  # "No. 5" and "no. 5", but "he said no. Then"
        return not (_as_abbreviation(word, capitals) or following[0].isdigit())
    if word in _JOINERS:
        return False
    if len(word) == 1 and (word.isupper() or not capitals) and word.upper() not in "IVX":
        return False  # an initial; but I, V and X are more often numbers
    dotted = "." in word.strip(".") and not any(character.isdigit() for character in word)  # but not "1.50"
    if dotted or (word.lower() in _SHORT and _as_abbreviation(word, capitals)):
        return following.lower() in (_BEGINNERS if capitals else _SUBJECTS)  # "U.S.", "p.m.", "Jr."
    return True


def _as_abbreviation(word: str, capitals: bool) -> bool:
    """Whether a word that may be an abbreviation is written like one: with a capital, if the text has any."""
    return word[0].isupper() if capitals else word.lower() not in _WORDS
