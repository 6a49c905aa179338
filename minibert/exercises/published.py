"""Exercises of lesson 12: real weights, search, and what the models have learned."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# -------------------------------------------------------------------------------------------- pool_padded


def pool_padded(hidden: np.ndarray, mask: np.ndarray, d_vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """hidden [B, T, H], padded; mask bool [B, T], false for padding; d_vectors [B, H], the gradient of the vectors.

    Returns the mean of each row's tokens, [B, H], and d_hidden [B, T, H].
    """
    count = np.maximum(mask.sum(axis=1, keepdims=True), 1)  # [B, 1]
    tokens = np.where(mask[:, :, None], hidden, 0)  # [B, T, H]
    return tokens.sum(axis=1) / count, (mask / count)[:, :, None] * d_vectors[:, None]


def pool_with(vectors: Callable | None = None, gradient: Callable | None = None) -> Callable:
    """pool_padded with something wrong: other functions of (hidden, mask [B, T, 1], count [B, 1]), (d, mask, count)."""

    def wrong(hidden, mask, d_vectors):
        right = pool_padded(hidden, mask, d_vectors)
        wide, count = mask[:, :, None], mask.sum(axis=1, keepdims=True)
        return vectors(hidden, wide, count) if vectors else right[0], (
            gradient(d_vectors, wide, np.maximum(count, 1)) if gradient else right[1]
        )

    return wrong


def sum_of_tokens(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, hidden, 0).sum(axis=1)


def pool_tries() -> Iterator[Try]:
    for seed, (what, lengths, longest, width, padding) in enumerate(
        (
            ("lengths 5, 3 and 4", (5, 3, 4), 5, 4, 0.0),
            ("one sentence without padding", (4,), 4, 3, 0.0),
            ("numbers in the padding", (2, 6), 7, 3, 1.0),
            ("a row without tokens", (3, 0, 1), 3, 2, 1.0),
            ("NaN in the padding", (1, 3), 4, 2, np.nan),
        )
    ):
        r = random(seed)
        mask = np.arange(longest) < np.array(lengths)[:, None]
        hidden = r.standard_normal((len(lengths), longest, width))
        hidden[~mask] *= padding
        yield Try(what, (hidden, mask, r.standard_normal((len(lengths), width))))
    mask = np.array([[False, True, True, False], [True, False, True, True]])
    yield Try("padding on both sides", (random(7).standard_normal((2, 4, 3)), mask, random(8).standard_normal((2, 3))))


add(
    Exercise(
        "pool_padded",
        12,
        "a vector for a sentence: the mean of its tokens, and its gradient",
        pool_padded,
        pool_tries,
        outputs=("the vectors", "d_hidden"),
        mistakes=(
            Mistake(
                "0 times NaN is NaN: hidden * mask keeps the NaN of the padding.  Choose with np.where instead.",
                pool_with(lambda hidden, mask, count: (hidden * mask).sum(axis=1) / np.maximum(count, 1)),
            ),
            Mistake(
                "0 times NaN is NaN: hidden * mask keeps the NaN of the padding (choose with np.where instead).  And a "
                "row without tokens becomes 0 / 0: its vector is 0.",
                pool_with(lambda hidden, mask, count: (hidden * mask).sum(axis=1) / count),
            ),
            Mistake(
                "A row without tokens becomes 0 / 0: its vector is 0, so divide by at least 1.",
                pool_with(lambda hidden, mask, count: sum_of_tokens(hidden, mask) / count),
            ),
            Mistake(
                "That is the first token of each row, [CLS].  MiniLM was trained with the mean of all tokens.",
                pool_with(lambda hidden, mask, count: hidden[:, 0]),
            ),
            Mistake(
                "Your mean includes the padding: the mean of a sentence must not depend on how far it is padded.",
                pool_with(lambda hidden, mask, count: hidden.mean(axis=1)),
            ),
            Mistake(
                "You divide every sum by the padded length.  Divide each by the number of its row's tokens.",
                pool_with(lambda hidden, mask, count: sum_of_tokens(hidden, mask) / mask.shape[1]),
            ),
            Mistake(
                "You take sums, so long sentences would have long vectors.  Divide each sum by the number of its row's "
                "tokens.",
                pool_with(lambda hidden, mask, count: sum_of_tokens(hidden, mask)),
            ),
            Mistake(
                "A token has only a share of 1 / count in the mean, so it gets that share of the gradient: divide by "
                "the number of its row's tokens.",
                pool_with(gradient=lambda d, mask, count: mask * d[:, None]),
            ),
            Mistake(
                "Padding gets a gradient in your answer.  It has no part in the mean, so its gradient is 0.",
                pool_with(gradient=lambda d, mask, count: np.ones(mask.shape) * (d / count)[:, None]),
            ),
            Mistake(
                "You divide the gradient by the padded length.  Divide by the number of the row's tokens.",
                pool_with(gradient=lambda d, mask, count: mask * d[:, None] / mask.shape[1]),
            ),
            Mistake(
                "You divide the gradient by the padded length, and padding gets a share of it, too.  Divide by the "
                "number of the row's tokens; the gradient of padding is 0.",
                pool_with(gradient=lambda d, mask, count: np.ones(mask.shape) * d[:, None] / mask.shape[1]),
            ),
        ),
        hints=(
            "np.where(mask[:, :, None], hidden, 0) has zeros where the padding was, whatever it held.",
            "Divide the sum over axis 1 by the number of tokens, mask.sum(axis=1), or by 1 where that is 0.",
            "Each token of a row has the share 1 / count in its vector: d_hidden of a token is d_vectors / count of "
            "its row, and 0 for padding.",
        ),
        note="In the package, the op mean_pool does this to sequences that lie end to end, so there is no padding.",
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
