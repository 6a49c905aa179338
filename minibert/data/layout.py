"""Recognise how a text is laid out: wrapped lines, one sentence a line, or one paragraph a line.

The decision depends only on the lines that it is given, the beginning of a file, so it is the same in every run.
"""

from collections.abc import Sequence
from itertools import pairwise

from minibert.text.sentences import SentenceEnds, breaks_anywhere, ends_in_mark, has_capitals, split_sentences

FEWEST_LINES = 4  # with fewer lines than this there is nothing to recognise
MANY_END_IN_MARKS = 0.6  # share of the lines before others that end in a mark, from which on lines are not wrapped
FULL_LINES = 0.7  # share of the lines with no space for the next word, from which on lines are wrapped
SMALL_BEGINNINGS = 0.2  # share of the lines that begin with a small letter, from which on lines are wrapped
MORE_SENTENCES = 0.2  # mean number of further sentences in a line, up to which each line is one sentence


def sentence_ends_of(lines: Sequence[str]) -> SentenceEnds:
    """What ends a sentence in a text with these lines; blank lines separate blocks.

    "marks" for wrapped lines, and where no line is followed by another; "lines" for one sentence a line, as in
    google-research/bert's format; "both" for lines that hold whole paragraphs.

    >>> sentence_ends_of(["we sat down", "the tea was hot", "", "it was late", "so we all went home"])
    'lines'
    >>> sentence_ends_of(["It was late, and so we", "all went home. The tea", "was cold by then. Was", "it mine?"])
    'marks'
    """
    lines = [line.strip() for line in lines]
    full = [line for line in lines if line]
    followed = [(line, following) for line, following in pairwise(lines) if line and following]
    if len(full) < FEWEST_LINES or not followed:
        return "marks"
    if _are_wrapped(followed, has_capitals("\n".join(full))):
        return "marks"
    return "lines" if further_sentences(full) <= MORE_SENTENCES else "both"


def further_sentences(lines: Sequence[str]) -> float:
    """The mean number of sentences in a line after the first; capitals count if the lines together have any."""
    capitals = has_capitals("\n".join(lines))
    return sum(len(split_sentences(line, capitals=capitals)) - 1 for line in lines) / len(lines)


def _next_unit(line: str) -> int:
    """The number of characters that the line before would have needed to take one more word."""
    return 1 if breaks_anywhere(line) else 1 + len(line.split()[0])


def _are_wrapped(followed: Sequence[tuple[str, str]], capitals: bool) -> bool:
    """Whether lines were broken where the next word did not fit, rather than where a sentence or paragraph ended.

    followed: lines, each with the line that follows it; capitals: whether the text has any.
    """
    if sum(ends_in_mark(line) for line, _ in followed) >= MANY_END_IN_MARKS * len(followed):
        return False
    lengths = sorted(len(line) for line, _ in followed)
    width = lengths[int(0.95 * (len(lengths) - 1))]
    no_space = sum(len(line) + _next_unit(following) > width for line, following in followed)
    if no_space >= FULL_LINES * len(followed):
        return True
    small = sum(following[0].islower() for _, following in followed)
    return capitals and small >= SMALL_BEGINNINGS * len(followed)
