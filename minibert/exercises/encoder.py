"""Exercises of lesson 5: the encoder."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# -------------------------------------------------------------------------------------- residual_backward


def residual_backward(d_y: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y = x + tanh(x @ weight.T); d_y, x [N, H], weight [H, H].  Returns d_x [N, H], d_weight [H, H]."""
    t = np.tanh(x @ weight.T)
    d_inside = d_y * (1 - t * t)
    return d_y + d_inside @ weight, d_inside.T @ x


def residual_with(*, residual: int = 1, derivative: bool = True, transposed: bool = False) -> Callable:
    def wrong(d_y, x, weight):
        t = np.tanh(x @ weight.T)
        d_inside = d_y * (1 - t * t) if derivative else d_y
        return residual * d_y + d_inside @ (weight.T if transposed else weight), d_inside.T @ x

    return wrong


def residual_tries() -> Iterator[Try]:
    for what, rows, width, seed in (("4 tokens", 4, 3, 0), ("one token", 1, 5, 1)):
        r = random(seed)
        yield Try(
            what,
            (r.standard_normal((rows, width)), r.standard_normal((rows, width)), r.standard_normal((width, width))),
        )


add(
    Exercise(
        "residual_backward",
        5,
        "the gradient of a residual connection",
        residual_backward,
        residual_tries,
        outputs=("d_x", "d_weight"),
        mistakes=(
            Mistake(
                "The residual connection is missing from d_x: x also reaches y directly, bypassing the layer, and "
                "the gradient along that path is d_y itself.",
                residual_with(residual=0),
            ),
            Mistake("You skip the tanh: its derivative is 1 - tanh(x)**2.", residual_with(derivative=False)),
            Mistake(
                "The weight is transposed: the forward pass multiplies by weight.T, so the backward pass "
                "multiplies by weight.",
                residual_with(transposed=True),
            ),
            Mistake("You count the path that bypasses the layer twice.", residual_with(residual=2)),
            Mistake(
                "The tanh comes after the product in the forward pass, so it comes first in the backward pass: "
                "compute d_y * (1 - t**2), and then multiply by the weight.",
                lambda d_y, x, weight: (
                    d_y + (d_y @ weight) * (1 - np.tanh(x @ weight.T) ** 2),
                    residual_backward(d_y, x, weight)[1],
                ),
            ),
            Mistake(
                "d_weight is transposed: it must have the same shape as the weight, [out, in].",
                lambda d_y, x, weight: (residual_backward(d_y, x, weight)[0], residual_backward(d_y, x, weight)[1].T),
            ),
        ),
        hints=(
            "y is a sum, and a sum passes its gradient on to both of its terms.",
            "d_x is d_y plus the gradient that comes back through the layer.",
        ),
        note=(
            "This is why deep models can be trained: whatever the layer does, d_y reaches the layers below it "
            "undiminished."
        ),
    )
)


# ------------------------------------------------------------------------------------------------ dropout


def drop(x: np.ndarray, bits: np.ndarray, rate: float) -> np.ndarray:
    """x [N, H]; bits integers 0 .. 65535 [N, H]; rate a multiple of 1 / 65536.  Returns what dropout makes of x."""
    threshold = round(rate * 65536)
    return np.where(bits >= threshold, x * 65536 / (65536 - threshold), 0)


def drop_tries() -> Iterator[Try]:
    r = random(2)
    yield Try("rate 1/4", (r.standard_normal((6, 8)), r.integers(0, 65536, (6, 8)), 0.25))
    yield Try("rate 1/16", (r.standard_normal((3, 5)), r.integers(0, 65536, (3, 5)), 0.0625))
    yield Try("rate 0", (r.standard_normal((2, 3)), r.integers(0, 65536, (2, 3)), 0.0))
    yield Try("bits that equal the threshold", (np.ones((1, 3)), np.array([[16383, 16384, 16385]]), 0.25))


add(
    Exercise(
        "drop",
        5,
        "dropout from counter-based bits",
        drop,
        drop_tries,
        outputs=("y",),
        mistakes=(
            Mistake(
                "The numbers that are kept must be divided by 1 - rate: then the expectation stays the same, and "
                "nothing has to change at test time.",
                lambda x, b, rate: np.where(b >= round(rate * 65536), x, 0),
            ),
            Mistake(
                "You swapped the kept and the dropped numbers: those whose bits are below the threshold, a share "
                "`rate` of all, are dropped.",
                lambda x, b, rate: np.where(b < round(rate * 65536), x / (1 - rate), 0),
            ),
            Mistake(
                "You multiply by 1 - rate, which shrinks the expectation a second time.  Divide by it instead.",
                lambda x, b, rate: np.where(b >= round(rate * 65536), x * (1 - rate), 0),
            ),
            Mistake(
                "You divide by the rate; divide by the share that is kept, 1 - rate.",
                lambda x, b, rate: np.where(b >= round(rate * 65536), x / max(rate, 1e-9), 0),
            ),
            Mistake(
                "Numbers whose bits equal the threshold are kept: of the 65,536 possible values, exactly "
                "`threshold` lie below it.",
                lambda x, b, rate: np.where(b > round(rate * 65536), x / (1 - rate), 0),
            ),
        ),
        hints=(
            "The threshold is rate * 65536, and a number whose bits are below it is dropped.",
            "Multiply the numbers that are kept by 1 / (1 - rate).",
        ),
        note="In the package, minibert/ops/dropout.py shows where the bits come from.",
    )
)


