"""Exercises of lesson 11: one output layer."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.tasks.metrics import entities


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


# ------------------------------------------------------------------------------------------- find_entities


def find_entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """tags: a list such as ["B-per", "I-per", "O"].  Returns the set of (type, first word, word after the last)."""
    found, begin = set(), None
    for position, tag in enumerate([*tags, "O"]):
        if begin is not None and (tag[0] in "OB" or tag[2:] != tags[begin][2:]):
            found.add((tags[begin][2:], begin, position))
            begin = None
        if begin is None and tag != "O":
            begin = position
    return found


def one_type_long(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """An I- of any type continues the open entity."""
    found, begin = set(), None
    for position, tag in enumerate([*tags, "O"]):
        if begin is not None and tag[0] in "OB":
            found.add((tags[begin][2:], begin, position))
            begin = None
        if begin is None and tag != "O":
            begin = position
    return found


def by_type_only(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    return entities([tag.replace("B-", "I-") for tag in tags])


def closed_ends(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    return {(kind, first, last - 1) for kind, first, last in entities(tags)}


def single_words(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    return {(tag[2:], i, i + 1) for i, tag in enumerate(tags) if tag != "O"}


HYPHENS = "The type is all of a tag after its first hyphen: that of B-work-of-art is work-of-art.  tag[2:] is the type."


def entities_of(tags: Sequence[str], kind_of: Callable[[str], str]) -> set[tuple[str, int, int]]:
    """find_entities with another way to find a tag's type."""
    found, begin = set(), None
    for position, tag in enumerate([*tags, "O"]):
        if begin is not None and (tag[0] in "OB" or kind_of(tag) != kind_of(tags[begin])):
            found.add((kind_of(tags[begin]), begin, position))
            begin = None
        if begin is None and tag != "O":
            begin = position
    return found


def only_with_b(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    found, begin = set(), None
    for i, tag in enumerate([*tags, "O"]):
        if begin is not None and tag != "I-" + tags[begin][2:]:
            found.add((tags[begin][2:], begin, i))
            begin = None
        if tag.startswith("B-"):
            begin = i
    return found


add(
    Exercise(
        "find_entities",
        11,
        "from BIO tags to entities",
        find_entities,
        lambda: [
            Try("B-per I-per O B-loc", (["B-per", "I-per", "O", "B-loc"],)),
            Try("two people side by side", (["B-per", "B-per", "I-per"],)),
            Try("an I- that continues nothing", (["O", "I-loc", "I-loc", "I-per"],)),
            Try("no entity", (["O", "O"],)),
            Try(
                "types with hyphens",
                (["B-work-of-art", "I-work-of-art", "I-work-of-law", "O", "I-art", "B-work-of-art"],),
            ),
            Try("types that begin with B and I", (["B-Brand", "I-Brand", "B-rand", "I-Illness", "I-llness"],)),
        ],
        outputs=("the entities",),
        mistakes=(
            Mistake("A B- begins a new entity, even directly after an entity of the same type.", by_type_only),
            Mistake("An entity is (type, first word, word *after* the last), as in a Python slice.", closed_ends),
            Mistake(
                "Words that belong together form one entity: an I- continues the entity that is open.", single_words
            ),
            Mistake(
                "An I- of another type does not continue the open entity: it ends that entity and begins a new one.",
                one_type_long,
            ),
            Mistake(
                "An entity may last until the end of the sentence, where no further tag closes it.",
                lambda tags: {entity for entity in entities(tags) if entity[2] < len(tags)},
            ),
            Mistake(HYPHENS, lambda tags: entities_of(tags, lambda tag: tag.split("-")[1])),
            Mistake(HYPHENS, lambda tags: entities_of(tags, lambda tag: tag.split("-")[-1])),
            Mistake(
                "strip removes any of the characters B, I and - at an end, and so also the first letters of a type: "
                "take tag[2:] instead.",
                lambda tags: entities_of(tags, lambda tag: tag.lstrip("BI-")),
            ),
            Mistake(
                "By the rules of conlleval and seqeval, an I- that continues nothing also begins an entity.",
                only_with_b,
            ),
        ),
        hints=(
            "Walk through the tags, and remember the entity that is open.",
            "The open entity ends at an O, at a B-, and at an I- of another type.",
        ),
        note=(
            "In the package, this is in minibert/tasks/metrics.py, which gives the same results as seqeval on "
            "random tags."
        ),
    )
)


# ----------------------------------------------------------------------------------------------- matthews


def matthews(truth: Sequence[int], said: Sequence[int]) -> float:
    """truth, said: lists of 0 and 1.  Returns Matthews' correlation; 0 where one side never changes."""
    pairs = list(zip(truth, said, strict=True))
    tp, tn, fp, fn = (pairs.count(pair) for pair in ((1, 1), (0, 0), (0, 1), (1, 0)))
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / below**0.5 if below else 0.0


def counts(truth: Sequence[int], said: Sequence[int]) -> list[int]:
    pairs = list(zip(truth, said, strict=True))
    return [pairs.count(which) for which in ((1, 1), (0, 0), (0, 1), (1, 0))]  # tp, tn, fp, fn


def without_root(truth: Sequence[int], said: Sequence[int]) -> float:
    tp, tn, fp, fn = counts(truth, said)
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / below if below else 0.0


def two_factors(truth: Sequence[int], said: Sequence[int], below: Callable) -> float:
    tp, tn, fp, fn = counts(truth, said)
    return (tp * tn - fp * fn) / below(tp, tn, fp, fn) if below(tp, tn, fp, fn) else 0.0


def f1(truth: Sequence[int], said: Sequence[int]) -> float:
    tp, tn, fp, fn = counts(truth, said)
    return 2 * tp / (2 * tp + fp + fn) if tp else 0.0


def plus_instead(truth: Sequence[int], said: Sequence[int]) -> float:
    tp, tn, fp, fn = counts(truth, said)
    below = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn + fp * fn) / below**0.5 if below else 0.0


