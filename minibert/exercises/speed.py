"""Exercises of lesson 8: fast on a CPU."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ----------------------------------------------------------------------------------------------- roofline


def roofline(operations: float, moved: np.ndarray, peak: float, bandwidths: np.ndarray) -> tuple[float, np.ndarray]:
    """operations: of an op; moved [levels]: bytes that it moves through each level of memory, such as cache and memory;
    peak: operations a second; bandwidths [levels]: bytes a second of each level.

    Returns the operations a second that can be had at most, and the ridge points [levels].
    """
    seconds = max(operations / peak, *(moved / bandwidths))
    return operations / seconds, peak / bandwidths


def roof_with(speed: Callable | None = None, ridge: Callable | None = None) -> Callable:
    """roofline with something wrong.  speed: (the processor's limit, the levels' limits) -> operations a second."""

    def wrong(operations, moved, peak, bandwidths):
        right = roofline(operations, moved, peak, bandwidths)
        limits = operations * bandwidths / moved
        return speed(peak, limits) if speed else right[0], (
            ridge(operations, moved, peak, bandwidths) if ridge else right[1]
        )

    return wrong


def of_all_bytes(operations: float, moved: np.ndarray, peak: float, bandwidths: np.ndarray) -> tuple[float, np.ndarray]:
    return min(peak, operations * min(bandwidths) / sum(moved)), peak / bandwidths


def roofline_tries() -> Iterator[Try]:
    for what, operations, moved, peak, bandwidths in (
        ("GELU: 20 operations, 16 bytes through the cache, 8 through memory", 20e6, [16e6, 8e6], 150e9, [200e9, 20e9]),
        ("a matrix product in blocks", 268e6, [134e6, 3e6], 150e9, [200e9, 20e9]),
        ("a row that stays in the cache: nothing moves through memory", 1e6, [8e6, 0], 150e9, [200e9, 20e9]),
        ("one level of memory", 4e6, [12e6], 90e9, [30e9]),
        ("a GPU with three levels", 5e9, [9e9, 4e9, 3e8], 60e12, [19e12, 7e12, 3e12]),
    ):
        yield Try(what, (operations, np.array(moved, float), peak, np.array(bandwidths)))


add(
    Exercise(
        "roofline",
        8,
        "the roofline: what limits the speed of an op?",
        roofline,
        roofline_tries,
        outputs=("the number of operations per second", "the ridge points"),
        mistakes=(
            Mistake(
                "The op is limited by the *lowest* of the limits: use min, not max.",
                roof_with(lambda peak, limits: max(peak, *limits)),
            ),
            Mistake(
                "Memory is a limit as well: an op cannot compute with bytes that have not arrived.",
                roof_with(lambda peak, limits: peak),
            ),
            Mistake(
                "The processor is a limit as well: the op never exceeds the peak.",
                roof_with(lambda peak, limits: min(limits)),
            ),
            Mistake(
                "Only the last level counts in your result.  Bytes that come from a cache need time, too: each level "
                "has its own bytes and its own bandwidth.",
                roof_with(lambda peak, limits: min(peak, limits[-1])),
            ),
            Mistake(
                "Only the first level counts in your result: each level has its own bytes and its own bandwidth.",
                roof_with(lambda peak, limits: min(peak, limits[0])),
            ),
            Mistake(
                "You add up the times.  Processor, caches and memory work at the same time, so the slowest one "
                "decides.",
                roof_with(lambda peak, limits: 1 / (1 / peak + sum(1 / limits))),
            ),
            Mistake(
                "You add up the bytes of all levels: each level moves its own bytes, at its own bandwidth.",
                of_all_bytes,
            ),
            Mistake(
                "A ridge point is in operations per byte: (operations / second) / (bytes / second), not the inverse.",
                roof_with(ridge=lambda operations, moved, peak, bandwidths: bandwidths / peak),
            ),
            Mistake(
                "That is the op's own intensity.  The ridge point belongs to the machine: from this intensity on, a "
                "level is no longer the limit, whatever the op.",
                roof_with(ridge=lambda operations, moved, peak, bandwidths: operations / moved),
            ),
            Mistake(
                "A ridge point is where the slope intensity * bandwidth reaches the peak: divide, do not multiply.",
                roof_with(ridge=lambda operations, moved, peak, bandwidths: peak * bandwidths),
            ),
        ),
        hints=(
            "How many seconds does the processor need for the operations, and each level for its bytes?  They all work "
            "at the same time, so the slowest decides.",
            "The speed is operations / seconds.  (Times, unlike limits, need no division by the bytes, which may be "
            "0.)",
            "A level's slope, intensity * bandwidth, reaches the peak at the ridge point: solve for the intensity.",
        ),
        note="The command `minibert bench --plot roofline.png` draws each op of a training step in such a plot.",
    )
)


# --------------------------------------------------------------------------------------------- rows_read


def rows_read(masked_positions: np.ndarray, cu_seqlens: np.ndarray) -> np.ndarray:
    """Which rows of the last layer do the losses read: masked tokens, each sequence's [CLS].  Ascending, each once."""
    return np.union1d(masked_positions, cu_seqlens[:-1])


