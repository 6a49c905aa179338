"""Exercises of lesson 1: from text to a vocabulary of pieces."""

from collections import Counter
from collections.abc import Sequence

from minibert.exercises.exercise import Exercise, Mistake, Try, add

# words as tuples of pieces -> how often each occurs
SMALL = {("l", "##o", "##w"): 5, ("l", "##o", "##w", "##e", "##r"): 2, ("n", "##e", "##w"): 6}
REPEATED = {("b", "##a", "##n", "##a", "##n", "##a"): 3, ("a",): 7, ("n", "##a"): 1}
EQUALS = {("z", "##z", "##z", "##z", "##z"): 2, ("##z", "##z"): 1}


# ------------------------------------------------------------------------------------------- count_pairs


def count_pairs(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """words: tuple of pieces -> count.  Returns (piece, next piece) -> how often they are neighbours."""
    pairs = {}
    for pieces, count in words.items():
        for pair in zip(pieces, pieces[1:], strict=False):
            pairs[pair] = pairs.get(pair, 0) + count
    return pairs


def keep_the_last_count(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    return {pair: count for pieces, count in words.items() for pair in zip(pieces, pieces[1:], strict=False)}


def count_pairs_of_words_once(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    pairs = Counter()
    for pieces in words:
        pairs.update(zip(pieces, pieces[1:], strict=False))
    return dict(pairs)


def count_each_pair_once_a_word(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    pairs = Counter()
    for pieces, count in words.items():
        for pair in set(zip(pieces, pieces[1:], strict=False)):
            pairs[pair] += count
    return dict(pairs)


def count_without_overlap(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    pairs = Counter()
    for pieces, count in words.items():
        used = -1  # where the last pair of equals ends
        for i, pair in enumerate(zip(pieces, pieces[1:], strict=False)):
            if pair[0] != pair[1] or i != used:
                pairs[pair] += count
                used = i + 1 if pair[0] == pair[1] else -1
    return dict(pairs)


def count_all_pairs(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    pairs = Counter()
    for pieces, count in words.items():
        for i in range(len(pieces)):
            for j in range(i + 1, len(pieces)):
                pairs[pieces[i], pieces[j]] += count
    return dict(pairs)


add(
    Exercise(
        "count_pairs",
        1,
        "count how often two pieces are neighbours",
        count_pairs,
        lambda: [
            Try("low, lower, new", (dict(SMALL),)),
            Try("banana, a, na", (dict(REPEATED),)),
            Try("zzzzz", (dict(EQUALS),)),
        ],
        mistakes=(
            Mistake(
                "You count each distinct word once.  The pairs of a word that occurs five times also occur five times.",
                count_pairs_of_words_once,
            ),
            Mistake(
                "A pair that occurs twice in one word counts twice: look at (##a, ##n) in banana.",
                count_each_pair_once_a_word,
            ),
            Mistake("A pair that occurs in two words gets the counts of both: add them.", keep_the_last_count),
            Mistake("Only neighbours count: l and ##w are not neighbours in l ##o ##w.", count_all_pairs),
            Mistake(
                "Pairs may overlap: the pair (##z, ##z) occurs three times in z ##z ##z ##z ##z, since each ##z but "
                "the last has a ##z after it.",
                count_without_overlap,
            ),
        ),
        hints=(
            "Use two loops: one over the words with their counts, and one over the neighbours in each word.",
            "zip(pieces, pieces[1:]) gives the pairs of neighbours in a tuple.",
            "Add the count of the word to the count of the pair, not 1.",
        ),
        note=(
            "In the package, merge_pairs in minibert/text/vocabulary.py counts the pairs like this, once at the start."
        ),
    )
)


# -------------------------------------------------------------------------------------------- merge_pair


def merge_pair(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    """pieces: tuple of pieces.  Returns the tuple with each occurrence of the pair merged, from left to right."""
    merged, position = [], 0
    while position < len(pieces):
        if pieces[position : position + 2] == pair:
            merged.append(pair[0] + pair[1].removeprefix("##"))
            position += 2
        else:
            merged.append(pieces[position])
            position += 1
    return tuple(merged)


def merge_first_only(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    for i in range(len(pieces) - 1):
        if pieces[i : i + 2] == pair:
            return (*pieces[:i], pair[0] + pair[1].removeprefix("##"), *pieces[i + 2 :])
    return tuple(pieces)


def merge_with_hashes(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    right = merge_pair(pieces, pair)
    whole = pair[0] + pair[1].removeprefix("##")
    return tuple(pair[0] + pair[1] if piece == whole and whole not in pieces else piece for piece in right)


def merge_that_strips(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    return tuple(
        pair[0] if piece == pair[0] + "#" and piece not in pieces else piece for piece in merge_pair(pieces, pair)
    )


def merge_in_the_joined_text(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    return tuple(" ".join(pieces).replace(" ".join(pair), pair[0] + pair[1].removeprefix("##")).split())


def merge_without_skipping(pieces: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    merged = []
    for i, piece in enumerate(pieces):
        merged.append(pair[0] + pair[1].removeprefix("##") if pieces[i : i + 2] == pair else piece)
    return tuple(merged)


add(
    Exercise(
        "merge_pair",
        1,
        "merge two pieces wherever they are neighbours",
        merge_pair,
        lambda: [
            Try("l ##o ##w and (l, ##o)", (("l", "##o", "##w"), ("l", "##o"))),
            Try("banana and (##a, ##n)", (("b", "##a", "##n", "##a", "##n", "##a"), ("##a", "##n"))),
            Try("##a ##a ##a and (##a, ##a)", (("b", "##a", "##a", "##a"), ("##a", "##a"))),
            Try("a pair that is not there", (("n", "##e", "##w"), ("##e", "##r"))),
            Try("##nd, which is not ##n", (("b", "##a", "##nd"), ("##a", "##n"))),
            Try("a piece that ends like the first of the pair", (("ba", "##n", "##a", "##n"), ("##a", "##n"))),
            Try("a piece that is the character #", (("c", "###", "x"), ("c", "###"))),
        ],
        mistakes=(
            Mistake("You merge only the first occurrence of the pair; banana contains two.", merge_first_only),
            Mistake(
                "Remove only the two characters ## at the front: ### is the character # inside a word, and strip or "
                "replace may remove it, too.",
                merge_that_strips,
            ),
            Mistake(
                "## marks a piece that continues a word, and belongs only at the front of it: ##a and ##n make ##an.",
                merge_with_hashes,
            ),
            Mistake(
                "Compare whole pieces: in joined text, `##a ##n` is also found inside `##a ##nd`.",
                merge_in_the_joined_text,
            ),
            Mistake(
                "The second piece of the pair is still there.  After a merge, skip past both pieces.",
                merge_without_skipping,
            ),
        ),
        hints=(
            "Walk from left to right in a while loop, with your own index: a for loop over the pieces cannot skip one.",
            "After a merge, the index moves on by two, otherwise by one.",
            "pair[1].removeprefix('##') is what the second piece adds.",
        ),
        note="In the package, this is merge in minibert/text/vocabulary.py, which works on ids.",
    )
)


# ---------------------------------------------------------------------------------------- best_by_score


def best_by_score(pair_counts: dict[tuple[str, str], int], piece_counts: dict[str, int]) -> tuple[str, str]:
    """The pair that is most frequent beside what chance would make it: count(ab) / (count(a) * count(b))."""
    return max(pair_counts, key=lambda pair: pair_counts[pair] / (piece_counts[pair[0]] * piece_counts[pair[1]]))


best_by_likelihood = best_by_score  # the name that earlier notebooks import


PAIRS = {("t", "##h"): 40, ("q", "##u"): 9, ("##h", "##e"): 30, ("z", "##z"): 1}
PIECES = {"t": 90, "##h": 50, "##e": 120, "q": 9, "##u": 20, "z": 8, "##z": 5}
RARE_PAIRS, RARE_PIECES = {("x", "##y"): 5, ("n", "##o"): 9}, {"x": 10, "##y": 2, "n": 10, "##o": 10}
OTHER_PAIRS = {("a", "##b"): 12, ("c", "##d"): 6, ("e", "##f"): 10}
EVEN_PAIRS = {("a", "##b"): 12, ("c", "##d"): 2, ("e", "##f"): 1}
EVEN_PIECES = {"a": 20, "##b": 20, "c": 4, "##d": 4, "e": 50, "##f": 1}
UNEVEN_PAIRS = {("c", "##d"): 4000, ("a", "##b"): 3000}
UNEVEN_PIECES = {"a": 4000, "##b": 100_000, "c": 30_000, "##d": 30_000}
OTHER_PIECES = {"a": 13, "##b": 100, "c": 30, "##d": 7, "e": 12, "##f": 14}

add(
    Exercise(
        "best_by_score",
        1,
        "which pair has the highest score?",
        best_by_score,
        lambda: [
            Try("th, qu, he, zz", (dict(PAIRS), dict(PIECES))),
            Try("three other pairs", (dict(OTHER_PAIRS), dict(OTHER_PIECES))),
            Try("xy and no", (dict(RARE_PAIRS), dict(RARE_PIECES))),
            Try("ab, cd and ef", (dict(EVEN_PAIRS), dict(EVEN_PIECES))),
            Try("one rare and one frequent piece", (dict(UNEVEN_PAIRS), dict(UNEVEN_PIECES))),
        ],
        mistakes=(
            Mistake(
                "That is the most frequent pair, which byte-pair encoding chooses.  The score also takes into "
                "account how often the two pieces would meet by chance.",
                lambda pair_counts, piece_counts: max(pair_counts, key=pair_counts.get),
            ),
            Mistake(
                "You divide by the count of the first piece only; a second piece that occurs everywhere meets it "
                "often by chance.",
                lambda pair_counts, piece_counts: max(pair_counts, key=lambda p: pair_counts[p] / piece_counts[p[0]]),
            ),
            Mistake(
                "You divide by the count of the second piece only; a first piece that occurs everywhere meets it "
                "often by chance.",
                lambda pair_counts, piece_counts: max(pair_counts, key=lambda p: pair_counts[p] / piece_counts[p[1]]),
            ),
            Mistake(
                "You divide by the sum of the two counts, or by the larger one.  By chance, the pieces would meet "
                "in proportion to the product of their counts.",
                lambda pair_counts, piece_counts: max(
                    pair_counts, key=lambda p: pair_counts[p] / (piece_counts[p[0]] + piece_counts[p[1]])
                ),
            ),
            Mistake(
                "You divide by the square of the sum of the two counts, or of the larger one.  By chance, the pieces "
                "would meet in proportion to the product of their counts.",
                lambda pair_counts, piece_counts: max(
                    pair_counts, key=lambda p: pair_counts[p] / (piece_counts[p[0]] + piece_counts[p[1]]) ** 2
                ),
            ),
            Mistake(
                "You divide by the square of the sum of the two counts, or of the larger one.  By chance, the pieces "
                "would meet in proportion to the product of their counts.",
                lambda pair_counts, piece_counts: max(
                    pair_counts, key=lambda p: pair_counts[p] / max(piece_counts[p[0]], piece_counts[p[1]]) ** 2
                ),
            ),
            Mistake(
                "You divide by the square root of the product, or take the square of the pair's count; divide the "
                "count itself by the product.",
                lambda pair_counts, piece_counts: max(
                    pair_counts, key=lambda p: pair_counts[p] ** 2 / (piece_counts[p[0]] * piece_counts[p[1]])
                ),
            ),
            Mistake(
                "You divide by the smaller of the two counts.  By chance, the pieces would meet in proportion to the "
                "product of their counts.",
                lambda pair_counts, piece_counts: max(
                    pair_counts, key=lambda p: pair_counts[p] / min(piece_counts[p[0]], piece_counts[p[1]])
                ),
            ),
            Mistake(
                "`n / a * b` means (n / a) * b: put the product in parentheses.",
                lambda pair_counts, piece_counts: max(
                    pair_counts, key=lambda p: pair_counts[p] / piece_counts[p[0]] * piece_counts[p[1]]
                ),
            ),
            Mistake(
                "That is the pair with the lowest score; use max, not min.",
                lambda pair_counts, piece_counts: min(
                    pair_counts, key=lambda p: pair_counts[p] / (piece_counts[p[0]] * piece_counts[p[1]])
                ),
            ),
        ),
        hints=(
            "If a and b were independent, they would meet in proportion to count(a) * count(b).",
            "max(pair_counts, key=function) gives the pair for which the function is highest.",
        ),
        note=(
            "minibert merges by pair counts, as the tokenizers library does; Schuster and Nakajima (2012) "
            "merge the pair with the largest gain in likelihood, which often is another one."
        ),
    )
)
