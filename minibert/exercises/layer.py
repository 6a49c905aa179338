"""Lesson 5: a whole encoder layer, forward and backward, from what the earlier lessons have made."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.exercises.multi_head import multi_head, multi_head_backward
from minibert.ops.reference import (
    gelu_backward,
    gelu_forward,
    layernorm_backward,
    layernorm_forward,
    linear_backward,
)

LESSON, EPS = 5, 1e-12
OF_ATTENTION = ("wq", "bq", "wk", "bk", "wv", "bv", "wo", "bo", "g1", "h1")
# what lesson 5 gives beside the earlier lessons' functions
GIVEN = (
    "EPS layernorm layernorm_forward layernorm_backward linear_backward gelu gelu_forward gelu_backward multi_head "
    "multi_head_backward"
).split()
OF_FEED_FORWARD = ("w1", "b1", "w2", "b2", "g2", "h2")


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def layernorm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Layer norm without its cache, which lesson 5 gives."""
    return layernorm_forward(x, weight, bias, EPS)[0]


def gelu(x: np.ndarray) -> np.ndarray:
    """GELU without its cache, which lesson 5 gives."""
    return gelu_forward(x)[0]


# ------------------------------------------------------------------------------------------------- forward


def encoder_layer(
    x: np.ndarray, attention: tuple, feed_forward: tuple, heads: int, cu_seqlens: np.ndarray
) -> np.ndarray:
    """x [N, H]; attention: wq, bq, wk, bk, wv, bv, wo, bo, g1, h1; feed_forward: w1 [F, H], b1, w2 [H, F], b2, g2, h2.

    w: weights [out, in], b: their biases; g, h: weight and bias of a layer norm.  Returns y [N, H].
    """
    wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    query, key, value = x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv
    context = multi_head(query, key, value, heads, cu_seqlens, cu_seqlens)
    a = layernorm(x + context @ wo.T + bo, g1, h1)
    return layernorm(a + gelu(a @ w1.T + b1) @ w2.T + b2, g2, h2)


def layer_with(
    *,
    first: bool = True,
    second: str = "a",
    activation: Callable = gelu,
    before: bool = False,
    projected: bool = True,
) -> Callable:
    """encoder_layer with a mistake: without a residual, with another, without GELU, norms before, or without wo."""

    def function(
        x: np.ndarray, attention: tuple, feed_forward: tuple, heads: int, cu_seqlens: np.ndarray
    ) -> np.ndarray:
        wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
        w1, b1, w2, b2, g2, h2 = feed_forward
        inside = layernorm(x, g1, h1) if before else x
        query, key, value = inside @ wq.T + bq, inside @ wk.T + bk, inside @ wv.T + bv
        mixed = multi_head(query, key, value, heads, cu_seqlens, cu_seqlens)
        mixed = mixed @ wo.T + bo if projected else mixed
        a = x * first + mixed
        a = a if before else layernorm(a, g1, h1)
        inside = layernorm(a, g2, h2) if before else a
        outer = activation(inside @ w1.T + b1) @ w2.T + b2
        y = {"a": a, "x": x, "": 0}[second] + outer
        return y if before else layernorm(y, g2, h2)

    return function


def weights(r: np.random.Generator, width: int, inner: int) -> tuple[tuple, tuple]:
    """Random weights of a layer: biases that are not zero, layer norms that are not the identity."""

    def dense(outputs: int, inputs: int) -> tuple:
        return r.standard_normal((outputs, inputs)) / np.sqrt(inputs), r.standard_normal(outputs) / 3

    def norm() -> tuple:
        return 1 + r.standard_normal(width) / 4, r.standard_normal(width) / 4

    attention = (*dense(width, width), *dense(width, width), *dense(width, width), *dense(width, width), *norm())
    return attention, (*dense(inner, width), *dense(width, inner), *norm())


def layer_tries() -> Iterator[Try]:
    r = random(21)
    for what, width, inner, heads, lengths in (
        ("lengths 3 and 2, 2 heads", 4, 6, 2, [3, 2]),
        ("one sequence of 5 tokens, 3 heads", 6, 24, 3, [5]),
        ("lengths 1, 4 and 2, one head", 3, 5, 1, [1, 4, 2]),
    ):
        cu_seqlens = np.concatenate([[0], np.cumsum(lengths)])
        yield Try(what, (r.standard_normal((cu_seqlens[-1], width)), *weights(r, width, inner), heads, cu_seqlens))


