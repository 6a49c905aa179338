"""Exercises of lesson 4: attention, one head at a time."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------------------ softmax


def softmax(scores: np.ndarray) -> np.ndarray:
    """scores [Tq, Tk].  Returns probabilities [Tq, Tk], the rows of which add up to 1."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_over(axis: int | None, overall_maximum: bool = False) -> Callable:
    def wrong(scores):
        exponentials = np.exp(scores - scores.max(axis=None if overall_maximum else axis, keepdims=True))
        return exponentials / exponentials.sum(axis=axis, keepdims=True)

    return wrong


COLUMNS = (
    "Your columns add up to 1.  The weights of each *query* must add up to 1 over the keys: normalise the rows, axis 1."
)


OVERFLOW = (
    "exp overflows near 710, and if all scores are far below zero, all exponentials are 0.  First subtract each row's "
    "maximum from its scores: the result is unchanged, because the factor cancels."
)
OVERALL = (
    "You subtract the overall maximum from every row, so a row far below it becomes 0 / 0.  Subtract each row's own "
    "maximum: axis=1, keepdims=True."
)
WHOLE = "The whole matrix adds up to 1; each row must add up to 1 by itself."


def overflowing_over(axis: int | None) -> Callable:
    return lambda scores: np.exp(scores) / np.exp(scores).sum(axis=axis, keepdims=True)


