"""Exercises of lesson 11: entities, and a metric."""

from collections.abc import Callable, Sequence

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.tasks.metrics import entities

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
            Try("all answers right", ([1, 0, 0, 1, 0], [1, 0, 0, 1, 0])),
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