add(
    Exercise(
        "rows_read",
        8,
        "compute only what the loss reads",
        rows_read,
        lambda: [
            Try("lengths 5, 3 and 4", (np.array([2, 6, 7, 9]), np.array([0, 5, 8, 12]))),
            Try("a masked token that is the first of its sequence", (np.array([0, 5, 6]), np.array([0, 5, 8]))),
            Try("nothing masked", (np.array([], int), np.array([0, 4]))),
            Try("sequences of 128 tokens", (np.array([7, 90, 135, 200, 301]), np.array([0, 128, 256, 384]))),
        ],
        outputs=("the rows",),
        mistakes=(
            Mistake(
                "Next-sentence prediction reads the first token of each sequence, [CLS]: its row is needed, too.",
                lambda m, c: m,
            ),
            Mistake(
                "A row that both losses read must occur only once.", lambda m, c: np.sort(np.concatenate([m, c[:-1]]))
            ),
            Mistake(
                "The rows must be in ascending order, so that the batch keeps its order.",
                lambda m, c: np.concatenate([c[:-1], np.setdiff1d(m, c[:-1])]),
            ),
            Mistake(
                "The rows must be in ascending order, so that the batch keeps its order; and a row that both "
                "losses read must occur only once.",
                lambda m, c: np.concatenate([m, c[:-1]]),
            ),
            Mistake(
                "The rows must be in ascending order, so that the batch keeps its order; and a row that both "
                "losses read must occur only once.",
                lambda m, c: np.concatenate([c[:-1], m]),
            ),
            Mistake(
                "The rows must be in ascending order.  A Python set has no order: sort its elements.",
                lambda m, c: np.array(list({*m.tolist(), *c[:-1].tolist()})),
            ),
            Mistake(
                "cu_seqlens ends with the number of tokens, where no sequence begins: leave out its last element.",
                lambda m, c: np.union1d(m, c),
            ),
        ),
        hints=(
            "Where does sequence i begin?  It begins at cu_seqlens[i].",
            "np.union1d sorts its arguments and removes duplicates.",
        ),
        note=(
            "In the package, this is BertForPreTraining.prepare.  Of 128 tokens, about 20 are read: the "
            "feed-forward network of the last layer costs only a sixth."
        ),
    )
)


# ------------------------------------------------------------------------------------------- fused_layer


