"""Your BERT: the answers that `check` found right, as a backend of your own.

    minibert gradcheck --backend mine            every gradient of your BERT beside finite differences
    minibert pretrain --backend mine             train it
    minibert lessons --mine                      how much of it is yours

The answers are collected in a file (see `own_file`), which you can read and change.  Its last line calls `assemble`,
which makes the ops of a backend of them: an answer is what a lesson is about, and the adapters in this module are what
surrounds it: caches, heads, sequences, sums into given arrays.  Where an answer is still missing, the package's
solution is used, and its calls are counted.  Your BERT is done when a whole run has called none of them.
"""

import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from minibert.base.files import write_text
from minibert.checks.short_training import random_batch, small_config
from minibert.exercises.exercise import EXERCISES
from minibert.exercises.packaged import FUNCTIONS
from minibert.models import BertForPreTraining
from minibert.objectives import MaskedLmAndNextSentence
from minibert.ops import Backend, load_backend
from minibert.ops.backend import line_in, own_file, own_module
from minibert.ops.dropout import Dropout
from minibert.ops.optimizer import AdamWStep
from minibert.ops.reference.attention import probabilities_mask, spans
from minibert.ops.reference.dropout import dropout_mask
from minibert.ops.reference.normal import normal_cdf
from minibert.training.optimizer import AdamW, AdamWSettings
from minibert.training.step import prepared, train_step

PARTS = (
    "embed",
    "scatter_add",
    "embedding_backward",
    "linear_backward",
    "gelu_backward",
    "layernorm_backward",
    "softmax",
    "softmax_backward",
    "attend",
    "multi_head",
    "attend_backward",
    "drop",
    "cross_entropy_backward",
    "adamw_step",
    "clip",
)
HEAD = '''"""Your BERT: answers of yours that were right, and at the end what makes a backend of them."""

import numpy as np

from minibert.exercises.own_bert import assemble
from minibert.ops.reference.normal import normal_density  # given in lesson 3
'''
SECTION = "# ---- "
TAIL = f"{SECTION}end\nglobals().update(vars(assemble(globals())))\n"


class OwnError(RuntimeError):
    """An exception in one of the student's functions."""


@dataclass
class Own:
    """The functions that a backend of one's own is made of, and how often each was called.

    functions  exercise -> the student's answer; calls, borrowed: exercise -> calls of the answer, of the package's
    """

    functions: dict[str, Callable]
    calls: Counter = field(default_factory=Counter)
    borrowed: Counter = field(default_factory=Counter)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the student's function, or the package's if it is still missing.

        Raises OwnError if the student's function raises anything.
        """
        own = self.functions.get(name)
        (self.borrowed if own is None else self.calls)[name] += 1
        try:
            return (own or FUNCTIONS[name])(*arguments)
        except OwnError:
            raise
        except Exception as error:
            where = f"{own_file()}{line_in(own_file(), error)}"
            raise OwnError(f"{where}: your {name} raises {type(error).__name__}: {error}") from error


def assemble(names: dict[str, Any]) -> SimpleNamespace:
    """The ops of a backend, made of the functions with the names of exercises among `names`; `own` counts the calls.

    The functions themselves are there, too, so that the calls that they make of each other are counted.
    """
    own = Own({name: names[name] for name in PARTS if callable(names.get(name))})
    counted = {name: partial(own.call, name) for name in own.functions}
    ops = dict(linear_ops(own)) | dict(other_ops(own)) | dict(attention_ops(own))
    return SimpleNamespace(**{**counted, **ops}, own=own)


def added(totals: Sequence[np.ndarray | None], parts: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The parts, each added to the given array in its place, where there is one."""
    return tuple(
        part if total is None else np.add(total, part, out=total) for total, part in zip(totals, parts, strict=True)
    )


Named = Iterator[tuple[str, Callable]]
NONE = (None, None, None)


