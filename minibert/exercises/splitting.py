"""Exercises of lesson 1: from words to pieces."""

from minibert.exercises.exercise import Exercise, Mistake, Try, add

# ----------------------------------------------------------------------------------------- longest_match


def longest_match(word: str, vocabulary: set[str]) -> list[str]:
    """The pieces of a word, greedily the longest first; ["[UNK]"] if some part of it is in no piece."""
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def match_shortest(word: str, vocabulary: set[str]) -> list[str]:
    pieces, start = [], 0
    while start < len(word):
        for end in range(start + 1, len(word) + 1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def match_without_hashes(word: str, vocabulary: set[str]) -> list[str]:
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            if word[start:end] in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(word[start:end])
        start = end
    return pieces


def match_letter_by_letter(word: str, vocabulary: set[str], skipped: int = 1) -> list[str]:
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            piece, end = "[UNK]", start + skipped
        pieces.append(piece)
        start = end
    return pieces


def match_dropping_the_last_character(word: str, vocabulary: set[str]) -> list[str]:
    pieces, start = [], 0
    while start < len(word):
        for end in range(len(word) - 1, start, -1):
            piece = ("##" if start else "") + word[start:end]
            if piece in vocabulary:
                break
        else:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


def match_going_back(word: str, vocabulary: set[str], start: int = 0) -> list[str]:
    if start == len(word):
        return []
    for end in range(len(word), start, -1):
        piece = ("##" if start else "") + word[start:end]
        rest = match_going_back(word, vocabulary, end) if piece in vocabulary else ["[UNK]"]
        if rest != ["[UNK]"]:
            return [piece, *rest]
    return ["[UNK]"]


VOCABULARY = {"un", "una", "u", "n", "##aff", "##able", "##a", "##f", "##b", "##l", "##e", "able", "a", "aff", "##n"}
NUMBERS = {"s", "so", "##s", "##o", "##so", "##fa", "fa", "##f"}

add(
    Exercise(
        "longest_match",
        1,
        "greedy longest match: split a word into pieces",
        longest_match,
        lambda: [
            Try("unaffable", ("unaffable", set(VOCABULARY))),
            Try("able", ("able", set(VOCABULARY))),
            Try("sofa", ("sofa", set(NUMBERS))),
            Try("unaided, which the vocabulary cannot spell", ("unaided", set(VOCABULARY))),
            Try("a piece of ten letters", ("playgrounds", {"p", "play", "playground", "##ground", "##s"})),
            Try("abc, where the longest piece leads nowhere", ("abc", {"a", "ab", "##bc"})),
        ],
        mistakes=(
            Mistake("You take the shortest piece that fits; try the longest one first.", match_shortest),
            Mistake(
                "After the start of a word, only pieces with ## may match: able and ##able are two different "
                "vocabulary entries.",
                match_without_hashes,
            ),
            Mistake(
                "If some part of a word matches no piece, the whole word is unknown: BERT gives only [UNK], "
                "without the pieces found before.",
                lambda word, vocabulary: match_letter_by_letter(word, vocabulary, skipped=len(word)),
            ),
            Mistake(
                "If some part of a word matches no piece, the whole word is unknown: return one [UNK], not one for "
                "each letter.",
                match_letter_by_letter,
            ),
            Mistake(
                "You go back and try a shorter piece when the longest one leads nowhere.  Greedy matching never "
                "goes back: with the pieces a, ab and ##bc, it takes ab from abc, then nothing fits, and the word "
                "becomes [UNK].",
                match_going_back,
            ),
            Mistake(
                "A piece may reach to the end of the word, len(word): range(len(word), start, -1) begins there.",
                match_dropping_the_last_character,
            ),
        ),
        hints=(
            "Use an outer loop over the start of a piece, and an inner loop over its end, beginning at the end "
            "of the word.",
            "The candidate is word[start:end], with ## before it unless start is 0.",
            "In Python, the else of a for loop runs when no break has happened: then the word is unknown.",
        ),
        note="In the package, this is split_into_pieces in minibert/text/wordpiece.py.",
    )
)
