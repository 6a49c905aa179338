"""The arguments of each op at real size: random numbers, full and ragged sequences."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from minibert.data.batch import running_sum
from minibert.nn.sequences import layout
from minibert.ops import Dropout
from visit.sizes import Sizes

POOL = 4_000_037  # numbers drawn once and repeated: a prime, so that no row of a matrix equals another
KEY = (7, 3)
RATE = 0.1
LOSS_SCALE = 2.0**14


@dataclass
class Call:
    """One op with its arguments.

    inputs      arrays of real numbers, float32 on the host; they get the requested dtype
    fixed       other arguments
    integers    arrays of integers among the arguments
    """

    label: str
    op: str
    inputs: dict[str, np.ndarray]
    fixed: dict = field(default_factory=dict)
    integers: dict[str, np.ndarray] = field(default_factory=dict)
    dropout: tuple | None = None
    """sequences and positions of the rows, on the host"""


def calls(group: str, sizes: Sizes) -> Iterator[Call]:
    """The calls of one group of ops."""
    numbers = Numbers()
    n, h, f, m = sizes.tokens, sizes.width, sizes.inner, sizes.masked
    rows = np.arange(n)
    counters = (rows // 128, rows % 128)
    if group == "linear":
        for label, inputs, outputs in (("H to F", h, f), ("F to H", f, h), ("H to H", h, h)):
            values = dict(x=numbers(n, inputs), weight=numbers(outputs, inputs, scale=0.02), bias=numbers(outputs))
            yield Call(f"linear, {label}", "linear", values)
        for size in sizes.vocabularies:
            values = dict(x=numbers(m, h), weight=numbers(size, h, scale=0.02), bias=numbers(size))
            yield Call(f"linear, H to V = {size}", "linear", values)
    if group == "norms":
        values = dict(x=numbers(n, h), weight=numbers(h), bias=numbers(h))
        yield Call("layernorm", "layernorm", values, dict(eps=1e-12))
        values = dict(x=numbers(n, h), residual=numbers(n, h), weight=numbers(h), bias=numbers(h))
        yield Call("add_layernorm", "add_layernorm", values, dict(eps=1e-12))
        yield Call("add_layernorm, dropout", "add_layernorm", values, dict(eps=1e-12), dropout=counters)
    if group == "elementwise":
        for op in ("gelu", "gelu_tanh", "tanh"):
            yield Call(op, op, dict(x=numbers(n, f, scale=2)))
        yield Call("dropout", "dropout", dict(x=numbers(n, h)), dropout=counters)
    if group == "attention":
        for length in sizes.lengths:
            yield attention(f"attention, T = {length}", numbers, sizes, np.full(max(n // length, 1), length))
        longest = sizes.lengths[-1]
        drawn = np.random.default_rng(3).integers(1, longest + 1, n)
        ragged = drawn[: max(int(np.searchsorted(np.cumsum(drawn), n)), 1)]
        yield attention(f"attention, ragged 1 to {longest}", numbers, sizes, ragged)
        yield attention(f"attention, ragged 1 to {longest}, causal", numbers, sizes, ragged, causal=True)
        yield attention(f"attention, ragged 1 to {longest}, chosen rows", numbers, sizes, ragged, chosen=0.16)
    if group == "rows":
        ids = [np.random.default_rng(i).integers(0, size, n) for i, size in enumerate((sizes.vocabularies[0], 512, 2))]
        tables = [numbers(size, h) for size in (sizes.vocabularies[0], 512, 2)]
        names = ("token", "position", "segment")
        yield Call(
            "embedding",
            "embedding",
            {f"{name}_weight": table for name, table in zip(names, tables, strict=True)},
            integers={f"{name}_ids": array for name, array in zip(names, ids, strict=True)},
        )
        chosen = np.sort(np.random.default_rng(4).choice(n, m, replace=False))
        yield Call("gather_rows", "gather_rows", dict(x=numbers(n, h)), integers=dict(rows=chosen))
        lengths = np.full(max(n // 128, 1), min(128, n))
        yield Call(
            "mean_pool", "mean_pool", dict(x=numbers(lengths.sum(), h)), integers=dict(cu_seqlens=running_sum(lengths))
        )
    if group == "lstm":
        k, length = h // 2, sizes.lengths[0]  # as in a BiLSTM on BERT's vectors
        lengths = np.random.default_rng(8).integers(1, length + 1, max(n // length, 1))
        values = dict(
            x=numbers(lengths.sum(), h),
            weight_input=numbers(4 * k, h, scale=h**-0.5),
            weight_hidden=numbers(4 * k, k, scale=k**-0.5),
            bias=numbers(4 * k, scale=0.1),
        )
        on_host = tuple(running_sum(lengths).tolist())  # where the op reads it without waiting
        yield Call(f"lstm, ragged 1 to {length}", "lstm", values, dict(cu_seqlens=on_host))
    if group == "losses":
        for size in sizes.vocabularies:
            labels = np.random.default_rng(5).integers(0, size, m)
            values = dict(logits=numbers(m, size, scale=3))
            yield Call(
                f"cross_entropy, V = {size}", "cross_entropy", values, dict(count=m), integers=dict(labels=labels)
            )
        v = sizes.vocabularies[0]
        yield Call("mse", "mse", dict(prediction=numbers(m, h)), dict(target=numbers(m, h), count=m))
        yield Call("cosine", "cosine", dict(x=numbers(m, h)), dict(target=numbers(m, h), count=m))
        fixed = dict(teacher_logits=numbers(m, v, scale=2), temperature=2.0, count=m)
        yield Call("kl_divergence", "kl_divergence", dict(student_logits=numbers(m, v, scale=2)), fixed)


GROUPS = ("linear", "norms", "elementwise", "attention", "rows", "lstm", "losses", "optimizer")


class Numbers:
    """Normal numbers of any shape, float32, each array a different stretch of them."""

    def __init__(self):
        self.pool = np.random.default_rng(0).standard_normal(POOL, dtype=np.float32)
        self.start = 0

    def __call__(self, *shape, scale=1.0) -> np.ndarray:
        self.start = (self.start + 1_000_003) % POOL
        return scale * np.resize(np.roll(self.pool, self.start), shape)


def attention(label, numbers, sizes: Sizes, lengths, causal=False, chosen=None) -> Call:
    """chosen: the share of the tokens that are queries; all if None."""
    cu_seqlens = running_sum(lengths)
    tokens, h = cu_seqlens[-1], sizes.width
    random = np.random.default_rng(6)
    rows = np.arange(tokens) if chosen is None else np.flatnonzero(random.random(tokens) < chosen)
    cu_seqlens_q, numbers_of, _, positions = layout(rows, cu_seqlens, np.arange(len(lengths)))
    return Call(
        label,
        "attention",
        dict(query=numbers(len(rows), h), key=numbers(tokens, h), value=numbers(tokens, h)),
        dict(heads=sizes.heads, causal=causal),
        dict(cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens, positions_q=positions),
        dropout=(numbers_of, positions),
    )


class OnDevice:
    """A Call with its arrays on the device, in a dtype.

    exact: take the numbers as they are rounded to `dtype`, and compute with them in float64.
    """

    def __init__(self, backend, call: Call, dtype, exact=False):
        self.backend, self.call = backend, call
        self.dtype = np.dtype(np.float64) if exact else dtype
        self.rounded = dtype
        self.inputs = {name: self.real(value) for name, value in call.inputs.items()}
        self.integers = {name: backend.array(value.astype(np.int32)) for name, value in call.integers.items()}
        self.fixed = {k: self.real(v) if isinstance(v, np.ndarray) else v for k, v in call.fixed.items()}
        if call.op in ("add_layernorm", "dropout", "attention"):
            self.fixed["dropout"] = None
            if call.dropout is not None:
                arrays = (backend.array(array.astype(np.int32)) for array in call.dropout)
                self.fixed["dropout"] = Dropout(RATE, KEY, 5 << 8, *arrays)
        self.d_y = None

    def real(self, host):
        array = self.backend.array(host).astype(self.rounded)
        return array.astype(np.float32).astype(self.dtype) if array.dtype != self.dtype else array

    def forward(self):
        return getattr(self.backend, f"{self.call.op}_forward")(**self.integers, **self.inputs, **self.fixed)

    def upstream(self, y):
        """A random gradient of the result, made at the first call."""
        if self.d_y is None:
            # a loss is scaled as in training: otherwise its gradients, divided by `count`, would underflow in float16
            self.d_y = self.real(Numbers()(*y.shape)) if y.shape else 0.7 * LOSS_SCALE
        return self.d_y

    def backward(self, d_y, cache):
        gradients = getattr(self.backend, f"{self.call.op}_backward")(d_y, cache)
        return gradients if isinstance(gradients, tuple) else (gradients,)

    @property
    def names(self) -> list[str]:
        return [f"d_{name}" for name in self.inputs]
