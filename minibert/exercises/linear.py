"""Exercises of lesson 3: linear and GELU."""

from collections.abc import Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.ops.reference.activations import gelu_backward, gelu_forward
from minibert.ops.reference.linear import linear_forward
from minibert.ops.reference.normal import normal_cdf, normal_density


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------------------------------- linear_backward


def linear_backward(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_y [N, out], cache (x [N, in], weight [out, in]).  Returns d_x [N, in], d_weight [out, in], d_bias [out]."""
    x, weight = cache
    # y = x @ weight.T + bias
    return d_y @ weight, d_y.T @ x, d_y.sum(axis=0)


def linear_tries() -> Iterator[Try]:
    for what, rows, width, out, seed in (
        ("5 tokens, 3 -> 4", 5, 3, 4, 0),
        ("one token", 1, 3, 2, 1),
        ("3 -> 3", 3, 3, 3, 2),
    ):
        r = random(seed)
        _, cache = linear_forward(r.standard_normal((rows, width)), r.standard_normal((out, width)), np.zeros(out))
        yield Try(what, (r.standard_normal((rows, out)), cache))


add(
    Exercise(
        "linear_backward",
        3,
        "the three gradients of a linear layer",
        linear_backward,
        linear_tries,
        outputs=("d_x", "d_weight", "d_bias"),
        mistakes=(
            Mistake(
                "d_weight is transposed: it must have the same shape as the weight, [out, in].",
                lambda d, c: (d @ c[1], c[0].T @ d, d.sum(axis=0)),
            ),
            Mistake(
                "The weight is transposed in d_x.  The forward pass multiplies by weight.T, so the backward pass "
                "multiplies by weight.",
                lambda d, c: (d @ c[1].T, d.T @ c[0], d.sum(axis=0)),
            ),
            Mistake(
                "The bias was added to every token, so its gradient is the *sum* over the tokens, not their mean.",
                lambda d, c: (d @ c[1], d.T @ c[0], d.mean(axis=0)),
            ),
            Mistake(
                "The bias has one number for each output feature, so sum over the tokens, which are axis 0.",
                lambda d, c: (d @ c[1], d.T @ c[0], d.sum(axis=1)),
            ),
            Mistake(
                "d_weight is the sum over the tokens.  Dividing by their number is the job of the loss, not of "
                "this op.",
                lambda d, c: (d @ c[1], d.T @ c[0] / len(d), d.sum(axis=0)),
            ),
        ),
        hints=(
            "The shapes decide nearly everything: which product of d_y [N, out] and weight [out, in] has the "
            "shape [N, in]?",
            "d_weight must have the shape [out, in] and sum over the tokens: d_y.T @ x.",
            "The bias is one row that is added to every token, so every token contributes to its gradient.",
        ),
        note="In the package, this function is in minibert/ops/reference/linear.py.",
    )
)


# ------------------------------------------------------------------------------------------ gelu_backward


def gelu_tries() -> Iterator[Try]:
    r = random(4)
    yield Try("24 numbers", (r.standard_normal((4, 6)), gelu_forward(2 * r.standard_normal((4, 6)))[1]))
    yield Try("zero", (np.ones((1, 1)), gelu_forward(np.zeros((1, 1)))[1]))
    yield Try("large numbers", (np.ones((1, 2)), gelu_forward(np.array([[-9.0, 9.0]]))[1]))


add(
    Exercise(
        "gelu_backward",
        3,
        "the derivative of x times the normal CDF",
        gelu_backward,
        gelu_tries,
        outputs=("d_x",),
        tolerance=1e-12,  # a difference quotient comes to within 1e-10
        mistakes=(
            Mistake(
                "x appears in GELU twice: as a factor, and inside the CDF. One of the two terms is missing.",
                lambda d, c: d * c[1],
            ),
            Mistake(
                "The normal density lacks its factor 1 / sqrt(2 pi).",
                lambda d, c: d * (c[1] + c[0] * np.exp(-(c[0] ** 2) / 2)),
            ),
            Mistake(
                "That is only the derivative of GELU; by the chain rule, you must multiply it by d_y.",
                lambda d, c: c[1] + c[0] * normal_density(c[0]),
            ),
            Mistake(
                "In the second term, multiply the density by x: the derivative of x * cdf(x) is cdf(x) + x * "
                "density(x).",
                lambda d, c: d * (c[1] + normal_density(c[0])),
            ),
            Mistake(
                "The first term of the product rule is missing: differentiating the factor x gives cdf(x).",
                lambda d, c: d * c[0] * normal_density(c[0]),
            ),
            Mistake(
                "d_y multiplies both terms, so put their sum in parentheses.",
                lambda d, c: d * c[1] + c[0] * normal_density(c[0]),
            ),
            Mistake(
                "The derivative of the CDF is the density; cdf * (1 - cdf) is the derivative of a sigmoid.",
                lambda d, c: d * (c[1] + c[0] * c[1] * (1 - c[1])),
            ),
            Mistake(
                "`/ np.sqrt(2) * np.pi` multiplies by pi.  Divide by sqrt(2 * pi), with the whole product inside "
                "the square root.",
                lambda d, c: d * (c[1] + c[0] * np.exp(-(c[0] ** 2) / 2) / np.sqrt(2) * np.pi),
            ),
            Mistake(
                "The CDF is not its own derivative; its derivative is the density.",
                lambda d, c: d * (c[1] + c[0] * normal_cdf(c[0])),
            ),
        ),
        hints=(
            "Apply the product rule to x * cdf(x).",
            "The derivative of the CDF is the density exp(-x**2 / 2) / sqrt(2 pi).",
        ),
        note="In the package, this function is in minibert/ops/reference/activations.py.",
    )
)
