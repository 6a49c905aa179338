"""Hidden cases: those of an exercise, drawn again from the teacher's seed.

Where an exercise draws its cases at random, the same kinds of cases are drawn again.  Where its cases are words, tags
or a few sizes, GENERATORS draws further ones.  The same seed always gives the same cases.
"""

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import numpy as np

from minibert.exercises import find, judge
from minibert.exercises.exercise import Exercise, Try, Verdict
from minibert.exercises.judging import judge_function
from minibert.exercises.kernels import KernelExercise, Launch
from minibert.exercises.recording import encode

CASES = 4  # that a generator draws

Generator = np.random.Generator


def hidden(exercise: Exercise, seed: int) -> Exercise:
    """The exercise with hidden cases after the public ones."""
    return dataclasses.replace(exercise, tries=lambda: [*exercise.tries(), *hidden_tries(exercise, seed)])


def judge_hidden(name: str, answer: Any, seed: int) -> Verdict:
    """The verdict on an answer, in this process, on an exercise's public and hidden cases."""
    exercise = hidden(find(name), seed)
    if exercise.judge is not None:
        return exercise.judge(exercise, answer)
    return judge_function(exercise, answer) if callable(answer) else judge(name, answer)


def hidden_tries(exercise: Exercise, seed: int) -> list:
    """Cases that are not among an exercise's own, with fresh arguments.  Not to be called by two threads at a time."""
    digest = hashlib.sha256(f"{seed} {exercise.name}".encode()).digest()
    key, draw = int.from_bytes(digest[:8], "little"), np.random.default_rng
    with mock.patch.object(np.random, "default_rng", lambda number=0: draw([key, *np.atleast_1d(number)])):
        tries = list(exercise.tries())
    public = [written(one) for one in exercise.tries()]
    tries = [dataclasses.replace(one, what=f"{one.what} (hidden)") for one in tries if written(one) not in public]
    r = draw(key)
    if exercise.name in GENERATORS:
        tries += [Try("a hidden case", arguments) for arguments in GENERATORS[exercise.name](r)]
    if isinstance(exercise, KernelExercise) and exercise.name == "scale":
        tries += scale_launches(r)
    return tries


def written(one: Try | Launch) -> str:
    """A case's arguments, in a form that can be compared."""
    return json.dumps(encode(one.arguments() if isinstance(one, Launch) else one.arguments))


