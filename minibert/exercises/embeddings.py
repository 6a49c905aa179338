"""Exercises of lesson 2: embeddings, and their backward pass."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add

LENGTHS = (5, 3, 1)


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------------- positions_of


def positions_of(cu_seqlens: np.ndarray) -> np.ndarray:
    """cu_seqlens integers [B + 1].  Returns each token's position in its own sequence, [N]."""
    lengths = np.diff(cu_seqlens)
    return np.arange(cu_seqlens[-1]) - np.repeat(cu_seqlens[:-1], lengths)


add(
    Exercise(
        "positions_of",
        2,
        "each token's place in its own sequence",
        positions_of,
        lambda: [
            Try("lengths 5, 3 and 1", (np.array([0, 5, 8, 9]),)),
            Try("one sequence", (np.array([0, 4]),)),
            Try("lengths 2, 2, 5 and 1", (np.array([0, 2, 4, 9, 10]),)),
            Try("three sequences of one token", (np.array([0, 1, 2, 3]),)),
        ],
        mistakes=(
            Mistake(
                "Your positions run on through the whole batch; each sequence must begin again at 0.",
                lambda cu_seqlens: np.arange(cu_seqlens[-1]),
            ),
            Mistake(
                "Positions begin at 0: the first row of the position table belongs to [CLS].",
                lambda c: positions_of(c) + 1,
            ),
            Mistake(
                "You count backwards from the end of each sequence; count forwards from its start.",
                lambda c: np.repeat(c[1:], np.diff(c)) - 1 - np.arange(c[-1]),
            ),
        ),
        hints=(
            "np.arange(N) counts through the whole batch. What must you subtract from it in each sequence?",
            "np.repeat(cu_seqlens[:-1], lengths) gives each token the start of its sequence.",
        ),
        note="In the package, every Batch already contains them as position_ids.",
    )
)


# ------------------------------------------------------------------------------------- embedding_forward


def embed(
    token_ids: np.ndarray,
    position_ids: np.ndarray,
    segment_ids: np.ndarray,
    token_weight: np.ndarray,
    position_weight: np.ndarray,
    segment_weight: np.ndarray,
) -> np.ndarray:
    """ids integers [N]; tables [.., H].  Returns y [N, H], the sum of three rows for each token."""
    return token_weight[token_ids] + position_weight[position_ids] + segment_weight[segment_ids]


def embedding_tries() -> Iterator[Try]:
    r = random(2)
    tables = r.standard_normal((11, 4)), r.standard_normal((6, 4)), r.standard_normal((2, 4))
    ids = r.integers(0, 11, 9), np.array([0, 1, 2, 3, 4, 0, 1, 2, 0]), np.array([0, 0, 1, 1, 1, 0, 1, 1, 0])
    yield Try("nine tokens", (*ids, *tables))
    yield Try("one token", (np.array([7]), np.array([0]), np.array([1]), *tables))


add(
    Exercise(
        "embed",
        2,
        "the sum of three looked-up rows",
        embed,
        embedding_tries,
        outputs=("y",),
        mistakes=(
            Mistake(
                "You look up only the word vector of each token: then 'dog bites man' and 'man bites dog' look alike.",
                lambda t, p, s, tw, pw, sw: tw[t],
            ),
            Mistake("The vector of the segment is missing.", lambda t, p, s, tw, pw, sw: tw[t] + pw[p]),
            Mistake("The vector of the position is missing.", lambda t, p, s, tw, pw, sw: tw[t] + sw[s]),
            Mistake(
                "The paper adds the three vectors (figure 2); it does not take their mean.",
                lambda t, p, s, tw, pw, sw: embed(t, p, s, tw, pw, sw) / 3,
            ),
            Mistake(
                "Concatenated, the vectors are three times as wide; the paper adds them (figure 2).",
                lambda t, p, s, tw, pw, sw: np.concatenate([tw[t], pw[p], sw[s]], axis=1),
            ),
        ),
        hints=(
            "table[ids] looks up all rows at once, and has the shape [N, H].",
            "You need three look-ups and two additions, and nothing else.",
        ),
        note="In the package, this is embedding_forward in minibert/ops/reference/embedding.py.",
    )
)


# -------------------------------------------------------------------------------------------- scatter_add