PRE_NORM = (
    "You normalise before attention and before the feed-forward layer, as GPT-2 does.  BERT normalises afterwards: the "
    "sum of what went in and what came out."
)
add(
    Exercise(
        "encoder_layer",
        LESSON,
        "a whole encoder layer",
        encoder_layer,
        layer_tries,
        outputs=("y",),
        mistakes=(
            Mistake(
                "The residual around attention is missing: what goes into the first layer norm is x plus the output of "
                "attention.",
                layer_with(first=False),
            ),
            Mistake(
                "The residual around the feed-forward layer is missing: what goes into the second layer norm is the "
                "output of the first one plus that of the feed-forward layer.",
                layer_with(second=""),
            ),
            Mistake(
                "The second residual adds x, the input of the whole layer.  What went into the feed-forward layer is "
                "the output of the first layer norm, and that is what is added.",
                layer_with(second="x"),
            ),
            Mistake(
                "There is no activation between w1 and w2; without one, the two matrices are as good as one.",
                layer_with(activation=lambda u: u),
            ),
            Mistake(PRE_NORM, layer_with(before=True)),
            Mistake(
                "The output projection of attention, context @ wo.T + bo, is missing.", layer_with(projected=False)
            ),
        ),
        hints=(
            "Two sub-layers, attention and feed-forward.  After each: layernorm(what went in + what came out).",
            "Attention: three linear layers of x, multi_head, and a fourth linear layer, wo.",
            "Feed-forward: w1, GELU, w2, on the output a of the first layer norm.",
        ),
        note="In the package, this is EncoderLayer in minibert/nn/transformer.py.",
    )
)

# ------------------------------------------------------------------------------------------------- backward


def encoder_layer_backward(
    d_y: np.ndarray, x: np.ndarray, attention: tuple, feed_forward: tuple, heads: int, cu_seqlens: np.ndarray
) -> tuple[np.ndarray, tuple, tuple]:
    """d_y [N, H]; the others as in encoder_layer.  Returns d_x [N, H] and the gradients of both tuples, in order."""
    wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    # the forward pass again, with its caches
    query, key, value = x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv
    context = multi_head(query, key, value, heads, cu_seqlens, cu_seqlens)
    a, norm1 = layernorm_forward(x + context @ wo.T + bo, g1, h1, EPS)
    inner, activation = gelu_forward(a @ w1.T + b1)
    _, norm2 = layernorm_forward(a + inner @ w2.T + b2, g2, h2, EPS)
    # y = layernorm(a + inner @ w2.T + b2)
    d_sum, d_g2, d_h2 = layernorm_backward(d_y, norm2)
    d_inner, d_w2, d_b2 = linear_backward(d_sum, (inner, w2))
    d_a, d_w1, d_b1 = linear_backward(gelu_backward(d_inner, activation), (a, w1))
    # a = layernorm(x + context @ wo.T + bo), and it is used twice
    d_sum, d_g1, d_h1 = layernorm_backward(d_a + d_sum, norm1)
    d_context, d_wo, d_bo = linear_backward(d_sum, (context, wo))
    d_query, d_key, d_value = multi_head_backward(d_context, query, key, value, heads, cu_seqlens, cu_seqlens)
    # x is used four times
    d_xq, d_wq, d_bq = linear_backward(d_query, (x, wq))
    d_xk, d_wk, d_bk = linear_backward(d_key, (x, wk))
    d_xv, d_wv, d_bv = linear_backward(d_value, (x, wv))
    d_attention = d_wq, d_bq, d_wk, d_bk, d_wv, d_bv, d_wo, d_bo, d_g1, d_h1
    return d_sum + d_xq + d_xk + d_xv, d_attention, (d_w1, d_b1, d_w2, d_b2, d_g2, d_h2)


