"""WordPiece: split a word from left to right, each time taking the longest piece that is in the vocabulary.

Source: google-research/bert, tokenization.py, class WordpieceTokenizer; the pieces come from Schuster and
Nakajima 2012 and Wu et al. 2016 (arXiv 1609.08144, section 4.1).
"""

import re
from collections.abc import Mapping

from minibert.text.characters import character_set, white_space

CONTINUATION = "##"  # the prefix, in the vocabulary, of a piece that does not begin a word
MAX_WORD_LENGTH = 100  # in characters; a longer "word" becomes a single [UNK]


def chunk_pattern(clean_text: bool = True) -> re.Pattern[str]:
    """A pattern that matches each chunk of a text before normalisation: a run of characters without white space.

    clean_text: whether the normaliser drops control characters; if so, they are no white space.

    >>> chunk_pattern().findall("Don't\\tstop (now). ")
    ["Don't", 'stop', '(now).']
    """
    space = character_set("WHITESPACE").regex if clean_text else "".join(sorted(white_space()))
    return re.compile(f"[^{space}]+")


def word_pattern() -> re.Pattern[str]:
    """A pattern that matches the words of normalised text: punctuation marks, and runs without space or punctuation.

    >>> word_pattern().findall("don't stop (now).")
    ['don', "'", 't', 'stop', '(', 'now', ')', '.']
    """
    punctuation = character_set("PUNCTUATION").regex
    return re.compile(f"[{punctuation}]|[^{''.join(sorted(white_space()))}{punctuation}]+")


def split_into_pieces(
    word: str,
    ids: Mapping[str, int],
    longest: int = MAX_WORD_LENGTH,
    *,
    continuation: str = CONTINUATION,
    max_word_length: int | None = None,
) -> list[tuple[int, int, int]] | None:
    """Split a word greedily, taking the longest matching piece first.

    word: a non-empty word; ids: piece -> id; longest: length of the longest piece to look for;
    continuation: the prefix of pieces that do not begin a word; max_word_length: by default MAX_WORD_LENGTH.
    Returns a list of (id, start, end), the pieces word[start:end] in order, or None if some part of the word
    matches no piece, in which case the whole word is unknown.

    >>> ids = {"un": 0, "##aff": 1, "##able": 2, "##a": 3}
    >>> split_into_pieces("unaffable", ids)
    [(0, 0, 2), (1, 2, 5), (2, 5, 9)]
    >>> split_into_pieces("unaided", ids) is None
    True
    """
    if len(word) > (MAX_WORD_LENGTH if max_word_length is None else max_word_length):
        return None
    pieces = []
    start = 0
    while start < len(word):
        prefix = continuation if start else ""
        for end in range(min(len(word), start + longest), start, -1):
            piece_id = ids.get(prefix + word[start:end])
            if piece_id is not None:
                break
        else:
            return None
        pieces.append((piece_id, start, end))
        start = end
    return pieces