def scatter_add(rows: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    """rows [N, H], ids integers [N].  Returns [size, H]: row k is the sum of all rows[i] with ids[i] == k."""
    out = np.zeros((size, rows.shape[1]))
    np.add.at(out, ids, rows)
    return out


def keep_the_last(rows: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros((size, rows.shape[1]))
    out[ids] += rows
    return out


def average(rows: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    counts = np.bincount(ids, minlength=size)[:, None]
    return scatter_add(rows, ids, size) / np.maximum(counts, 1)


def gather_instead(rows: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    return rows[ids % len(rows)]


def scatter_tries() -> Iterator[Try]:
    r = random(3)
    yield Try("an id that occurs three times", (r.standard_normal((6, 3)), np.array([2, 0, 2, 4, 2, 0]), 5))
    yield Try("ids that all differ", (r.standard_normal((3, 2)), np.array([2, 0, 1]), 3))
    yield Try("one row", (r.standard_normal((1, 4)), np.array([3]), 4))
    yield Try("rows at the end that were never looked up", (r.standard_normal((2, 3)), np.array([1, 0]), 4))


add(
    Exercise(
        "scatter_add",
        2,
        "the backward pass of looking up rows",
        scatter_add,
        scatter_tries,
        outputs=("d_weight",),
        mistakes=(
            Mistake(
                "When several rows have the same id, only the last one is added: NumPy's out[ids] += rows first "
                "reads all old values, and then writes. np.add.at(out, ids, rows) adds one row after the other.",
                keep_the_last,
            ),
            Mistake(
                "The gradient of a row that was looked up three times is the *sum* of three gradients, not their mean.",
                average,
            ),
            Mistake(
                "That looks rows up, which is the forward pass.  In the backward pass, each row is added at its "
                "id: out[ids[i]] += rows[i].",
                gather_instead,
            ),
        ),
        hints=(
            "Begin with zeros of shape [size, H].  Row i of the gradient is added to row ids[i] of the result.",
            "A loop over i gives the right result.  What does out[ids] += rows do if an id occurs twice?",
            "np.add.at(out, ids, rows) does all of it in one call.",
        ),
        note=(
            "In the package, this is scatter_add in minibert/ops/reference/embedding.py, and on a GPU "
            "minibert/ops/gpu/scatter.cu."
        ),
    )
)

# -------------------------------------------------------------------------------------------- embedding_backward


def embedding_backward(
    d_y: np.ndarray, token_ids: np.ndarray, position_ids: np.ndarray, segment_ids: np.ndarray, sizes: tuple
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_y [N, H]; ids integers [N] each; sizes: the rows of each table.  Returns the gradients of the three tables."""
    # y = token_weight[token_ids] + position_weight[position_ids] + segment_weight[segment_ids]
    d_token_weight = scatter_add(d_y, token_ids, sizes[0])
    d_position_weight = scatter_add(d_y, position_ids, sizes[1])
    return d_token_weight, d_position_weight, scatter_add(d_y, segment_ids, sizes[2])


def tables_with(way: Callable, same: int | None = None, divisor: int = 1) -> Callable:
    """The backward pass with a mistake: another way to add, the ids of one table for all, or a share of d_y."""

    def function(d_y: np.ndarray, *others: Any) -> tuple:
        *ids, sizes = others
        used = ids if same is None else [ids[same]] * 3
        least = [max(size, one.max() + 1) for one, size in zip(used, sizes, strict=True)]
        found = [way(d_y / divisor, one, size) for one, size in zip(used, least, strict=True)]
        return tuple(table[:size] for table, size in zip(found, sizes, strict=True))

    return function


def table_tries() -> Iterator[Try]:
    r = random(4)
    tokens = np.array([7, 2, 7, 5, 2, 7])
    yield Try(
        "two sequences, and a token that occurs three times",
        (r.standard_normal((6, 3)), tokens, np.array([0, 1, 2, 3, 0, 1]), np.array([0, 0, 1, 1, 0, 0]), (9, 5, 2)),
    )
    one = np.array([0])
    yield Try("one token", (r.standard_normal((1, 4)), np.array([2]), one, one, (3, 2, 2)))
    ids = r.integers(0, 11, 40), np.arange(40) % 8, np.arange(40) // 20
    yield Try("forty tokens", (r.standard_normal((40, 2)), *ids, (11, 8, 2)))


add(
    Exercise(
        "embedding_backward",
        2,
        "the gradients of the three tables",
        embedding_backward,
        table_tries,
        outputs=("d_token_weight", "d_position_weight", "d_segment_weight"),
        mistakes=(
            Mistake(
                "When an id occurs several times, only the last of its gradients is added: out[ids] += rows first "
                "reads all old values.  Your scatter_add does it right.",
                tables_with(keep_the_last),
            ),
            Mistake(
                "A row that was looked up several times receives the *sum* of the gradients, not their mean.",
                tables_with(average),
            ),
            Mistake(
                "The gradient does not divide itself among the three summands: y = a + b + c moves by as much as a "
                "does, so each of the three receives all of d_y.",
                tables_with(scatter_add, divisor=3),
            ),
            Mistake("All three tables use the token ids; each has ids of its own.", tables_with(scatter_add, same=0)),
        ),
        hints=(
            "y is a sum of three rows, so d_y arrives at each of the three unchanged.",
            "For each table: at which of its rows did token i look?  There, d_y[i] is added.",
            "Three calls of scatter_add, with the ids and the size of each table.",
        ),
        note="In the package, this is embedding_backward in minibert/ops/reference/embedding.py.",
    )
)
