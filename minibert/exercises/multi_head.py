"""Lesson 4: all heads of all sequences."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.exercises.self_attention import attend, attend_backward


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def multi_head(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, cu_q: np.ndarray, cu_k: np.ndarray
) -> np.ndarray:
    """query [Nq, H]; key, value [N, H]; sequence b has rows cu_q[b] to cu_q[b + 1] of query, cu_k[b] ... of the others.

    Returns context [Nq, H]; each head has its own H / heads features, side by side.
    """
    context = np.empty_like(query)
    width = query.shape[1] // heads
    for q, q_end, k, k_end in zip(cu_q[:-1], cu_q[1:], cu_k[:-1], cu_k[1:], strict=True):
        for head in range(heads):
            features = slice(head * width, (head + 1) * width)
            context[q:q_end, features] = attend(
                query[q:q_end, features], key[k:k_end, features], value[k:k_end, features]
            )
    return context


def with_mistake(
    *, together: bool = False, whole: bool = False, strided: bool = False, queries: bool = False
) -> Callable:
    """multi_head with a mistake: all sequences together, one head, every heads-th feature, or the queries' rows."""

    def function(query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, cu_q: np.ndarray, cu_k: np.ndarray):
        context = np.zeros_like(query)
        cu_q, cu_k = (np.array([0, cu[-1]]) if together else cu for cu in (cu_q, cu_k))
        cu_k = cu_q if queries else cu_k
        width = query.shape[1] // heads
        for q, q_end, k, k_end in zip(cu_q[:-1], cu_q[1:], cu_k[:-1], cu_k[1:], strict=True):
            for head in range(1 if whole else heads):
                features = slice(head, None, heads) if strided else slice(head * width, (head + 1) * width)
                features = slice(None) if whole else features
                given = query[q:q_end, features], key[k:k_end, features], value[k:k_end, features]
                if len(given[1]):
                    context[q:q_end, features] = attend(*given)
        return context

    return function


def scaled_by_the_width(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, cu_q: np.ndarray, cu_k: np.ndarray
) -> np.ndarray:
    return multi_head(query / np.sqrt(heads), key, value, heads, cu_q, cu_k)


def head_tries() -> Iterator[Try]:
    r = random(12)

    def case(what: str, width: int, heads: int, asking: list[int], lengths: list[int]) -> Try:
        cu_q, cu_k = (np.concatenate([[0], np.cumsum(counts)]) for counts in (asking, lengths))
        arrays = [r.standard_normal((cu[-1], width)) for cu in (cu_q, cu_k, cu_k)]
        return Try(what, (*arrays, heads, cu_q, cu_k))

    yield case("lengths 3 and 5, 2 heads", 6, 2, [3, 5], [3, 5])
    yield case("lengths 4, 1 and 2, 3 heads", 12, 3, [4, 1, 2], [4, 1, 2])
    yield case("one sequence, one head", 4, 1, [5], [5])
    yield case("the last layer: only some rows ask", 8, 2, [1, 2, 0], [4, 3, 2])


add(
    Exercise(
        "multi_head",
        4,
        "all heads of all sequences",
        multi_head,
        head_tries,
        outputs=("context",),
        mistakes=(
            Mistake(
                "Tokens look at other sequences.  The batch is one flat run of tokens: rows cu_k[b] to cu_k[b + 1] are "
                "sequence b, and its queries look at these only.",
                with_mistake(together=True),
            ),
            Mistake(
                "There is only one head, of the full width.  Head a uses features a * D to (a + 1) * D - 1, where D is "
                "H / heads.",
                with_mistake(whole=True),
            ),
            Mistake(
                "A head takes every heads-th feature.  The features of a head lie side by side: a * D to "
                "(a + 1) * D - 1.",
                with_mistake(strided=True),
            ),
            Mistake(
                "The keys of a sequence are cut out with cu_q; where only some rows ask, keys and values need cu_k.",
                with_mistake(queries=True),
            ),
            Mistake(
                "The scores are divided by sqrt(H); within a head, divide by sqrt(D), D = H / heads.",
                scaled_by_the_width,
            ),
        ),
        hints=(
            "Two loops: over the sequences, and over the heads.",
            "In sequence b, the queries are query[cu_q[b] : cu_q[b + 1]].  Which features belong to head a?",
            "context[rows, features] = attend(query[rows, features], key[others, features], value[others, features])",
        ),
        note="In the package, this is attention_forward in minibert/ops/reference/attention.py.",
    )
)


def multi_head_backward(
    d_context: np.ndarray,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    heads: int,
    cu_q: np.ndarray,
    cu_k: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of multi_head, which lesson 5 gives: d_context [Nq, H] -> d_query, d_key, d_value."""
    d_query, d_key, d_value = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
    width = query.shape[1] // heads
    for q, q_end, k, k_end in zip(cu_q[:-1], cu_q[1:], cu_k[:-1], cu_k[1:], strict=True):
        for head in range(heads):
            features = slice(head * width, (head + 1) * width)
            asking, asked = (slice(q, q_end), features), (slice(k, k_end), features)
            d_query[asking], d_key[asked], d_value[asked] = attend_backward(
                d_context[asking], query[asking], key[asked], value[asked]
            )
    return d_query, d_key, d_value