def linear_ops(own: Own) -> Named:
    """The ops around linear layers, embeddings and layer norms."""

    def linear_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple:
        return x @ weight.T + bias, (x, weight)

    def linear_backward(d_y: np.ndarray, cache: tuple, accumulate_into: Sequence = NONE) -> tuple:
        return added(accumulate_into, own.call("linear_backward", d_y, cache))

    def embedding_forward(
        token_ids: np.ndarray,
        position_ids: np.ndarray,
        segment_ids: np.ndarray,
        token_weight: np.ndarray,
        position_weight: np.ndarray,
        segment_weight: np.ndarray,
    ) -> tuple:
        ids, tables = (token_ids, position_ids, segment_ids), (token_weight, position_weight, segment_weight)
        return own.call("embed", *ids, *tables), (*ids, tuple(len(table) for table in tables))

    def embedding_backward(d_y: np.ndarray, cache: tuple, accumulate_into: Sequence = NONE) -> tuple:
        parts = [part.astype(d_y.dtype) for part in own.call("embedding_backward", d_y, *cache)]
        return added(accumulate_into, parts)

    def layernorm_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> tuple:
        centred = x - x.mean(axis=1, keepdims=True)
        rstd = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps)
        return centred * rstd * weight + bias, (centred * rstd, rstd, weight)

    def layernorm_backward(d_y: np.ndarray, cache: tuple) -> tuple:
        return own.call("layernorm_backward", d_y, cache)

    def add_layernorm_forward(
        x: np.ndarray,
        residual: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray,
        eps: float,
        dropout: Dropout | None = None,
    ) -> tuple:
        y, cache = layernorm_forward((x if dropout is None else dropped(own, x, dropout)) + residual, weight, bias, eps)
        return y, (cache, dropout)

    def add_layernorm_backward(d_y: np.ndarray, cache: tuple) -> tuple:
        normalised, dropout = cache
        d_sum, d_weight, d_bias = own.call("layernorm_backward", d_y, normalised)
        return (d_sum if dropout is None else dropped(own, d_sum, dropout)), d_sum, d_weight, d_bias

    yield from {name: function for name, function in locals().items() if name != "own"}.items()


def dropped(own: Own, x: np.ndarray, dropout: Dropout) -> np.ndarray:
    """x [N, H] after dropout, by the bits that are counted for each row: the mask as 16-bit numbers below and above."""
    kept = dropout_mask(dropout, x.shape[1], x.dtype) > 0
    return own.call("drop", x, np.where(kept, 65535, 0), dropout.rate).astype(x.dtype)


def other_ops(own: Own) -> Named:
    """Activations, rows, the loss and the optimiser."""

    def gelu_forward(x: np.ndarray) -> tuple:
        cdf = normal_cdf(x).astype(x.dtype)
        return x * cdf, (x, cdf)

    def tanh_forward(x: np.ndarray) -> tuple:
        y = np.tanh(x)
        return y, (y,)

    def gelu_backward(d_y: np.ndarray, cache: tuple) -> np.ndarray:
        return own.call("gelu_backward", d_y, cache)

    def tanh_backward(d_y: np.ndarray, cache: tuple) -> np.ndarray:
        return d_y * (1 - cache[0] ** 2)

    def dropout_forward(x: np.ndarray, dropout: Dropout) -> tuple:
        return dropped(own, x, dropout), dropout

    def dropout_backward(d_y: np.ndarray, dropout: Dropout) -> np.ndarray:
        return dropped(own, d_y, dropout)

    def gather_rows_forward(x: np.ndarray, rows: np.ndarray) -> tuple:
        return x[rows], (rows, len(x))

    def gather_rows_backward(d_y: np.ndarray, cache: tuple, accumulate_into: np.ndarray | None = None) -> np.ndarray:
        return added([accumulate_into], [own.call("scatter_add", d_y, *cache).astype(d_y.dtype)])[0]

    def cross_entropy_forward(logits: np.ndarray, labels: np.ndarray, count: int) -> tuple:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -log_probabilities[np.arange(len(labels)), labels].sum() / count
        return np.asarray(loss, logits.dtype), (logits, labels, count)

    def cross_entropy_backward(d_loss: Any, cache: tuple) -> np.ndarray:
        return (d_loss * own.call("cross_entropy_backward", *cache)).astype(cache[0].dtype)

    def count_correct(logits: np.ndarray, labels: np.ndarray) -> int:
        return int((logits.argmax(axis=1) == labels).sum())

    def global_norm(gradients: np.ndarray) -> Any:
        return np.sqrt(gradients @ gradients)

    def adamw(
        values: np.ndarray,
        gradients: np.ndarray,
        first_moment: np.ndarray,
        second_moment: np.ndarray,
        decayed: np.ndarray,
        step: AdamWStep,
        gradient_norm: Any = None,
    ) -> None:
        if step.max_norm is not None:
            gradients = own.call("clip", [gradients], step.max_norm)
        # m / c1 / (sqrt(v / c2) + eps) = (sqrt(c2) / c1) * m / (sqrt(v) + eps * sqrt(c2)): corrections as another rate
        root = step.correction2**0.5
        rate, decay = step.learning_rate * root / step.correction1, step.weight_decay * step.correction1 / root
        given = values, gradients, first_moment, second_moment, rate, (decay * decayed).astype(values.dtype)
        results = own.call("adamw_step", *given, step.beta1, step.beta2, step.eps * root)
        for array, result in zip((values, first_moment, second_moment), results, strict=True):
            array[...] = result

    yield from {name: function for name, function in locals().items() if name != "own"}.items()