def whole(r: Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(r.integers(low, high + 1))


def repeated(one: Callable[[Generator], tuple]) -> Callable[[Generator], Iterator[tuple]]:
    return lambda r: (one(r) for _ in range(CASES))


# ------------------------------------------------------------------------------------------------ lesson 1


def pieces_of_word(r: Generator, letters: str = "abc", most: int = 8) -> tuple[str, ...]:
    """A word, spelled in pieces of one letter."""
    word = "".join(r.choice(list(letters), whole(r, 2, most)))
    return (word[0], *(f"##{letter}" for letter in word[1:]))


def some_words(r: Generator) -> tuple:
    return ({pieces_of_word(r): whole(r, 1, 20) for _ in range(5)},)


def some_merge(r: Generator) -> tuple:
    pieces = pieces_of_word(r, "ab", 12)
    first = whole(r, 0, len(pieces) - 2)
    return pieces, pieces[first : first + 2]


def some_counts(r: Generator) -> Iterator[tuple]:
    """Counts of pairs and pieces in which no two pairs have the same score."""
    found = 0
    while found < CASES:
        words = {pieces_of_word(r, "abcde"): whole(r, 1, 30) for _ in range(6)}
        pairs, pieces = Counter(), Counter()
        for word, count in words.items():
            pieces.update({piece: count * word.count(piece) for piece in sorted(set(word))})
            pairs.update({pair: count for pair in itertools.pairwise(word)})
        scores = sorted(pairs[a, b] / (pieces[a] * pieces[b]) for a, b in pairs)
        if len(scores) > 2 and scores[-1] > 1.001 * scores[-2]:
            found += 1
            yield dict(pairs), dict(pieces)


def some_spelling(r: Generator) -> tuple:
    word = "".join(r.choice(list("abc"), whole(r, 3, 9)))
    letters = {"a", "b", "c", "##a", "##b"} | ({"##c"} if r.random() < 0.7 else set())
    parts = sorted({word[i : i + whole(r, 2, 4)] for i in range(len(word))})  # a set's order differs between processes
    return word, letters | {part if r.random() < 0.4 else f"##{part}" for part in parts}


# ------------------------------------------------------------------------------------------- lessons 2 to 8


def bounds(r: Generator, longest: int = 9) -> np.ndarray:
    """Where the sequences of a batch begin and end."""
    return np.concatenate([[0], np.cumsum(r.integers(1, longest + 1, whole(r, 1, 6)))])


def some_rows(r: Generator) -> tuple:
    cu_seqlens = bounds(r)
    chosen = r.random(int(cu_seqlens[-1])) < 0.3
    return np.flatnonzero(chosen), cu_seqlens


def some_uncertainty(r: Generator) -> tuple:
    count = whole(r, 20, 5000)
    return whole(r, 1, count - 1), count


def some_schedule(r: Generator) -> tuple:
    steps = whole(r, 5, 60)
    return steps, float(r.uniform(1e-4, 1)), whole(r, 1, steps - 2)


def some_roof(r: Generator) -> tuple:
    return float(r.uniform(0.1, 100)), float(r.uniform(1e11, 1e13)), float(r.uniform(1e10, 1e12))


def some_levels(r: Generator) -> tuple:
    levels = whole(r, 1, 3)
    return (
        float(r.uniform(1e6, 1e9)),
        r.uniform(1e5, 1e9, levels),
        float(r.uniform(1e10, 1e13)),
        r.uniform(1e9, 1e12, levels),
    )


def some_function(r: Generator) -> tuple:
    a, b = r.standard_normal(2)
    return (lambda x: float(a * (x**2).sum() + b * x.ravel()[0] * x.ravel()[-1])), r.standard_normal((2, 2)), 1e-3


# --------------------------------------------------------------------------------------------- lessons 9 to 12


def scale_launches(r: Generator) -> Iterable[Launch]:
    for _ in range(2):
        n, block, factor = whole(r, 33, 150), 32 * whole(r, 1, 2), np.float32(r.uniform(-3, 3))
        x = r.standard_normal(n).astype(np.float32)
        yield Launch(
            "a hidden case",
            -(-n // block),
            block,
            lambda x=x, n=n, factor=factor: (x.copy(), np.int32(n), factor),  # type: ignore[misc]
            0,
            x * factor,
        )


def some_scale(r: Generator) -> tuple:
    interval = whole(r, 2, 50)
    norm = float(r.choice([np.inf, np.nan, float(r.random())]))
    return 2.0 ** whole(r, 0, 30), int(r.choice([interval - 1, whole(r, 0, interval - 1)])), norm, interval


def some_labels(r: Generator) -> tuple:
    count = whole(r, 1, 8)
    return r.integers(1, 5, count).tolist(), r.integers(0, 9, count).tolist()


def some_tags(r: Generator) -> tuple:
    return (r.choice(["O", "B-per", "I-per", "B-loc", "I-loc"], whole(r, 4, 15)).tolist(),)


def some_answers(r: Generator) -> tuple:
    count = whole(r, 6, 30)
    return r.integers(0, 2, count).tolist(), r.integers(0, 2, count).tolist()


def some_span(r: Generator) -> tuple:
    tokens = whole(r, 3, 20)
    return 3 * r.standard_normal(tokens), 3 * r.standard_normal(tokens), whole(r, 1, 6)


def some_replacements(r: Generator) -> tuple:
    original, chosen = r.integers(0, 4, 12), r.random(12) < 0.5
    return original, np.where(chosen, r.integers(0, 4, 12), original), chosen


# ------------------------------------------------------------------------------------------------- project 2


def some_padding(r: Generator) -> tuple:
    sequences = [r.integers(0, 50, whole(r, 1, 7)).tolist() for _ in range(3)]
    return sequences, [r.integers(5, 50, len(ids)).tolist() for ids in sequences], whole(r, 0, 50)


def some_decays(r: Generator) -> tuple:
    kinds = "dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias", "norm.gamma"
    shapes = [tuple(r.integers(2, 30, 1 + (kind == "dense.weight")).tolist()) for kind in kinds]
    return {f"{whole(r, 0, 99)}.{kind}": shape for kind, shape in zip(kinds, shapes, strict=True)}, float(r.random())


def some_ids(r: Generator) -> tuple:
    letters = ["a", "b", "c", *(["A", "B"] if r.random() < 0.5 else [])]
    pieces = ["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{one}" for one in letters), "ab", "##ca"]
    words = ["".join(r.choice(list("abcABC"), whole(r, 1, 6))) for _ in range(4)]
    return " ".join(words), {piece: number for number, piece in enumerate(pieces)}


GENERATORS: dict[str, Callable[[Generator], Iterable[tuple[Any, ...]]]] = {
    "best_by_score": some_counts,
    **{
        name: repeated(one)
        for name, one in {
            "count_pairs": some_words,
            "merge_pair": some_merge,
            "longest_match": some_spelling,
            "positions_of": lambda r: (bounds(r),),
            "numeric_slope": some_function,
            "layer_parameters": lambda r: (whole(r, 2, 999), whole(r, 2, 999)),
            "layer_flops": lambda r: (r.integers(1, 200, whole(r, 1, 5)).tolist(), whole(r, 2, 99), whole(r, 2, 99)),
            "learning_rate": some_schedule,
            "uncertainty": some_uncertainty,
            "attainable": some_roof,
            "roofline": some_levels,
            "rows_read": some_rows,
            "pieces": lambda r: (whole(r, 1, 200), whole(r, 1, 9)),
            "next_scale": some_scale,
            "label_first_pieces": some_labels,
            "best_span": some_span,
            "find_entities": some_tags,
            "matthews": some_answers,
            "replaced": some_replacements,
            "run_3": lambda r: (whole(r, 3, 60), float(r.uniform(1e-4, 1)), float(r.uniform(0, 1))),
            "run_4": some_padding,
            "run_7": lambda r: (whole(r, 1, 512), whole(r, 16, 512), whole(r, 1, 16), float(r.random()), 256, 512),
            "run_8": some_decays,
            "run_10": some_ids,
        }.items()
    },
}