def flat(function: Callable) -> Callable:
    """The backward pass with its gradients side by side; what has another form is passed on.

    The key's bias adds the same number to all scores of a query, so its gradient is 0, and what is there is rounding.
    """

    def call(*arguments: object) -> object:
        found = function(*arguments)
        if isinstance(found, tuple | list) and len(found) == 3 and all(isinstance(x, tuple | list) for x in found[1:]):
            return tuple(np.where(np.abs(x) < 1e-13, 0, x) for x in (found[0], *found[1], *found[2]))
        return found

    return call


def backward_with(
    *, first: bool = True, second: bool = True, only: str = "qkv", activation: Callable = gelu_backward
) -> Callable:
    """encoder_layer_backward with a mistake: without a residual's gradient, a path to x, or GELU's derivative."""

    def function(
        d_y: np.ndarray, x: np.ndarray, attention: tuple, feed_forward: tuple, heads: int, cu_seqlens: np.ndarray
    ) -> tuple:
        wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
        w1, b1, w2, b2, g2, h2 = feed_forward
        query, key, value = x @ wq.T + bq, x @ wk.T + bk, x @ wv.T + bv
        context = multi_head(query, key, value, heads, cu_seqlens, cu_seqlens)
        a, norm1 = layernorm_forward(x + context @ wo.T + bo, g1, h1, EPS)
        inner, cache = gelu_forward(a @ w1.T + b1)
        _, norm2 = layernorm_forward(a + inner @ w2.T + b2, g2, h2, EPS)
        d_outer, *d_norm2 = layernorm_backward(d_y, norm2)
        d_inner, *d_second = linear_backward(d_outer, (inner, w2))
        d_a, *d_first = linear_backward(activation(d_inner, cache), (a, w1))
        d_sum, *d_norm1 = layernorm_backward(d_a + second * d_outer, norm1)
        d_context, *d_output = linear_backward(d_sum, (context, wo))
        parts = multi_head_backward(d_context, query, key, value, heads, cu_seqlens, cu_seqlens)
        found = [linear_backward(part, (x, w)) for part, w in zip(parts, (wq, wk, wv), strict=True)]
        d_x = first * d_sum + sum(one[0] for name, one in zip("qkv", found, strict=True) if name in only)
        of_attention = [gradient for _, *pair in found for gradient in pair]
        return d_x, (*of_attention, *d_output, *d_norm1), (*d_first, *d_second, *d_norm2)

    return flat(function)


def backward_tries() -> Iterator[Try]:
    r = random(22)
    for one in layer_tries():
        yield Try(one.what, (r.standard_normal(one.arguments[0].shape), *one.arguments))


add(
    Exercise(
        "encoder_layer_backward",
        LESSON,
        "the backward pass of an encoder layer",
        flat(encoder_layer_backward),
        backward_tries,
        outputs=("d_x", *(f"d_{name}" for name in OF_ATTENTION + OF_FEED_FORWARD)),
        mistakes=(
            Mistake(
                "The gradient does not pass the residual around attention: x is added to the output of attention, so "
                "the gradient of that sum is also a part of d_x.",
                backward_with(first=False),
            ),
            Mistake(
                "The gradient does not pass the residual around the feed-forward layer: a goes into w1 and into the "
                "sum, and receives both gradients.",
                backward_with(second=False),
            ),
            Mistake(
                "x goes into the query, the key and the value, and d_x is the sum of all three gradients (and of the "
                "residual's); you take only that of the value.",
                backward_with(only="v"),
            ),
            Mistake(
                "x goes into the query, the key and the value, and d_x is the sum of all three gradients (and of the "
                "residual's); you take only that of the query.",
                backward_with(only="q"),
            ),
            Mistake(
                "The gradient passes GELU as if it were the identity: multiply by GELU's derivative (gelu_backward).",
                backward_with(activation=lambda d_y, cache: d_y),
            ),
        ),
        hints=(
            "Write the forward pass first, line by line, with the caches; then go through it from its end.",
            "a is used twice, by w1 and by the residual; x is used four times.  Each gives a gradient; they add up.",
            "The order: layer norm 2, w2, GELU, w1 (+ residual), layer norm 1, wo, multi_head_backward, wq, wk, wv "
            "(+ residual).",
        ),
        note="In the package, this is EncoderLayer.backward in minibert/nn/transformer.py.",
        wrap=flat,
        shown=encoder_layer_backward,
    )
)