# ---------------------------------------------------------------------------------------- layer_parameters


def layer_parameters(hidden: int, inner: int) -> int:
    """How many numbers are in one encoder layer: hidden size H, feed-forward size F.  Returns an integer."""
    attention = 4 * (hidden * hidden + hidden)
    feed_forward = hidden * inner + inner + inner * hidden + hidden
    return attention + feed_forward + 2 * 2 * hidden


add(
    Exercise(
        "layer_parameters",
        5,
        "count the parameters of a layer",
        layer_parameters,
        lambda: [
            Try("BERT base: H = 768, F = 3072", (768, 3072)),
            Try("tiny: H = 128, F = 512", (128, 512)),
            Try("an odd one: H = 6, F = 10", (6, 10)),
        ],
        outputs=("the number of parameters",),
        mistakes=(
            Mistake(
                "The biases are missing: every linear layer has a bias.", lambda h, f: 4 * h * h + 2 * h * f + 4 * h
            ),
            Mistake(
                "You are missing 4 H parameters: either the two layer norms, each with a weight and a bias of size "
                "H, or the biases of the four linear layers in attention.",
                lambda h, f: 4 * (h * h + h) + 2 * h * f + f + h,
            ),
            Mistake(
                "Attention has four matrices: those of the query, the key, the value, and the output.",
                lambda h, f: 3 * (h * h + h) + 2 * h * f + f + h + 4 * h,
            ),
            Mistake(
                "You are missing 2 H parameters: there are two layer norms, one after each sublayer, and each has "
                "a weight *and* a bias.",
                lambda h, f: 4 * (h * h + h) + 2 * h * f + f + h + 2 * h,
            ),
            Mistake(
                "You count only the matrices: every linear layer also has a bias, and there are two layer norms.",
                lambda h, f: 4 * h * h + 2 * h * f,
            ),
            Mistake(
                "You assume that F is 4 H; the size of the feed-forward network is an argument.",
                lambda h, f: layer_parameters(h, 4 * h),
            ),
        ),
        hints=(
            "A linear layer from a to b features has a * b + b parameters.",
            "There are four linear layers from H to H, one from H to F, and one from F to H; the two layer "
            "norms have 2 H parameters each.",
        ),
        note="For BERT base this is 7,087,872; twelve layers hold 85 of its 110 million parameters.",
    )
)


# --------------------------------------------------------------------------------------------- layer_flops


def layer_flops(lengths: Sequence[int], hidden: int, inner: int) -> int:
    """The operations of a layer's matrix products, forward: lengths of the sequences, H, F.  Returns an integer."""
    tokens = sum(lengths)
    return 2 * tokens * (4 * hidden * hidden + 2 * hidden * inner) + sum(4 * t * t * hidden for t in lengths)


def flops_with(*, each: int = 2, products: int = 2, padded: bool = False, together: bool = False) -> Callable:
    def wrong(lengths, hidden, inner):
        if padded:
            lengths = [max(lengths)] * len(lengths)
        if together:
            lengths = [sum(lengths)]
        linear = each * sum(lengths) * (4 * hidden * hidden + 2 * hidden * inner)
        return linear + sum(each * products * t * t * hidden for t in lengths)

    return wrong


add(
    Exercise(
        "layer_flops",
        5,
        "count the operations of a layer",
        layer_flops,
        lambda: [
            Try("four sequences of 128 tokens, H = 256, F = 1024", ([128] * 4, 256, 1024)),
            Try("lengths 5, 60 and 1, H = 12, F = 48", ([5, 60, 1], 12, 48)),
            Try("an odd one: lengths 3 and 4, H = 6, F = 10", ([3, 4], 6, 10)),
        ],
        outputs=("the number of operations",),
        mistakes=(
            Mistake("A multiplication and an addition count as two operations.", flops_with(each=1)),
            Mistake(
                "You count only one of attention's two products that grow with the square of the length: query @ "
                "key.T, and probabilities @ value.",
                flops_with(products=1),
            ),
            Mistake(
                "The products of attention itself, query @ key.T and probabilities @ value, are missing; they grow "
                "with the square of the length.",
                flops_with(products=0),
            ),
            Mistake(
                "You count as if all sequences were as long as the longest; that is what the layer would cost with "
                "padding.",
                flops_with(padded=True),
            ),
            Mistake(
                "Attention has four products from H to H: for the query, the key, the value, and the output.",
                lambda lengths, hidden, inner: layer_flops(lengths, hidden, inner) - 2 * sum(lengths) * hidden * hidden,
            ),
            Mistake(
                "The feed-forward network has two products: from H to F, and back from F to H.",
                lambda lengths, hidden, inner: layer_flops(lengths, hidden, inner) - 2 * sum(lengths) * hidden * inner,
            ),
            Mistake(
                "You assume that F is 4 H; the size of the feed-forward network is an argument.",
                lambda lengths, hidden, inner: layer_flops(lengths, hidden, 4 * hidden),
            ),
            Mistake(
                "You square the number of tokens in the whole batch.  A token attends only to its own sequence, so "
                "square each length, and then add up the squares.",
                flops_with(together=True),
            ),
        ),
        hints=(
            "A product [n, k] @ [k, m] takes 2 n k m operations.",
            "The linear layers take 2 N (4 H H + 2 H F) operations.  Attention takes 2 products of 2 T T H "
            "operations for each sequence of length T.",
        ),
        note="The backward pass takes twice as many operations: each product has two gradients.",
    )
)
