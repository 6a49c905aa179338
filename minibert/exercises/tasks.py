"""Exercises of lesson 11: one output layer."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# -------------------------------------------------------------------------------------- label_first_pieces


def label_first_pieces(pieces: Sequence[int], labels: Sequence[int]) -> np.ndarray:
    """pieces: how many pieces each word was cut into; labels: a number for each word.

    Returns the labels of [CLS] words [SEP], with -100 where none is read, as integers [sum(pieces) + 2].
    """
    result = [-100]
    for count, label in zip(pieces, labels, strict=True):
        result += [label] + [-100] * (count - 1)
    return np.array([*result, -100])


def label_with(*, which: str = "first", cls=True, nothing: int = -100) -> Callable:
    def wrong(pieces, labels):
        result = [nothing] if cls else []
        for count, label in zip(pieces, labels, strict=True):
            ignored = [nothing] * (count - 1)
            result += {"all": [label] * count, "last": [*ignored, label], "first": [label, *ignored]}[which]
        return np.array([*result, nothing] if cls else result)

    return wrong


add(
    Exercise(
        "label_first_pieces",
        11,
        "a label for each word, on its first piece",
        label_first_pieces,
        lambda: [
            Try("words of 1, 3 and 2 pieces", ([1, 3, 2], [0, 4, 1])),
            Try("one word of one piece", ([1], [2])),
            Try("words of one piece each", ([1, 1, 1], [0, 1, 0])),
            Try("neighbours with the same label", ([2, 1, 2], [3, 3, 3])),
        ],
        outputs=("the labels",),
        mistakes=(
            Mistake(
                "You give the label to every piece.  BERT predicts a word from its first piece alone (section "
                "5.3); the other pieces have no label.",
                label_with(which="all"),
            ),
            Mistake(
                "You put the label on the last piece of a word; the paper reads the first piece.",
                label_with(which="last"),
            ),
            Mistake("Where nothing is read, the label must be -100: 0 is a class.", label_with(nothing=0)),
            Mistake(
                "All labels are one place too far to the left: [CLS] comes before the words.",
                lambda pieces, labels: np.array([*label_first_pieces(pieces, labels)[1:], -100]),
            ),
            Mistake(
                "[CLS] and [SEP] are tokens, too: they stand before and after the words, and have no label.",
                label_with(cls=False),
            ),
        ),
        hints=("Begin with -100 for [CLS].", "For each word, append its label, and then -100 for each further piece."),
        note=(
            "In the package, this is in minibert/tasks/codecs.py, where only the rows that have a label are computed."
        ),
    )
)


# ---------------------------------------------------------------------------------------------- best_span


def best_span(start_scores: np.ndarray, end_scores: np.ndarray, longest: int) -> tuple[int, int] | None:
    """Scores [T] of being an answer's first, and last, token.  Returns (first, last) of the best span."""
    best, position = -np.inf, None
    for first in range(len(start_scores)):
        for last in range(first, min(first + longest, len(end_scores))):
            if start_scores[first] + end_scores[last] > best:
                best, position = start_scores[first] + end_scores[last], (first, last)
    return position


def span_with(
    *,
    behind: bool = False,
    first_added: bool = True,
    either_way: bool = False,
    shorter: int = 0,
    lowest: float = -np.inf,
) -> Callable:
    """best_span with something wrong."""

    def wrong(start_scores, end_scores, longest):
        best, position = lowest, (0, 0)
        for first in range(len(start_scores)):
            stop = min(first + longest - shorter, len(end_scores))
            for last in range(max(0, first - longest + 1) if either_way else first, stop):
                if start_scores[first] + end_scores[last] > best:
                    best, position = start_scores[first] + end_scores[last], (first, last)
        first, last = position
        return np.array((first, (last if first_added else last - first) + behind))

    return wrong


def independent(start: np.ndarray, end: np.ndarray, longest: int) -> np.ndarray:
    return np.array((np.argmax(start), np.argmax(end)))


def from_the_best_start(start: np.ndarray, end: np.ndarray, longest: int) -> np.ndarray:
    first = int(np.argmax(start))
    return np.array((first, first + int(np.argmax(end[first : first + longest]))))


def any_length(start: np.ndarray, end: np.ndarray, longest: int) -> tuple[int, int] | None:
    return best_span(start, end, len(start))


def one_too_long(start: np.ndarray, end: np.ndarray, longest: int) -> tuple[int, int] | None:
    return best_span(start, end, longest + 1)


