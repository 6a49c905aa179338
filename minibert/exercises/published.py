"""Exercises of lesson 12: real weights, search, and what the models have learned."""

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------------------- mean_pool


def mean_pool(hidden: np.ndarray, cu_seqlens: np.ndarray) -> np.ndarray:
    """hidden [N, H] of sequences end to end.  Returns the mean of each one's tokens, [B, H]."""
    return np.array([hidden[a:b].mean(axis=0) for a, b in zip(cu_seqlens, cu_seqlens[1:], strict=False)])


add(
    Exercise(
        "mean_pool",
        12,
        "a vector for a sentence: the mean of its tokens",
        mean_pool,
        lambda: [
            Try("lengths 5, 3 and 4", (random(0).standard_normal((12, 4)), np.array([0, 5, 8, 12]))),
            Try("one sentence", (random(1).standard_normal((4, 3)), np.array([0, 4]))),
        ],
        outputs=("the vectors",),
        mistakes=(
            Mistake(
                "That is the first token of each sequence, [CLS].  MiniLM was trained with the mean of all tokens.",
                lambda h, c: h[c[:-1]],
            ),
            Mistake(
                "You leave out [CLS] and [SEP]; MiniLM was trained with the mean of all tokens.",
                lambda h, c: np.array([h[a + 1 : b - 1].mean(axis=0) for a, b in zip(c, c[1:], strict=False)]),
            ),
            Mistake(
                "You leave out [CLS]; MiniLM was trained with the mean of all tokens.",
                lambda h, c: np.array([h[a + 1 : b].mean(axis=0) for a, b in zip(c, c[1:], strict=False)]),
            ),
            Mistake(
                "You take sums, so long sentences would have long vectors.  Divide each sum by the length of its "
                "sequence.",
                lambda h, c: np.array([h[a:b].sum(axis=0) for a, b in zip(c, c[1:], strict=False)]),
            ),
            Mistake(
                "You divide every sum by the length of the longest sentence, as if all were padded to it.  Divide "
                "each sum by the length of its own sentence.",
                lambda h, c: np.array([h[a:b].sum(axis=0) for a, b in zip(c, c[1:], strict=False)]) / np.diff(c).max(),
            ),
            Mistake(
                "You take one mean over the whole batch, which mixes the sentences.",
                lambda h, c: np.repeat(h.mean(axis=0)[None], len(c) - 1, axis=0),
            ),
        ),
        hints=(
            "The tokens of sequence i are hidden[cu_seqlens[i] : cu_seqlens[i + 1]].",
            "Take their mean over axis 0.",
        ),
        note="In the package, this is the op mean_pool.",
    )
)


# ------------------------------------------------------------------------------------------------- nearest


