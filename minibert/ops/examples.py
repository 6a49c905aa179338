"""Example arguments for the gradient check of every op, in small and awkward shapes.

They cover the cases in which kernels tend to fail: a single token, widths that are not a multiple of the vector
size, sequences of very different lengths in one batch, and row indices that repeat or are absent.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minibert.ops.dropout import Dropout

KEY = (7, 3)  # seed and step of all dropouts in this module


class Example(NamedTuple):
    """The arguments of one call, by name; arrays are NumPy arrays of float64 or int32."""

    label: str
    """what distinguishes this example"""
    inputs: dict[str, np.ndarray]
    """the arguments that get a gradient, in the order in which x_backward returns the gradients"""
    fixed: dict[str, Any]
    """the other arguments"""


def example(label: str, inputs: dict, **fixed: Any) -> Example:
    return Example(label, inputs, fixed)


def normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.standard_normal(shape)


def as_int32(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


def starts_of(lengths: Sequence[int]) -> np.ndarray:
    """The cu_seqlens array, int32 [B + 1], for sequences of the given lengths."""
    return as_int32([0, *np.cumsum(lengths)])


def rows_dropout(rows: int, rate: float = 0.4) -> Dropout:
    """A dropout for `rows` rows, as if they came from sequences of three tokens each."""
    return Dropout(rate, KEY, 5 << 8, as_int32(np.arange(rows) // 3), as_int32(np.arange(rows) % 3))


def linear(random: np.random.Generator) -> Iterator[Example]:
    for tokens, inputs, outputs in ((1, 1, 1), (5, 3, 7), (3, 8, 2)):
        values = dict(
            x=normal(random, tokens, inputs), weight=normal(random, outputs, inputs), bias=normal(random, outputs)
        )
        yield example(f"N={tokens}", values)


def embedding(random: np.random.Generator) -> Iterator[Example]:
    for tokens, width in ((1, 3), (9, 5)):
        ids = [as_int32(random.integers(0, size, tokens)) for size in (4, 6, 2)]
        values = dict(
            token_weight=normal(random, 4, width),
            position_weight=normal(random, 6, width),
            segment_weight=normal(random, 2, width),
        )
        named = dict(zip(("token_ids", "position_ids", "segment_ids"), ids, strict=True))
        yield example(f"N={tokens}", values, **named)


def layernorm(random: np.random.Generator) -> Iterator[Example]:
    for tokens, width in ((1, 3), (5, 7), (2, 33)):
        values = dict(x=normal(random, tokens, width), weight=normal(random, width), bias=normal(random, width))
        yield example(f"N={tokens}", values, eps=1e-12)


def add_layernorm(random: np.random.Generator) -> Iterator[Example]:
    for tokens, width, drops in ((1, 3, False), (5, 7, False), (5, 11, True)):
        values = dict(
            x=normal(random, tokens, width),
            residual=normal(random, tokens, width),
            weight=normal(random, width),
            bias=normal(random, width),
        )
        dropout = rows_dropout(tokens) if drops else None
        label = f"N={tokens}" + (", dropout" if drops else "")
        yield example(label, values, eps=1e-12, dropout=dropout)


def activation(random: np.random.Generator) -> Iterator[Example]:
    yield example("N=1", dict(x=normal(random, 1, 1)))
    yield example("N=6, wide range", dict(x=3 * normal(random, 6, 5)))


def dropout(random: np.random.Generator) -> Iterator[Example]:
    for tokens, width in ((1, 1), (5, 8), (4, 13)):
        yield example(
            f"N={tokens}",
            dict(x=normal(random, tokens, width)),
            dropout=rows_dropout(tokens),
        )


def attention(random: np.random.Generator) -> Iterator[Example]:
    for label, lengths, chosen, heads, width, causal, rate in (
        ("one token", (1,), None, 1, 2, False, 0),
        ("lengths 1 6 2", (1, 6, 2), None, 2, 3, False, 0),
        ("causal", (1, 6, 2), None, 2, 3, True, 0),
        ("dropout", (9, 1, 3), None, 2, 4, False, 0.4),
        ("causal, dropout", (3, 9), None, 1, 4, True, 0.4),
        ("few queries", (4, 1, 6), (1, 3, 4, 9), 2, 3, False, 0),
        ("few queries, causal, dropout", (4, 2, 6), (0, 3, 7, 8, 11), 2, 3, True, 0.4),
    ):
        cu_seqlens = starts_of(lengths)
        rows = np.arange(cu_seqlens[-1]) if chosen is None else np.array(chosen)
        positions = as_int32(rows - cu_seqlens[np.searchsorted(cu_seqlens, rows, side="right") - 1])
        numbers = as_int32(np.arange(len(lengths)) + 5)
        features = heads * width
        yield example(
            label,
            dict(
                query=normal(random, len(rows), features),
                key=normal(random, cu_seqlens[-1], features),
                value=normal(random, cu_seqlens[-1], features),
            ),
            heads=heads,
            cu_seqlens_q=as_int32(np.searchsorted(rows, cu_seqlens)),
            cu_seqlens_k=cu_seqlens,
            positions_q=positions,
            causal=causal,
            dropout=Dropout(rate, KEY, 1 << 8, numbers, positions) if rate else None,
        )


def gather_rows(random: np.random.Generator) -> Iterator[Example]:
    for label, rows in (("in order", (0, 2, 3)), ("repeated", (4, 1, 4, 4)), ("none", ())):
        yield example(label, dict(x=normal(random, 5, 3)), rows=as_int32(rows))


def mean_pool(random: np.random.Generator) -> Iterator[Example]:
    for lengths in ((1,), (3, 1, 5)):
        cu_seqlens = starts_of(lengths)
        x = normal(random, cu_seqlens[-1], 4)
        yield example(f"lengths {lengths}", dict(x=x), cu_seqlens=cu_seqlens)


def lstm(random: np.random.Generator) -> Iterator[Example]:
    """Examples with sequences of one token and of several tokens, in both directions."""
    for lengths, reverse in (((1,), False), ((2, 1, 4), False), ((2, 1, 4), True)):
        cu_seqlens = starts_of(lengths)
        inputs, width = 3, 2
        values = dict(
            x=normal(random, cu_seqlens[-1], inputs),
            weight_input=normal(random, 4 * width, inputs),
            weight_hidden=normal(random, 4 * width, width),
            bias=normal(random, 4 * width),
        )
        label = f"lengths {lengths}{', reverse' if reverse else ''}"
        yield example(label, values, cu_seqlens=cu_seqlens, reverse=reverse)


def cross_entropy(random: np.random.Generator) -> Iterator[Example]:
    for rows, size, count in ((1, 2, 1), (5, 9, 5), (3, 40, 8)):
        labels = as_int32(random.integers(0, size, rows))
        values = dict(logits=3 * normal(random, rows, size))
        yield example(f"M={rows} of {count}", values, labels=labels, count=count)


def mse(random: np.random.Generator) -> Iterator[Example]:
    values = dict(prediction=normal(random, 4, 3))
    yield example("M=4 of 6", values, target=normal(random, 4, 3), count=6)


def kl_divergence(random: np.random.Generator) -> Iterator[Example]:
    for temperature in (1.0, 2.5):
        values = dict(student_logits=2 * normal(random, 4, 7))
        teacher = 2 * normal(random, 4, 7)
        label = f"temperature {temperature}"
        yield example(label, values, teacher_logits=teacher, temperature=temperature, count=5)


def cosine(random: np.random.Generator) -> Iterator[Example]:
    values = dict(x=normal(random, 4, 3))
    yield example("M=4 of 6", values, target=normal(random, 4, 3), count=6)
