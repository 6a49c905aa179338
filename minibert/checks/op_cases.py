"""The cases of every op, at small and awkward shapes.

One token, one feature group that is no multiple of anything, sequences of length 1 and T side by side, rows that repeat
or are missing: where kernels go wrong, they go wrong there.
"""

import numpy as np

from minibert.checks.cases import KEY, cases
from minibert.checks.gradients import Case
from minibert.data.batch import running_sum
from minibert.ops import Backend, Dropout


def op_case(backend: Backend, op: str, shape: str, inputs: dict, **fixed) -> Case:
    """A case of one op: `inputs` get gradients; `fixed`, its other arguments, by keyword, follow their dtype."""

    def forward(values):
        on_backend = {name: backend.array(value) for name, value in values.items()}
        dtype = next(iter(values.values())).dtype
        others = {name: value.astype(dtype) if is_real(value) else value for name, value in fixed.items()}
        y, cache = getattr(backend, f"{op}_forward")(**on_backend, **others)
        return backend.numpy(y), cache

    def backward(d_y, cache):
        gradients = getattr(backend, f"{op}_backward")(backend.array(d_y), cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return {name: backend.numpy(gradient) for name, gradient in zip(inputs, gradients, strict=True)}

    return Case(op, shape, inputs, forward, backward)


def is_real(value) -> bool:
    """True for an array of floating-point numbers."""
    return hasattr(value, "dtype") and value.dtype.kind == "f"


def normal(random, *shape) -> np.ndarray:
    return random.standard_normal(shape)


def rows_dropout(backend, rows: int, rate=0.4) -> Dropout:
    """A dropout for `rows` rows, as if they came from two sequences."""
    sequences, positions = np.arange(rows) // 3, np.arange(rows) % 3
    return Dropout(rate, KEY, 5 << 8, backend.array(sequences, np.int32), backend.array(positions, np.int32))


@cases("linear")
def linear(backend, random):
    for tokens, inputs, outputs in ((1, 1, 1), (5, 3, 7), (3, 8, 2)):
        values = dict(
            x=normal(random, tokens, inputs), weight=normal(random, outputs, inputs), bias=normal(random, outputs)
        )
        yield op_case(backend, "linear", f"N={tokens}", values)


@cases("embedding")
def embedding(backend, random):
    for tokens, width in ((1, 3), (9, 5)):
        ids = [backend.array(random.integers(0, size, tokens), np.int32) for size in (4, 6, 2)]
        values = dict(
            token_weight=normal(random, 4, width),
            position_weight=normal(random, 6, width),
            segment_weight=normal(random, 2, width),
        )
        named = dict(zip(("token_ids", "position_ids", "segment_ids"), ids, strict=True))
        yield op_case(backend, "embedding", f"N={tokens}", values, **named)


@cases("layernorm")
def layernorm(backend, random):
    for tokens, width in ((1, 3), (5, 7), (2, 33)):
        values = dict(x=normal(random, tokens, width), weight=normal(random, width), bias=normal(random, width))
        yield op_case(backend, "layernorm", f"N={tokens}", values, eps=1e-12)


@cases("add_layernorm")
def add_layernorm(backend, random):
    for tokens, width, drops in ((1, 3, False), (5, 7, False), (5, 11, True)):
        values = dict(
            x=normal(random, tokens, width),
            residual=normal(random, tokens, width),
            weight=normal(random, width),
            bias=normal(random, width),
        )
        dropout = rows_dropout(backend, tokens) if drops else None
        label = f"N={tokens}" + (", dropout" if drops else "")
        yield op_case(backend, "add_layernorm", label, values, eps=1e-12, dropout=dropout)


def activation(op: str):
    @cases(op)
    def generate(backend, random):
        yield op_case(backend, op, "N=1", dict(x=normal(random, 1, 1)))
        yield op_case(backend, op, "N=6, wide range", dict(x=3 * normal(random, 6, 5)))


for op in ("gelu", "gelu_tanh", "tanh"):
    activation(op)


@cases("dropout")
def dropout(backend, random):
    for tokens, width in ((1, 1), (5, 8), (4, 13)):
        yield op_case(
            backend,
            "dropout",
            f"N={tokens}",
            dict(x=normal(random, tokens, width)),
            dropout=rows_dropout(backend, tokens),
        )


@cases("attention")
def attention(backend, random):
    for label, lengths, chosen, heads, width, causal, rate in (
        ("one token", (1,), None, 1, 2, False, 0),
        ("lengths 1 6 2", (1, 6, 2), None, 2, 3, False, 0),
        ("causal", (1, 6, 2), None, 2, 3, True, 0),
        ("dropout", (9, 1, 3), None, 2, 4, False, 0.4),
        ("causal, dropout", (3, 9), None, 1, 4, True, 0.4),
        ("few queries", (4, 1, 6), (1, 3, 4, 9), 2, 3, False, 0),
        ("few queries, causal, dropout", (4, 2, 6), (0, 3, 7, 8, 11), 2, 3, True, 0.4),
    ):
        cu_seqlens = running_sum(lengths)
        rows = np.arange(cu_seqlens[-1]) if chosen is None else np.array(chosen)
        positions = backend.array(rows - cu_seqlens[np.searchsorted(cu_seqlens, rows, side="right") - 1], np.int32)
        numbers = backend.array(np.arange(len(lengths)) + 5, np.int32)
        features = heads * width
        yield op_case(
            backend,
            "attention",
            label,
            dict(
                query=normal(random, len(rows), features),
                key=normal(random, cu_seqlens[-1], features),
                value=normal(random, cu_seqlens[-1], features),
            ),
            heads=heads,
            cu_seqlens_q=backend.array(np.searchsorted(rows, cu_seqlens), np.int32),
            cu_seqlens_k=backend.array(cu_seqlens),
            positions_q=positions,
            causal=causal,
            dropout=Dropout(rate, KEY, 1 << 8, numbers, positions) if rate else None,
        )


@cases("gather_rows")
def gather_rows(backend, random):
    for label, rows in (("in order", (0, 2, 3)), ("repeated", (4, 1, 4, 4)), ("none", ())):
        yield op_case(
            backend, "gather_rows", label, dict(x=normal(random, 5, 3)), rows=backend.array(np.array(rows, np.int32))
        )


@cases("mean_pool")
def mean_pool(backend, random):
    for lengths in ((1,), (3, 1, 5)):
        cu_seqlens = running_sum(lengths)
        x = normal(random, cu_seqlens[-1], 4)
        yield op_case(backend, "mean_pool", f"lengths {lengths}", dict(x=x), cu_seqlens=backend.array(cu_seqlens))


@cases("lstm")
def lstm(backend, random):
    """Sequences of one token and of several, both ways; nothing for a backend that has no lstm."""
    if not backend.has("lstm"):
        return
    for lengths, reverse in (((1,), False), ((2, 1, 4), False), ((2, 1, 4), True)):
        cu_seqlens = running_sum(lengths)
        inputs, width = 3, 2
        values = dict(
            x=normal(random, cu_seqlens[-1], inputs),
            weight_input=normal(random, 4 * width, inputs),
            weight_hidden=normal(random, 4 * width, width),
            bias=normal(random, 4 * width),
        )
        label = f"lengths {lengths}{', reverse' if reverse else ''}"
        yield op_case(backend, "lstm", label, values, cu_seqlens=backend.array(cu_seqlens), reverse=reverse)


@cases("cross_entropy")
def cross_entropy(backend, random):
    for rows, size, count in ((1, 2, 1), (5, 9, 5), (3, 40, 8)):
        labels = backend.array(random.integers(0, size, rows), np.int32)
        values = dict(logits=3 * normal(random, rows, size))
        yield op_case(backend, "cross_entropy", f"M={rows} of {count}", values, labels=labels, count=count)


@cases("mse")
def mse(backend, random):
    values = dict(prediction=normal(random, 4, 3))
    yield op_case(backend, "mse", "M=4 of 6", values, target=backend.array(normal(random, 4, 3)), count=6)


@cases("kl_divergence")
def kl_divergence(backend, random):
    for temperature in (1.0, 2.5):
        values = dict(student_logits=2 * normal(random, 4, 7))
        teacher = backend.array(2 * normal(random, 4, 7))
        label = f"temperature {temperature}"
        yield op_case(backend, "kl_divergence", label, values, teacher_logits=teacher, temperature=temperature, count=5)


@cases("cosine")
def cosine(backend, random):
    values = dict(x=normal(random, 4, 3))
    yield op_case(backend, "cosine", "M=4 of 6", values, target=backend.array(normal(random, 4, 3)), count=6)