add(
    Exercise(
        "matthews",
        11,
        "the metric of CoLA: the correlation of two classes",
        matthews,
        lambda: [
            Try("10 examples", ([1, 1, 1, 0, 1, 0, 1, 1, 0, 1], [1, 1, 0, 0, 1, 1, 1, 1, 0, 1])),
            Try("a model that always says 1", ([1, 0, 1, 1], [1, 1, 1, 1])),
            Try("all answers wrong", ([1, 0, 0, 1, 0], [0, 1, 1, 0, 1])),
            Try("a truth that is always 0", ([0, 0, 0], [0, 1, 0])),
            Try("a model that rarely says 1", ([1, 1, 1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0])),
        ],
        outputs=("the correlation",),
        tolerance=1e-8,  # an answer that guards the denominator adds about this much to it
        mistakes=(
            Mistake(
                "That is the accuracy: a model that always says 1 gets 70 % if 70 % of the answers are 1.  Its "
                "correlation would be 0.",
                lambda t, s: sum(a == b for a, b in zip(t, s, strict=True)) / len(t),
            ),
            Mistake("The square root in the denominator is missing.", without_root),
            Mistake(
                "All four factors belong in the denominator, under one square root.",
                lambda t, s: two_factors(t, s, lambda tp, tn, fp, fn: (tp + fp) * (tn + fn)),
            ),
            Mistake(
                "All four factors belong in the denominator, under one square root.",
                lambda t, s: two_factors(t, s, lambda tp, tn, fp, fn: (tp + fn) * (tn + fp)),
            ),
            Mistake(
                "The correlation is 0 also where the truth never changes, not only where the answers never do.",
                lambda t, s: matthews(t, s) if len(set(t)) > 1 or len(set(s)) == 1 else np.nan,
            ),
            Mistake("That is F1, which ignores the true negatives.", f1),
            Mistake("Errors must lower the result: the numerator is tp * tn - fp * fn.", plus_instead),
        ),
        hints=(
            "Count the four numbers tp, tn, fp and fn.",
            "The correlation is (tp tn - fp fn) / sqrt((tp + fp)(tp + fn)(tn + fp)(tn + fn)).",
        ),
        note="In the package, minibert/tasks/metrics.py does this for any number of classes.",
    )
)
