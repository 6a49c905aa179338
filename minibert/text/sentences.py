"""Rule-based sentence splitting for prose.

The rules suit edited English prose: speeches, news, books.  They fail for a sentence that ends in a title or
an initial ("Plan B. We ..." is not split), for a sentence that begins with a lower-case letter ("iPhones sell." joins
the sentence before), for a full stop without a space after it, and for languages without `.`, `!` or `?`.
"""

import re

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")  # an empty line
# A mark that may end a sentence, any closing quotes and brackets, white space, and a lookahead at what follows
_END = re.compile(
    r"""(?P<mark> [.!?…]+ ) ["'”’»)\]]* \s+ (?= [-"'“‘«(\[•–—\s]* (?P<next> \w+ (?: ['’]\w+ )? ) )""", re.VERBOSE
)
_LAST_WORD = re.compile(r"[\w.'’&-]+\Z")

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
_ENUMERATOR = re.compile(r"[\W_]*(?:\d{1,3}|[a-zA-Z]|[ivxIVX]+)[.)]+", re.ASCII)  # "1." or "(b)." or "IV."


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without the white space around them.

    An empty line always ends a sentence, so headings stand alone; a single line break counts as white space.

    >>> split_sentences('Mr. Adams met John Q. Public at 3.30 p.m. in St. Louis. "Why?" he asked. Nobody knew!')
    ['Mr. Adams met John Q. Public at 3.30 p.m. in St. Louis.', '"Why?" he asked.', 'Nobody knew!']
    >>> split_sentences("It costs the U.S. Treasury $1.5 million. So says the U.S. The House agrees.")
    ['It costs the U.S. Treasury $1.5 million.', 'So says the U.S.', 'The House agrees.']
    >>> split_sentences("INDIAN AFFAIRS\\n\\n1. The tribes are\\nat peace.")
    ['INDIAN AFFAIRS', '1. The tribes are\\nat peace.']
    """
    sentences = []
    for paragraph in _PARAGRAPH.split(text):
        begin = 0
        for end in _END.finditer(paragraph):
            if _ends_sentence(paragraph[begin : end.start("mark")], end["mark"], end["next"]):
                sentences.append(paragraph[begin : end.end()].strip())
                begin = end.end()
        sentences.append(paragraph[begin:].strip())
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(before: str, mark: str, following: str) -> bool:
    """Whether a mark ends a sentence; before: the sentence up to the mark; following: the word after the mark."""
    if following[0].islower():
        return False
    if _ENUMERATOR.fullmatch(before + mark):
        return False  # "1. The ..." is one sentence
    if mark != ".":
        return True
    found = _LAST_WORD.search(before)
    word = found[0] if found else ""
    if word.lower() in _TITLES:
        return not (word[0].isupper() or following[0].isdigit())  # "No. 5" and "no. 5", but "he said no. Then"
    if word in _JOINERS:
        return False
    if len(word) == 1 and word.isupper() and word not in "IVX":
        return False  # an initial; but I, V and X are more often numbers
    dotted = "." in word.strip(".") and not any(character.isdigit() for character in word)  # but not "1.50"
    if dotted or (word.lower() in _SHORT and word[0].isupper()):
        return following.lower() in _BEGINNERS  # "U.S.", "p.m.", "Jr."
    return True