def attention_ops(own: Own) -> Named:
    """Attention, head by head and sequence by sequence; with a causal mask, which BERT has not, the package's."""
    from minibert.ops import reference

    def attention_forward(
        query: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
        heads: int,
        cu_seqlens_q: np.ndarray,
        cu_seqlens_k: np.ndarray,
        positions_q: np.ndarray,
        causal: bool = False,
        dropout: Dropout | None = None,
    ) -> tuple:
        given = query, key, value, heads, cu_seqlens_q, cu_seqlens_k
        if causal:
            own.borrowed["attention with a causal mask"] += 1
            return reference.attention_forward(*given, positions_q, causal, dropout)
        if dropout is None:
            return own.call("multi_head", *given), (given, None)
        context, weights = np.empty_like(query), {}
        for sequence, head, q, k in places(query, heads, cu_seqlens_q, cu_seqlens_k):
            p = own.call("softmax", query[q] @ key[k].T * (query.shape[1] // heads) ** -0.5)  # [Tq, Tk]
            mask = probabilities_mask(dropout, sequence, q[0], np.empty((heads, *p.shape), p.dtype))[head]
            bits = np.where(mask > 0, 65535, 0)
            context[q] = own.call("drop", p, bits, dropout.rate) @ value[k]
            weights[sequence, head] = p, bits
        return context, (given, (weights, dropout.rate))

    def attention_backward(d_context: np.ndarray, cache: tuple) -> tuple:
        if len(cache) > 2:
            own.borrowed["attention with a causal mask"] += 1
            return reference.attention_backward(d_context, cache)
        (query, key, value, heads, cu_seqlens_q, cu_seqlens_k), dropped_weights = cache
        d_query, d_key, d_value = np.empty_like(query), np.zeros_like(key), np.zeros_like(value)
        for sequence, head, q, k in places(query, heads, cu_seqlens_q, cu_seqlens_k):
            if dropped_weights is None:
                d_query[q], d_key[k], d_value[k] = own.call("attend_backward", d_context[q], query[q], key[k], value[k])
                continue
            weights, rate = dropped_weights
            p, bits = weights[sequence, head]
            d_p = own.call("drop", d_context[q] @ value[k].T, bits, rate)
            d_scores = own.call("softmax_backward", d_p, p) * (query.shape[1] // heads) ** -0.5
            d_query[q], d_key[k] = d_scores @ key[k], d_scores.T @ query[q]
            d_value[k] = own.call("drop", p, bits, rate).T @ d_context[q]
        return d_query, d_key, d_value

    yield "attention_forward", attention_forward
    yield "attention_backward", attention_backward


def places(query: np.ndarray, heads: int, cu_seqlens_q: np.ndarray, cu_seqlens_k: np.ndarray) -> Iterator[tuple]:
    """For each head of each sequence with queries: both numbers, and where it is in query [Nq, H] and in key [N, H]."""
    width = query.shape[1] // heads
    for sequence, (queries, keys) in enumerate(spans(cu_seqlens_q, cu_seqlens_k)):
        for head in range(heads if queries.stop > queries.start else 0):
            features = slice(head * width, (head + 1) * width)
            yield sequence, head, (queries, features), (keys, features)


# ---------------------------------------------------------------------------------------- the file of answers


def sections(path: Path) -> dict[str, str]:
    """Exercise -> the source of the answer that is in the file; {} without a file."""
    if not path.is_file():
        return {}
    parts = re.split(rf"^{SECTION}(\w+)\n", path.read_text(encoding="utf-8"), flags=re.M)
    named = zip(parts[1::2], parts[2::2], strict=True)
    return {name: source.strip("\n") + "\n" for name, source in named if name != "end"}


def collect(name: str, answer: Callable, is_right: Callable[[Callable], bool]) -> str:
    """Put a right answer into the file, in place of an earlier one, and say so; or say why not; "" if it is no part.

    is_right: whether a function is a right answer: the one in the file needs what else is in the file, and NumPy as np,
    but nothing of the notebook.
    """
    if name not in PARTS:
        return ""
    path = own_file()
    try:
        source = textwrap.dedent(inspect.getsource(answer))
        own_name = answer.__name__
        if not source.startswith(("def ", "@")):
            return f"not taken into your BERT, since it is no function that begins with def {name}(...)"
        alias = "" if own_name == name else f"\n{name} = {own_name}\n"
        found = {**sections(path), name: source.strip("\n") + "\n" + alias}
        parts = "".join(f"\n{SECTION}{part}\n{found[part]}\n" for part in EXERCISES if part in found)
        names: dict[str, Any] = {}
        exec(compile(HEAD + parts, str(path), "exec"), names)
        if not is_right(names[name]):
            return "not taken into your BERT, since alone it gives another result: what of your notebook does it use?"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"{HEAD}{parts}\n{TAIL}")
    except Exception as error:
        return f"not taken into your BERT ({type(error).__name__}: {error})"
    return f"it is now part of your BERT ({len(found)} of {len(PARTS)} parts)"


# ------------------------------------------------------------------------------------------ how far it has come


def own_backend() -> Backend:
    """The backend "mine", whose `own` counts the calls; parts without an answer in the file are the package's."""
    module: Any = own_module() if own_file().is_file() else assemble({})
    backend = Backend("mine", module)
    setattr(backend, "own", module.own)  # noqa: B010  (Backend declares ops only)
    return backend


def losses_of_steps(backend: Backend) -> list[float]:
    """Take two training steps without dropout and two with it; return the two losses after a step, [2].

    The backend counts the calls.
    """
    losses = []
    for rate in (0.0, 0.125):
        config = small_config(hidden_dropout_prob=rate, attention_probs_dropout_prob=rate)
        model = BertForPreTraining(config, backend, dtype="float64", seed=1)
        objective, optimizer = MaskedLmAndNextSentence(model), AdamW(model.parameters, AdamWSettings(beta2=0.98))
        parts = prepared(objective, [random_batch(model.config)])
        for number in (1, 2):
            (found,), _ = train_step(objective, optimizer, parts, number, 2e-3, dropout_key=(1, number))
        losses.append(float(found.total))
    return losses


def page() -> str:
    """How far your BERT has come: for each part whether it is yours, and how often four training steps call it."""
    expected = losses_of_steps(load_backend("reference"))
    own, losses = Own({}), expected
    if own_file().is_file():
        mine = own_backend()
        own, losses = mine.own, losses_of_steps(mine)  # type: ignore[assignment]
    lines = [f"your BERT: {own_file().name}, in four training steps, two of them with dropout"]
    for name in PARTS:
        exercise, calls = EXERCISES[name], own.calls[name]
        state = f"yours, called {calls:3} times" if name in own.functions else "still the package's"
        lines.append(f"  {'✓' if name in own.functions else '·'} lesson {exercise.lesson:>2}  {name:24} {state}")
    if not own.functions:
        return "\n".join([*lines, "no part is yours yet: answers that check() finds right are collected"])
    for loss, right in zip(losses, expected, strict=True):
        same = "equals the package's" if abs(loss - right) < 1e-9 else f"differs from the package's, {right:.6f}"
        lines.append(f"after a step, a loss of {loss:.6f}, which {same}")
    borrowed = sum(own.borrowed.values())
    if borrowed:
        lines.append(f"the package's solutions were called {borrowed} times: " + ", ".join(sorted(own.borrowed)))
    else:
        lines.append("all steps called nothing but your own functions: this BERT is yours")
    return "\n".join(lines)