def fused_row(x: np.ndarray, residual: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    """layernorm(x + residual) of one row [H], as one function: without a matrix of sums in memory.  Returns y [H]."""
    total = x + residual
    centred = total - total.mean()
    return centred / np.sqrt((centred * centred).mean() + eps) * weight + bias


def fused_with(
    *,
    residual: int = 1,
    eps: float = 1.0,
    ddof: int = 0,
    mean: int = 1,
    biased: int = 1,
    weighted: bool = True,
    eps_outside: bool = False,
    root: bool = True,
) -> Callable:
    """fused_row with something wrong."""

    def wrong(x, r, weight, bias, e):
        total = x + residual * r
        centred = total - mean * total.mean()
        variance = ((total - total.mean()) ** 2).sum() / (len(total) - ddof) if mean else (total**2).mean()
        below = np.sqrt(variance) + e if eps_outside else (variance + eps * e) ** (0.5 if root else 1)
        return centred / below * (weight if weighted else 1) + biased * bias

    return wrong


def unstable_variance(x: np.ndarray, r: np.ndarray, weight: np.ndarray, bias: np.ndarray, e: float) -> np.ndarray:
    total = x + r
    variance = (total * total).mean() - total.mean() ** 2
    return (total - total.mean()) / np.sqrt(np.maximum(variance, 0) + e) * weight + bias


def fused_tries() -> Iterator[Try]:
    r = random(0)
    for what, width, shift, eps in (
        ("8 features", 8, 0.0, 1e-3), ("7 features, a larger eps", 7, 0.0, 0.1), ("a mean of 10 million", 16, 1e7, 1e-3)
    ):  # fmt: skip
        yield Try(
            what,
            (
                shift + r.standard_normal(width),
                r.standard_normal(width),
                1 + r.standard_normal(width),
                r.standard_normal(width),
                eps,
            ),
        )


add(
    Exercise(
        "fused_row",
        8,
        "residual and layer norm in one pass",
        fused_row,
        fused_tries,
        outputs=("y",),
        tolerance=1e-6,
        mistakes=(
            Mistake(
                "mean(x * x) - mean(x)**2 is the difference of two large numbers: with a mean of 10 million, a "
                "variance of 2 is lost to rounding.  Subtract the mean before you square.",
                unstable_variance,
            ),
            Mistake("The residual is missing: add it to x first.", fused_with(residual=0)),
            Mistake("eps is missing under the square root, beside the variance.", fused_with(eps=0.0)),
            Mistake("You divide the variance by H - 1; a layer norm divides by H.", fused_with(ddof=1)),
            Mistake("The mean is not subtracted from the elements.", fused_with(mean=0)),
            Mistake("The bias is missing at the end.", fused_with(biased=0)),
            Mistake("The factor weight is missing.", fused_with(weighted=False)),
            Mistake(
                "eps belongs under the square root, beside the variance; you add it after taking the square root.",
                fused_with(eps_outside=True),
            ),
            Mistake("You divide by the variance; divide by its square root instead.", fused_with(root=False)),
        ),
        hints=(
            "Add the residual, subtract the mean, and divide by the square root of (mean square + eps).",
            "Then multiply by the weight, and add the bias.",
        ),
        note=("In the package, this is in minibert/ops/cpu/layernorm.py, where a row stays in the processor's cache."),
    )
)


# ------------------------------------------------------------------------------------------------- pieces


def pieces(length: int, parts: int) -> list[tuple[int, int]]:
    """Cut 0 .. length - 1 into pieces that differ by at most one.  Returns a list of (first, after the last)."""
    return [(length * k // parts, length * (k + 1) // parts) for k in range(parts)]


def as_pieces(answer: Callable) -> Callable:
    """Any cut that the task allows is turned into the one whose longer pieces come first; others are left unchanged."""

    def wrapped(length, parts):
        cut = answer(length, parts)
        if cut is None or cut is Ellipsis:
            return None
        cut = [tuple(piece) for piece in cut]
        if not all(len(piece) == 2 for piece in cut):
            raise ValueError("expected pairs (start, end), end exclusive, one for each thread")
        (firsts, lasts), sizes = zip(*cut, strict=True), [last - first for first, last in cut]
        whole = all(isinstance(position, int | np.integer) for piece in cut for position in piece)
        covers = len(cut) == parts and [*firsts] == [0, *lasts[:-1]] and lasts[-1] == length
        if not (whole and covers and max(sizes) - min(sizes) <= 1):
            return np.array(cut)
        ends = np.cumsum(sorted(sizes, reverse=True))
        return np.stack([np.append(0, ends[:-1]), ends], axis=1)

    return wrapped


def lost_rest(length: int, parts: int) -> list[tuple[int, int]]:
    return [(length // parts * k, length // parts * (k + 1)) for k in range(parts)]


def rest_to_the_last(length: int, parts: int) -> list[tuple[int, int]]:
    size = length // parts
    return [(size * k, size * (k + 1) if k < parts - 1 else length) for k in range(parts)]


def overlapping(length: int, parts: int) -> list[tuple[int, int]]:
    return [(first, last + 1 if last < length else last) for first, last in pieces(length, parts)]


add(
    Exercise(
        "pieces",
        8,
        "share rows among threads",
        as_pieces(pieces),
        lambda: [
            Try("12 rows, 4 threads", (12, 4)),
            Try("10 rows, 4 threads", (10, 4)),
            Try("2 rows, 3 threads", (2, 3)),
        ],
        outputs=("the pieces",),
        shown=pieces,
        wrap=as_pieces,
        mistakes=(
            Mistake("No thread gets the rows that are left over.", lambda n, p: np.array(lost_rest(n, p))),
            Mistake(
                "The last thread gets all the rows that are left over, and the other threads wait for it.",
                lambda n, p: np.array(rest_to_the_last(n, p)),
            ),
            Mistake(
                "Two threads work on the same row: each piece must end where the next one begins.",
                lambda n, p: np.array(overlapping(n, p)),
            ),
            Mistake(
                "A row cannot be divided between threads: use integer division, //.",
                lambda n, p: np.array([(n / p * k, n / p * (k + 1)) for k in range(p)]),
            ),
            Mistake(
                "A piece is (start, end), where end is exclusive, as in a Python slice; your end is the last row "
                "itself.",
                lambda n, p: np.array([(first, last - 1) for first, last in pieces(n, p)]),
            ),
            Mistake(
                "If you round the size of the pieces up, little or nothing is left for the last thread: 10 rows "
                "become 3, 3, 3 and 1.",
                lambda n, p: np.array([(min(n, -(-n // p) * k), min(n, -(-n // p) * (k + 1))) for k in range(p)]),
            ),
        ),
        hints=("Piece k begins at length * k // parts.", "Piece k ends where piece k + 1 begins."),
        note="In the package, this is `piece` in minibert/ops/cpu/compiler.py.",
    )
)