def nearest(query: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """query [H], vectors [N, H].  Returns the numbers of the `count` nearest by cosine, the nearest first."""
    cosines = vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    return np.argsort(-cosines, kind="stable")[:count]


def by_dot(query: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(-(vectors @ query), kind="stable")[:count]


def by_distance(query: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(np.linalg.norm(vectors - query, axis=1), kind="stable")[:count]


def farthest(query: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    cosines = vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    return np.argsort(cosines, kind="stable")[:count]


def unordered(query: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    return np.sort(nearest(query, vectors, count))


add(
    Exercise(
        "nearest",
        12,
        "search by meaning",
        nearest,
        lambda: [
            Try(
                "12 vectors of different lengths",
                (
                    random(2).standard_normal(5),
                    random(3).standard_normal((12, 5)) * (1 + 9 * random(4).random((12, 1))),
                    4,
                ),
            ),
            Try("1,000 vectors", (random(8).standard_normal(3), random(9).standard_normal((1000, 3)), 300)),
            Try("2 of 3 vectors", (np.array([1.0, 0]), np.array([[9.0, 9], [0.5, 0.1], [-4, 0]]), 2)),
        ],
        outputs=("the indices of the nearest vectors",),
        mistakes=(
            Mistake(
                "You do not divide by the lengths of the vectors, so long vectors win.  The cosine depends only on "
                "the angle.",
                by_dot,
            ),
            Mistake(
                "The smallest distance is not the smallest angle, unless all vectors have length 1: use the cosine.",
                by_distance,
            ),
            Mistake("np.argsort sorts in ascending order, so your vectors are the farthest ones.", farthest),
            Mistake("You found the right vectors, but the nearest one must come first.", unordered),
            Mistake(
                "You found the right vectors, but the nearest one comes last: np.argsort sorts in ascending order.",
                lambda query, vectors, count: nearest(query, vectors, count)[::-1],
            ),
        ),
        hints=("The cosine of a and b is a . b / (|a| |b|).", "The result is np.argsort(-cosines)[:count]."),
        note="In the package, the command `minibert search` does this.",
    )
)


# --------------------------------------------------------------------------------------------- association


def association(word: np.ndarray, these: np.ndarray, those: np.ndarray) -> float:
    """word [H]; these, those [n, H], [m, H].  Returns mean cosine with these, minus mean cosine with those."""

    def mean_cosine(others):
        return np.mean([word @ other / (np.linalg.norm(word) * np.linalg.norm(other)) for other in others])

    return mean_cosine(these) - mean_cosine(those)


def association_of_means(word: np.ndarray, these: np.ndarray, those: np.ndarray) -> float:
    def cosine(a, b):
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

    return cosine(word, these.mean(axis=0)) - cosine(word, those.mean(axis=0))


def association_by_dots(word: np.ndarray, these: np.ndarray, those: np.ndarray) -> float:
    return (these @ word).mean() - (those @ word).mean()


def association_by_sums(word: np.ndarray, these: np.ndarray, those: np.ndarray) -> float:
    unit = word / np.linalg.norm(word)
    return sum((x / np.linalg.norm(x)) @ unit for x in these) - sum((x / np.linalg.norm(x)) @ unit for x in those)


add(
    Exercise(
        "association",
        12,
        "measure a bias: is a word nearer to these words, or to those?",
        association,
        lambda: [
            Try("a word that is nearer to those", (np.array([1.0, 0.2]), np.array([[0.0, 1]]), np.array([[2.0, 0]]))),
            Try(
                "groups of 3 and 2 words",
                (
                    random(5).standard_normal(6),
                    random(6).standard_normal((3, 6)),
                    2 * random(7).standard_normal((2, 6)),
                ),
            ),
            Try("one word in each group", (np.array([1.0, 0]), np.array([[2.0, 0]]), np.array([[0.0, 3]]))),
        ],
        outputs=("the association",),
        mistakes=(
            Mistake(
                "The sign tells which group the word is nearer to, so do not take the absolute value.",
                lambda word, these, those: abs(association(word, these, those)),
            ),
            Mistake(
                "The mean of the cosines is not the cosine with the mean vector, in which long vectors count for more.",
                association_of_means,
            ),
            Mistake("Divide each dot product by the lengths of both vectors, to get the cosine.", association_by_dots),
            Mistake(
                "Take means, not sums: the two groups may have different sizes, such as three and two words.",
                association_by_sums,
            ),
            Mistake(
                "The sign is wrong: subtract the mean cosine with those from the mean cosine with these.",
                lambda w, a, b: -association(w, a, b),
            ),
        ),
        hints=(
            "Compute the cosine of the word with each of the other words, and then the mean of each group.",
            "Subtract the second mean from the first.",
        ),
        note="Caliskan, Bryson and Narayanan (2017) use this difference as the association of a word.",
    )
)


# ------------------------------------------------------------------------------------- replaced_or_not


def replaced(original_ids: np.ndarray, corrupted_ids: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """ELECTRA's task (Clark et al. 2020), all [N]; chosen: was it masked for the generator?  Returns 1 or 0."""
    return (np.asarray(original_ids) != np.asarray(corrupted_ids)).astype(int)


add(
    Exercise(
        "replaced",
        12,
        "ELECTRA's labels: was this token replaced?",
        replaced,
        lambda: [
            Try(
                "a chosen token whose replacement is the original",
                (np.array([7, 8, 9, 8]), np.array([7, 3, 9, 8]), np.array([False, True, True, False])),
            ),
            Try("nothing chosen", (np.array([4, 5]), np.array([4, 5]), np.array([False, False]))),
            Try("all replaced", (np.array([4, 5]), np.array([5, 4]), np.array([True, True]))),
        ],
        outputs=("the labels",),
        mistakes=(
            Mistake(
                "The generator may put in the original token by chance; such a token counts as not replaced "
                "(section 2).",
                lambda o, c, chosen: chosen.astype(int),
            ),
            Mistake(
                "Every token has a label; the label -100 belongs to masked language models, which learn from only "
                "15 % of the tokens.",
                lambda o, c, chosen: np.where(chosen, o != c, -100),
            ),
            Mistake(
                "Your labels are inverted: the label is 1 where the token differs from the original.",
                lambda o, c, chosen: (o == c).astype(int),
            ),
            Mistake(
                "Every token has a label, not only the chosen ones: that is why ELECTRA learns from all tokens.",
                lambda o, c, chosen: (o != c)[chosen].astype(int),
            ),
        ),
        hints=("Compare the two arrays element by element.", "astype(int) turns truth values into numbers."),
        note="ELECTRA's loss covers all tokens, whereas BERT's covers 15 % of them.",
    )
)
