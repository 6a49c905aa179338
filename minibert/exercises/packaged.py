"""The parts of a BERT, and what lessons give, made of the package's ops: for what a student has not written yet.

Each function takes what the exercise of that name takes.  None of them is a solution: they call the reference backend.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minibert.ops import reference
from minibert.ops.dropout import Dropout
from minibert.ops.optimizer import AdamWStep
from minibert.ops.reference.attention import attention_weights, attention_weights_backward
from minibert.ops.reference.embedding import scatter_add as scatter_rows


def embed(token_ids: np.ndarray, position_ids: np.ndarray, segment_ids: np.ndarray, *tables: np.ndarray) -> np.ndarray:
    """ids integers [N]; tables [rows, H] -> [N, H]."""
    return reference.embedding_forward(token_ids, position_ids, segment_ids, *tables)[0]


def scatter_add(rows: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    """rows [N, H], ids integers [N] -> [size, H]."""
    return scatter_rows(rows, ids, (size, rows.shape[1]))


def embedding_backward(
    d_y: np.ndarray, token_ids: np.ndarray, position_ids: np.ndarray, segment_ids: np.ndarray, sizes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_y [N, H]; sizes: the rows of each table -> the gradients of the three tables."""
    shapes = tuple((size, d_y.shape[1]) for size in sizes)
    return reference.embedding_backward(d_y, (token_ids, position_ids, segment_ids, shapes))


def softmax(scores: np.ndarray) -> np.ndarray:
    """scores [Tq, Tk] -> probabilities [Tq, Tk]."""
    return attention_weights(scores[None])[0][0]


def softmax_backward(d_probabilities: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Both [Tq, Tk] -> d_scores [Tq, Tk], which is the query's gradient where the keys are the unit vectors."""
    width = probabilities.shape[1]
    keys, queries = np.eye(width) * width**0.5, np.zeros_like(probabilities)
    return attention_weights_backward(d_probabilities[None], probabilities[None], queries[None], keys[None])[0][0]


def one_head(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> tuple:
    """The arguments of attention over one sequence with one head."""
    return query, key, value, 1, np.array([0, len(query)]), np.array([0, len(key)]), np.arange(len(query))


def attend(query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """query [Tq, D]; key, value [Tk, D] -> context [Tq, D]."""
    return reference.attention_forward(*one_head(query, key, value))[0]


def attend_backward(
    d_context: np.ndarray, query: np.ndarray, key: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_context [Tq, D] -> d_query, d_key, d_value."""
    return reference.attention_backward(d_context, reference.attention_forward(*one_head(query, key, value))[1])


def multi_head(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, heads: int, cu_q: np.ndarray, cu_k: np.ndarray
) -> np.ndarray:
    """query [Nq, H]; key, value [N, H]; cu_q, cu_k integers [B + 1] -> context [Nq, H]."""
    return reference.attention_forward(query, key, value, heads, cu_q, cu_k, np.arange(len(query)))[0]


def multi_head_backward(
    d_context: np.ndarray,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    heads: int,
    cu_q: np.ndarray,
    cu_k: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of multi_head: d_context [Nq, H] -> d_query, d_key, d_value."""
    _, cache = reference.attention_forward(query, key, value, heads, cu_q, cu_k, np.arange(len(query)))
    return reference.attention_backward(d_context, cache)


def drop(x: np.ndarray, bits: np.ndarray, rate: float) -> np.ndarray:
    """x [N, H]; bits integers 0 .. 65535 [N, H] -> x after dropout."""
    dropout = Dropout(rate, (0, 0), 0, None, None)
    return x * ((bits >= dropout.threshold) * dropout.scale)


def cross_entropy_backward(logits: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """logits [M, V], labels integers [M] -> d_logits [M, V]."""
    return reference.cross_entropy_backward(1.0, reference.cross_entropy_forward(logits, labels, count)[1])


def adamw_step(
    value: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rate: float,
    decay: float | np.ndarray,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All arrays [P] -> value, first and second moment after one step."""
    new, m, v = value.copy(), first.copy(), second.copy()
    reference.adamw(new, gradient, m, v, np.asarray(decay), AdamWStep(rate, beta1, beta2, eps, 1.0))
    return new, m, v


def clip(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    """One vector of all gradients, scaled down together: the first moment after a step with beta1 = 0."""
    flat = np.concatenate([gradient.ravel() for gradient in gradients])
    values, first, second = np.zeros((3, flat.size), flat.dtype)
    step = AdamWStep(0.0, 0.0, 0.0, 1.0, 0.0, max_norm=max_norm)
    reference.adamw(values, flat, first, second, flat, step, reference.global_norm(flat))
    return first


def without(term: str) -> Callable:
    """layernorm_backward without the gradient that reaches x through the variance, which lesson 3 shows to be caught.

    Raises ValueError for another term.
    """
    if term != "variance":
        raise ValueError(f'the student edition has without("variance") only; got {term!r}')

    def broken(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        d_x, *others = reference.layernorm_backward(d_y, cache)
        x_hat, rstd, weight = cache
        return d_x + rstd * x_hat * (d_y * weight * x_hat).mean(axis=1, keepdims=True), *others

    return broken


FUNCTIONS: dict[str, Callable] = {
    "linear_backward": reference.linear_backward,
    "gelu_backward": reference.gelu_backward,
    "layernorm_backward": reference.layernorm_backward,
    **{
        function.__name__: function
        for function in (
            embed,
            scatter_add,
            embedding_backward,
            softmax,
            softmax_backward,
            attend,
            attend_backward,
            multi_head,
            multi_head_backward,
            drop,
            cross_entropy_backward,
            adamw_step,
            clip,
            without,
        )
    },
}
