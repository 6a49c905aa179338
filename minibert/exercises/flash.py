"""Exercises of lesson 10: flash attention in NumPy."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.exercises.watched import Log, Rows, about_tiles


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------------- online_softmax


def online_attention(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    """One query [D], keys and values [T, D], `tile` of them at a time; scores are not scaled.  Returns context [D]."""
    maximum, total, context = -np.inf, 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        scores = key[first : first + tile] @ query
        higher = max(maximum, scores.max())
        factor = np.exp(maximum - higher)
        weights = np.exp(scores - higher)
        total = total * factor + weights.sum()
        context = context * factor + weights @ value[first : first + tile]
        maximum = higher
    return context / total


def online_with(
    *,
    total: bool = True,
    context: bool = True,
    tail: bool = True,
    running: bool = True,
    lowest: float = -np.inf,
    divided: bool = True,
    upside_down: bool = False,
) -> Callable:
    def wrong(query, key, value, tile):
        maximum, sums, out = lowest, 0.0, np.zeros(value.shape[1])
        last = len(key) if tail or len(key) < tile else len(key) // tile * tile
        for first in range(0, last, tile):
            scores = key[first : first + tile] @ query
            higher = max(maximum, scores.max()) if running else scores.max()
            factor = np.exp(maximum - higher) if maximum > -np.inf else 0
            if upside_down and maximum > -np.inf:
                factor = 1 / factor
            weights = np.exp(scores - higher)
            sums = sums * (factor if total else 1) + weights.sum()
            out = out * (factor if context else 1) + weights @ value[first : first + tile]
            maximum = higher
        return out / sums if divided else out

    return wrong


def divided_in_each_tile(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    maximum, sums, out = -np.inf, 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        scores = key[first : first + tile] @ query
        higher = max(maximum, scores.max())
        factor, weights = np.exp(maximum - higher), np.exp(scores - higher)
        sums = sums * factor + weights.sum()
        out = (out * factor + weights @ value[first : first + tile]) / sums
        maximum = higher
    return out


def forgotten_maximum(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    """The maximum is never kept: each tile subtracts its own, as if it were the first."""
    sums, out = 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        scores = key[first : first + tile] @ query
        weights = np.exp(scores - scores.max())
        sums, out = weights.sum(), weights @ value[first : first + tile]
    return out / sums


LOWEST = (
    "Begin with a maximum of minus infinity, and do not let positions beyond the last key raise it.  "
    "Otherwise, when all scores are far below 0, both sums stay 0."
)
NOT_SCALED = "The scores are not scaled in this exercise: do not divide by sqrt(D)."


def without_maximum(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    weights = np.exp(key @ query)
    return weights @ value / weights.sum()


def online_tries() -> Iterator[Try]:
    r = random(0)
    for what, keys, width, tile, size in (
        ("8 keys, tiles of 4", 8, 3, 4, 1), ("7 keys, tiles of 3", 7, 4, 3, 1), ("tiles of one key", 5, 2, 1, 1),
        ("large scores", 6, 4, 2, 40), ("a tile for more keys than there are", 3, 2, 5, 1),
    ):  # fmt: skip
        query, key = size * r.standard_normal(width), size * r.standard_normal((keys, width))
        yield online_try(what, query, key, r.standard_normal((keys, width)), tile)
    value = r.standard_normal((6, 3))
    yield online_try("scores near -1,000", np.full(3, -20.0), 16 + r.standard_normal((6, 3)), value, 2)
    rising = np.array([0, -1, 1000, 999, 2000, 2001.0])[:, None] * np.ones(3)
    yield online_try("scores that rise by 1,000 from tile to tile", np.full(3, 1 / 3), rising, value, 2)


def online_try(what: str, query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> Try:
    """A case whose keys and values remember how they are read."""
    log = Log()
    return Try(what, (query, Rows("key", key, log), Rows("value", value, log), tile))


def first_maximum(query: np.ndarray, key: np.ndarray, value: np.ndarray, tile: int) -> np.ndarray:
    maximum, total, context = (key[:tile] @ query).max(), 0.0, np.zeros(value.shape[1])
    for first in range(0, len(key), tile):
        weights = np.exp(key[first : first + tile] @ query - maximum)
        total, context = total + weights.sum(), context + weights @ value[first : first + tile]
    return context / total


add(
    Exercise(
        "online_attention",
        10,
        "the softmax that never sees all scores at once",
        online_attention,
        online_tries,
        outputs=("context",),
        mistakes=(
            Mistake(
                "When a higher score arrives, the context accumulated so far must shrink along with the "
                "denominator: multiply it by exp(old maximum - new maximum).",
                online_with(context=False),
            ),
            Mistake(
                "When a higher score arrives, the denominator accumulated so far must shrink, too: multiply it by "
                "exp(old maximum - new maximum).",
                online_with(total=False),
            ),
            Mistake(
                "When a higher score arrives, both sums accumulated so far must shrink: multiply them by exp(old "
                "maximum - new maximum).  (If you already do that, make sure not to overwrite the old maximum "
                "before you compute the factor.)",
                online_with(total=False, context=False),
            ),
            Mistake(LOWEST, online_with(lowest=0.0)),
            Mistake(NOT_SCALED, lambda q, k, v, tile: online_attention(q / np.sqrt(len(q)), k, v, tile)),
            Mistake(
                "The new maximum is the larger of the old maximum *and* the maximum of the tile.",
                online_with(running=False),
            ),
            Mistake(
                "The factor is inverted: it is exp(old maximum - new maximum), which is at most 1.",
                online_with(upside_down=True),
            ),
            Mistake("You never divide the context by the denominator.", online_with(divided=False)),
            Mistake(
                "You divide in every tile, so earlier results are divided repeatedly.  Divide once, at the end, "
                "when the denominator is complete.",
                divided_in_each_tile,
            ),
            Mistake(
                "Only the last tile counts: you never update the old maximum, so the sums so far are multiplied by "
                "exp(-infinity), which is 0.  Set it to the new maximum at the end of each round.",
                forgotten_maximum,
            ),
            Mistake("The last keys are left out when T is not a multiple of the tile.", online_with(tail=False)),
            Mistake(
                "exp overflows when scores are large: keep a running maximum, and subtract it from the scores "
                "before exp.",
                without_maximum,
            ),
            Mistake(
                "You keep the maximum of the first tile, so exp overflows when a later tile has much higher scores.  "
                "Update the maximum in each tile, and correct both sums.",
                first_maximum,
            ),
        ),
        about=about_tiles,
        hints=(
            "Keep three things from tile to tile: the highest score, the denominator, and the context before division.",
            "In each tile, compute new = max(old, scores.max()) and factor = exp(old - new), multiply both "
            "sums by factor, and then add what the tile contributes.",
            "Divide the context by the denominator once, at the end.",
        ),
        note="In the package, `soften` in minibert/ops/gpu/attention.cu does this for eight scores at a time.",
    )
)


# --------------------------------------------------------------------------------------- recompute_scores


def flash_d_scores(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    d_context: np.ndarray,
    log_sums: np.ndarray,
    delta: np.ndarray,
) -> np.ndarray:
    """One tile, scores unscaled: query, d_context [Tq, D]; key, value [Tk, D]; log_sums, delta [Tq].

    log_sums: log of each query's softmax denominator over *all* keys; delta: d_context . context of each query.
    Returns d_scores [Tq, Tk] of this tile.
    """
    probabilities = np.exp(query @ key.T - log_sums[:, None])
    return probabilities * (d_context @ value.T - delta[:, None])


def local_softmax(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    d_context: np.ndarray,
    log_sums: np.ndarray,
    delta: np.ndarray,
) -> np.ndarray:
    scores = query @ key.T
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return p * (d_context @ value.T - delta[:, None])


def local_mean(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    d_context: np.ndarray,
    log_sums: np.ndarray,
    delta: np.ndarray,
) -> np.ndarray:
    p = np.exp(query @ key.T - log_sums[:, None])
    d_p = d_context @ value.T
    return p * (d_p - (p * d_p).sum(axis=1, keepdims=True))


def tile_tries() -> Iterator[Try]:
    r = random(1)
    for what, queries, keys, width, first, last in (
        ("keys 2 to 6 of 8", 3, 8, 4, 2, 6),
        ("the last key", 2, 5, 3, 4, 5),
        ("as many keys as queries", 3, 8, 4, 0, 3),
        ("scores near 1,000", 2, 5, 4, 1, 4),
        ("scores near -1,000", 2, 5, 4, 1, 4),
    ):
        q, k, v, d = (r.standard_normal((n, width)) for n in (queries, keys, keys, queries))
        if "1,000" in what:
            q[:, 0], k[:, 0] = (-40 if "-" in what else 40), 25
        scores = q @ k.T
        highest = scores.max(axis=1)
        log_sums = highest + np.log(np.exp(scores - highest[:, None]).sum(axis=1))
        context = np.exp(scores - log_sums[:, None]) @ v
        yield Try(what, (q, k[first:last], v[first:last], d, log_sums, (d * context).sum(axis=1)))


add(
    Exercise(
        "flash_d_scores",
        10,
        "the backward pass of a tile, from two numbers for each row",
        flash_d_scores,
        tile_tries,
        outputs=("d_scores",),
        mistakes=(
            Mistake(
                "You normalise over the keys of this tile only.  The denominator is the sum over all keys, and its "
                "logarithm is in log_sums.",
                local_softmax,
            ),
            Mistake(
                "The mean must cover *all* keys of the query, not only those of this tile; delta holds exactly "
                "that mean.",
                local_mean,
            ),
            Mistake(
                NOT_SCALED,
                lambda q, k, v, d, s, e: flash_d_scores(q / np.sqrt(q.shape[1]), k, v, d, s, e),
            ),
            Mistake(
                "The mean is missing: subtract delta from each query's d_probabilities.",
                lambda q, k, v, d, s, e: np.exp(q @ k.T - s[:, None]) * (d @ v.T),
            ),
            Mistake(
                "Subtract delta from d_probabilities before you multiply: compute p * (d_p - delta), not p * d_p - "
                "delta.",
                lambda q, k, v, d, s, e: np.exp(q @ k.T - s[:, None]) * (d @ v.T) - e[:, None],
            ),
            Mistake(
                "The factor of the probabilities is missing: multiply by them to get d_scores.",
                lambda q, k, v, d, s, e: d @ v.T - e[:, None],
            ),
            Mistake(
                "exp overflows when scores are large: subtract log_sums from the scores *before* exp, instead of "
                "dividing exp(scores) by exp(log_sums).",
                lambda q, k, v, d, s, e: np.exp(q @ k.T) / np.exp(s)[:, None] * (d @ v.T - e[:, None]),
            ),
        ),
        hints=(
            "The probabilities are exp(scores - log_sums[:, None]): you need neither a maximum nor a sum.",
            "As in lesson 4, d_scores = p * (d_p - mean); here, the mean is delta.",
        ),
        note=(
            "The sum of p * d_p over all keys equals d_context . context, so one number for each query "
            "replaces a row of T numbers."
        ),
    )
)