def softmax_minus_maximum(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def softmax_less_the_mean(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.mean(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return np.log(softmax(scores))


add(
    Exercise(
        "softmax",
        4,
        "from scores to probabilities, without overflow",
        softmax,
        lambda: [
            Try("3 queries, 5 keys", (random(0).standard_normal((3, 5)),)),
            Try("one key", (np.array([[2.0], [-3.0]]),)),
            Try("scores around 1,000", (1000 + random(1).standard_normal((2, 4)),)),
            Try("scores around -1,000", (-1000 + random(1).standard_normal((4, 4)),)),
            Try("scores 3,000 apart in one row", (np.array([[0.0, 3000, 1]]),)),
            Try("a row 2,000 below the other", (np.array([[1000.0, 999, 998], [-1000, -1001, -999]]),)),
        ],
        outputs=("the probabilities",),
        mistakes=(
            Mistake(OVERFLOW, overflowing_over(1)),
            Mistake(COLUMNS, softmax_over(0)),
            Mistake(COLUMNS, softmax_over(0, overall_maximum=True)),
            Mistake(WHOLE, softmax_over(None)),
            Mistake(COLUMNS, overflowing_over(0)),
            Mistake(WHOLE, overflowing_over(None)),
            Mistake(OVERALL, softmax_minus_maximum),
            Mistake(
                "You subtract something other than the row's maximum (the mean or the minimum?), so exp still "
                "overflows for scores far above it.",
                softmax_less_the_mean,
            ),
            Mistake("Those are the logarithms of the probabilities; return the probabilities.", log_softmax),
        ),
        hints=(
            "Subtract each row's maximum from that row; keepdims=True keeps the shape [Tq, 1].",
            "Apply exp, and then divide each row by its sum.",
        ),
        note=(
            "In the package, this is part of attention_forward, and of log_softmax in minibert/ops/reference/losses.py."
        ),
    )
)


# --------------------------------------------------------------------------------------- softmax_backward


def softmax_backward(d_probabilities: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Both [Tq, Tk].  Returns d_scores [Tq, Tk]."""
    mean = (probabilities * d_probabilities).sum(axis=1, keepdims=True)
    return probabilities * (d_probabilities - mean)


def mean_under(probabilities: np.ndarray, d_probabilities: np.ndarray) -> np.ndarray:
    return (probabilities * d_probabilities).sum(axis=1, keepdims=True)


add(
    Exercise(
        "softmax_backward",
        4,
        "the backward pass of softmax, without writing down its Jacobian",
        softmax_backward,
        lambda: [
            Try("3 queries, 5 keys", (random(2).standard_normal((3, 5)), softmax(random(3).standard_normal((3, 5))))),
            Try("one query", (random(4).standard_normal((1, 4)), softmax(random(5).standard_normal((1, 4))))),
            Try("4 by 4", (random(6).standard_normal((4, 4)), softmax(3 * random(7).standard_normal((4, 4))))),
        ],
        outputs=("d_scores",),
        mistakes=(
            Mistake(
                "You do not subtract the mean: a higher score lowers all other probabilities in its row.",
                lambda d, p: p * d,
            ),
            Mistake(
                "That is only the diagonal of the Jacobian, p (1 - p).  The other entries, -p_i p_j, are not zero.",
                lambda d, p: d * p * (1 - p),
            ),
            Mistake(
                "The mean to subtract is the one weighted by the row's probabilities, sum(p * d_p), not the plain "
                "mean.",
                lambda d, p: p * (d - d.mean(axis=1, keepdims=True)),
            ),
            Mistake(
                "The weighted mean is sum(p * d_p): the probabilities p are its weights and add up to 1, so do not "
                "divide by the number of keys.",
                lambda d, p: p * (d - (p * d).mean(axis=1, keepdims=True)),
            ),
            Mistake(
                "You take one mean over all rows together.  Each row has its own mean: use axis=1 with keepdims=True.",
                lambda d, p: p * (d - (p * d).sum()),
            ),
            Mistake(
                "That is the gradient of the log-softmax, d - p * sum(d).",
                lambda d, p: d - p * d.sum(axis=1, keepdims=True),
            ),
            Mistake(
                "The mean to subtract is weighted by the row's probabilities: sum(p * d_p), not sum(d_p).",
                lambda d, p: p * (d - d.sum(axis=1, keepdims=True)),
            ),
            Mistake(
                "p multiplies the whole difference of d_p and the mean, so put the difference in parentheses.",
                lambda d, p: p * d - mean_under(p, d),
            ),
            Mistake("The factor p in front of the parentheses is missing.", lambda d, p: d - mean_under(p, d)),
            Mistake(
                "You sum over the queries; sum over the keys, axis 1.",
                lambda d, p: p * (d - (p * d).sum(axis=0, keepdims=True)),
            ),
        ),
        hints=(
            "The entries of the Jacobian are d p_i / d s_j = p_i (1[i = j] - p_j).  Multiply by d_p_i and sum over i.",
            "The result is d_s_j = p_j (d_p_j - sum_i p_i d_p_i).",
        ),
        note="In the package, these are two lines of attention_backward in minibert/ops/reference/attention.py.",
    )
)


# ---------------------------------------------------------------------------------------------- attention


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """One head, one sequence: query [Tq, D], key, value [Tk, D].  Returns context [Tq, D]."""
    return softmax(query @ key.T / np.sqrt(query.shape[1])) @ value


def head_tries() -> Iterator[Try]:
    r = random(8)
    yield Try(
        "4 queries, 6 keys, D = 3", (r.standard_normal((4, 3)), r.standard_normal((6, 3)), r.standard_normal((6, 3)))
    )
    yield Try("one token", tuple(r.standard_normal((1, 5)) for _ in range(3)))
    yield Try("5 queries, 5 keys, D = 8", tuple(2 * r.standard_normal((5, 8)) for _ in range(3)))
    for what, first in (("scores near 1,000", (60, 60, 60)), ("scores near -1,000", (-60, -60, -60)),
                        ("one query with scores near 1,000 and one near -1,000", (60, -60))):  # fmt: skip
        query, key, value = (r.standard_normal(shape) for shape in ((len(first), 4), (4, 4), (4, 4)))
        query[:, 0], key[:, 0] = first, 35
        yield Try(what, (query, key, value))


add(
    Exercise(
        "attend",
        4,
        "one head of attention",
        attend,
        head_tries,
        outputs=("context",),
        mistakes=(
            Mistake(
                "The scores are not scaled.  A sum of D products has a standard deviation of sqrt(D), so divide "
                "the scores by it.",
                lambda q, k, v: softmax(q @ k.T) @ v,
            ),
            Mistake(
                "You divide by D; the paper divides by sqrt(D), the standard deviation of a sum of D products.",
                lambda q, k, v: softmax(q @ k.T / q.shape[1]) @ v,
            ),
            Mistake(
                "You divide by the square root of the number of keys; a score is a sum of D products, so divide by "
                "sqrt(D).",
                lambda q, k, v: softmax(q @ k.T / np.sqrt(len(k))) @ v,
            ),
            Mistake(
                "You divide by the square root of the number of queries; a score is a sum of D products, so divide "
                "by sqrt(D).",
                lambda q, k, v: softmax(q @ k.T / np.sqrt(len(q))) @ v,
            ),
            Mistake(
                "The softmax is missing: the weights of a mean must be positive and add up to 1.",
                lambda q, k, v: q @ k.T / np.sqrt(q.shape[1]) @ v,
            ),
            Mistake(
                "You normalise over the queries.  The weights that each query gives to the keys must add up to 1.",
                lambda q, k, v: softmax_over(0)(q @ k.T / np.sqrt(q.shape[1])) @ v,
            ),
            Mistake(
                "You multiply by sqrt(D); divide by it, which keeps the scores near 1.",
                lambda q, k, v: softmax(q @ k.T * np.sqrt(q.shape[1])) @ v,
            ),
            Mistake(
                "You divide by sqrt(D) after the softmax, so the weights no longer add up to 1.  Divide the scores "
                "before the softmax.",
                lambda q, k, v: softmax(q @ k.T) @ v / np.sqrt(q.shape[1]),
            ),
            Mistake(
                "The result is a weighted mean of the *values*; the keys only decide the weights.",
                lambda q, k, v: softmax(q @ k.T / np.sqrt(q.shape[1])) @ k,
            ),
            Mistake(OVERFLOW, lambda q, k, v: overflowing_over(1)(q @ k.T / np.sqrt(q.shape[1])) @ v),
            Mistake(OVERALL, lambda q, k, v: softmax_minus_maximum(q @ k.T / np.sqrt(q.shape[1])) @ v),
        ),
        hints=("The scores [Tq, Tk] are query @ key.T / sqrt(D).", "Apply softmax to each row, and multiply by value."),
        note=(
            "In the package, this is attention_forward, which handles all heads and all sequences of a ragged batch."
        ),
    )
)


# --------------------------------------------------------------------------------------- attend_backward


def attend_backward(
    d_context: np.ndarray, query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_context [Tq, D]; the others as in attend.  Returns d_query [Tq, D], d_key [Tk, D], d_value [Tk, D]."""
    scale = query.shape[1] ** -0.5
    probabilities = softmax(query @ key.T * scale)
    # context = probabilities @ value
    d_value = probabilities.T @ d_context
    d_scores = softmax_backward(d_context @ value.T, probabilities)
    # scores = query @ key.T * scale
    return d_scores @ key * scale, d_scores.T @ query * scale, d_value


def head_backward_tries() -> Iterator[Try]:
    for one in head_tries():
        yield Try(one.what, (random(9).standard_normal(one.arguments[0].shape), *one.arguments))


def backward_with(
    *,
    scaled: bool = True,
    scaled_before: bool = True,
    softmax_gradient: Callable = softmax_backward,
    transposed: bool = True,
    softened: Callable = softmax,
) -> Callable:
    """attend_backward with something wrong."""

    def wrong(d_context, query, key, value):
        scale = query.shape[1] ** -0.5
        probabilities = softened(query @ key.T * (scale if scaled_before else 1))
        d_scores = softmax_gradient(d_context @ value.T, probabilities)
        d_value = probabilities.T @ d_context if transposed else probabilities @ d_context
        factor = scale if scaled else 1
        return d_scores @ key * factor, d_scores.T @ query * factor, d_value

    return wrong


def scores_softened_twice(
    d_context: np.ndarray, query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradient of the probabilities used as that of the scores."""
    return backward_with(softmax_gradient=lambda d, p: d)(d_context, query, key, value)


add(
    Exercise(
        "attend_backward",
        4,
        "the backward pass of a head, in seven lines",
        attend_backward,
        head_backward_tries,
        outputs=("d_query", "d_key", "d_value"),
        mistakes=(
            Mistake(
                "The factor 1 / sqrt(D) is missing: the forward pass scales the scores by it, so it also belongs "
                "in d_query and in d_key.",
                backward_with(scaled=False),
            ),
            Mistake(
                "The scores are not scaled, neither when you recompute the probabilities nor on the way back: the "
                "factor 1 / sqrt(D) is missing in both places.",
                backward_with(scaled_before=False, scaled=False),
            ),
            Mistake(
                "When you recompute the probabilities, you do not divide the scores by sqrt(D).",
                backward_with(scaled_before=False),
            ),
            Mistake(
                "In the gradient of the softmax, you have only the diagonal of the Jacobian, p (1 - p).",
                backward_with(softmax_gradient=lambda d, p: d * p * (1 - p)),
            ),
            Mistake(
                "In the gradient of the softmax, you sum over the queries; sum over the keys, axis 1.",
                backward_with(softmax_gradient=lambda d, p: p * (d - (p * d).sum(axis=0, keepdims=True))),
            ),
            Mistake(
                "In the gradient of the softmax, the mean is weighted by the row's probabilities; you take the "
                "plain mean.",
                backward_with(softmax_gradient=lambda d, p: p * (d - d.mean(axis=1, keepdims=True))),
            ),
            Mistake(
                "In the gradient of the softmax, you do not subtract the row's mean.",
                backward_with(softmax_gradient=lambda d, p: d * p),
            ),
            Mistake(
                "You skip the gradient of the softmax: d_scores = probabilities * (d_probabilities - mean).",
                scores_softened_twice,
            ),
            Mistake(
                "d_value collects a gradient from every query that attends to the key: probabilities.T @ d_context.",
                backward_with(transposed=False),
            ),
            Mistake(OVERFLOW, backward_with(softened=overflowing_over(1))),
            Mistake(OVERALL, backward_with(softened=softmax_minus_maximum)),
        ),
        hints=(
            "Recompute the probabilities; then walk back through the three lines of the forward pass.",
            "context = p @ value gives d_value = p.T @ d_context and d_p = d_context @ value.T.",
            "softmax_backward gives d_scores from d_p; scores = query @ key.T / sqrt(D) gives d_query and d_key.",
        ),
        note="In the package, this is attention_backward in minibert/ops/reference/attention.py.",
    )
)