def among_the_best(start: np.ndarray, end: np.ndarray, longest: int, count: int = 20) -> np.ndarray:
    firsts, lasts = (np.argsort(-scores, kind="stable")[:count] for scores in (start, end))
    spans = [(i, j) for i in sorted(firsts) for j in sorted(lasts) if i <= j < i + longest]
    return np.array(max(spans, key=lambda span: start[span[0]] + end[span[1]], default=(0, 0)))


def shares(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def span_of_exponentials(start: np.ndarray, end: np.ndarray, longest: int) -> np.ndarray:
    """The first span of several with the same product."""
    spans = [(i, j) for i in range(len(start)) for j in range(i, min(i + longest, len(end)))]
    return np.array(max(spans, key=lambda span: np.exp(start[span[0]]) * np.exp(end[span[1]])))


def span_tries() -> Iterator[Try]:
    yield Try("an end before the best start", (np.array([0.0, 1, 5, 0]), np.array([0.0, 6, 1, 0]), 3))
    yield Try("a good end that is too far away", (np.array([4.0, 0, 3, 0, 0]), np.array([0.0, 0, 0, 2, 9]), 3))
    yield Try("one token", (np.array([0.3]), np.array([-1.0]), 2))
    r = random(1)
    yield Try("12 tokens", (r.standard_normal(12), r.standard_normal(12), 4))
    yield Try("an end just out of reach", (np.array([9.0, 0, 0, 0]), np.array([0.0, 0, 1, 5]), 3))
    yield Try("all sums below 0", (np.array([-3.0, -1, -2]), np.array([-4.0, -2, -1]), 2))
    yield Try("poor ends for the best start", (np.array([5.0, -3, 1, -4]), np.array([-6.0, -6, 4, 2]), 2))
    falling = np.arange(60.0)[::-1].copy()
    falling[30] += 1
    yield Try("60 tokens, the best starts last and the best ends first", (falling[::-1].copy(), falling, 3))
    yield Try("scores near 1,000", (np.array([1000.0, 999, 1002]), np.array([998.0, 1001, 997]), 2))
    yield Try("scores near -1,000", (np.array([-1000.0, -999, -1002]), np.array([-998.0, -1001, -997]), 2))


add(
    Exercise(
        "best_span",
        11,
        "the best answer: the best pair of a first and a last token",
        best_span,
        span_tries,
        outputs=("(first, last)",),
        mistakes=(
            Mistake(
                "The best first token and the best last token need not form a span: the last may come before the "
                "first.  Look for the best *sum* among all pairs.",
                independent,
            ),
            Mistake(
                "The best pair need not begin at the best first token, because every possible end for it may be "
                "poor.  Try all first tokens.",
                from_the_best_start,
            ),
            Mistake("An answer has at most `longest` tokens: last < first + longest.", any_length),
            Mistake(
                "A span from first to last has last - first + 1 tokens; your longest span has one token too many.",
                one_too_long,
            ),
            Mistake(
                "A span from first to last has last - first + 1 tokens; your longest span has one token too few.",
                span_with(shorter=1),
            ),
            Mistake("Begin with a best sum of minus infinity: all sums may be negative.", span_with(lowest=0.0)),
            Mistake("last is the last token of the answer, not the one after it.", span_with(behind=True)),
            Mistake(
                "The position that you found in end_scores[first:] counts from first, so add first to it.",
                span_with(first_added=False),
            ),
            Mistake("The last token must not come before the first: last >= first.", span_with(either_way=True)),
            Mistake(
                "The best pair need be neither among the best starts nor among the best ends: try all pairs.",
                among_the_best,
            ),
            Mistake(
                "Add up the scores themselves: sums of softmax probabilities prefer a span whose one end is certain, "
                "however poor its other end.  (The probability of a span is the *product* of the two.)",
                lambda start, end, longest: best_span(shares(start), shares(end), longest),
            ),
            Mistake(
                "exp overflows when scores are large, and is 0 when they are far below 0.  The best sum of the scores "
                "themselves needs no exp.",
                span_of_exponentials,
            ),
        ),
        hints=(
            "Use two loops: one over first, and inside it one over last, beginning at first.",
            "Compare the sums start_scores[first] + end_scores[last].",
        ),
        note=(
            "In the package, minibert/tasks/codecs.py finds the best `n_best` answers, and compares them with "
            "'no answer'."
        ),
    )
)
