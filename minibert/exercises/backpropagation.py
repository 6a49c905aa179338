"""Exercises of lesson 3: layer norm, and the gradient check."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.ops.reference.layernorm import layernorm_backward, layernorm_forward


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------- layernorm_backward


def layernorm_tries() -> Iterator[Try]:
    for what, rows, width, seed in (("5 tokens, 8 features", 5, 8, 5), ("one token", 1, 6, 6), ("7 features", 3, 7, 7)):
        r = random(seed)
        x, weight = 3 + 2 * r.standard_normal((rows, width)), 1 + r.standard_normal(width)
        _, cache = layernorm_forward(x, weight, np.zeros(width), 1e-12)
        yield Try(what, (r.standard_normal((rows, width)), cache))


def without(*left_out: str) -> Callable:
    """layernorm_backward without some of its parts."""

    def backward(d_y, cache):
        x_hat, rstd, weight = cache
        d_x_hat = d_y if "weight" in left_out else d_y * weight
        through_mean = 0 if "mean" in left_out else d_x_hat.mean(axis=1, keepdims=True)
        through_variance = x_hat * (d_x_hat * x_hat).mean(axis=1, keepdims=True)
        if "variance" in left_out:
            through_variance = 0
        d_x = d_x_hat - through_mean - through_variance
        return d_x if "rstd" in left_out else d_x * rstd, (d_y * x_hat).sum(axis=0), d_y.sum(axis=0)

    return backward


def layernorm_with(d_x_of: Callable) -> Callable:
    """layernorm_backward with another d_x: a function of g, x_hat and rstd."""

    def backward(d_y, cache):
        x_hat, rstd, weight = cache
        return d_x_of(d_y * weight, x_hat, rstd), (d_y * x_hat).sum(axis=0), d_y.sum(axis=0)

    return backward


def rows_mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=1, keepdims=True)


def rows_sum(x: np.ndarray) -> np.ndarray:
    return x.sum(axis=1, keepdims=True)


def exchanged_parameters(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d_x, d_weight, d_bias = layernorm_backward(d_y, cache)
    return d_x, d_bias, d_weight


def weight_at_the_end(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x_hat, rstd, weight = cache
    d_x, d_weight, d_bias = layernorm_backward(d_y, (x_hat, rstd, np.ones_like(weight)))
    return d_x * weight, d_weight, d_bias


def over_tokens(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x_hat, rstd, weight = cache
    d_x_hat = d_y * weight
    d_x = rstd * (d_x_hat - d_x_hat.mean(axis=0) - x_hat * (d_x_hat * x_hat).mean(axis=0))
    return d_x, (d_y * x_hat).sum(axis=0), d_y.sum(axis=0)


def over_everything(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x_hat, rstd, weight = cache
    d_x_hat = d_y * weight
    d_x = rstd * (d_x_hat - d_x_hat.mean() - x_hat * (d_x_hat * x_hat).mean())
    return d_x, (d_y * x_hat).sum(axis=0), d_y.sum(axis=0)


def divided_by_rstd(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d_x, d_weight, d_bias = layernorm_backward(d_y, cache)
    return d_x / cache[1] ** 2, d_weight, d_bias


def means_of_parameters(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d_x, d_weight, d_bias = layernorm_backward(d_y, cache)
    return d_x, d_weight / len(d_y), d_bias / len(d_y)


def weight_without_x_hat(d_y: np.ndarray, cache: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d_x, _, d_bias = layernorm_backward(d_y, cache)
    return d_x, (d_y * cache[2]).sum(axis=0), d_bias


add(
    Exercise(
        "layernorm_backward",
        3,
        "the gradients of a layer norm",
        layernorm_backward,
        layernorm_tries,
        outputs=("d_x", "d_weight", "d_bias"),
        mistakes=(
            Mistake(
                "The mean term is missing: changing x also changes the mean, which is subtracted from every feature.",
                without("mean"),
            ),
            Mistake(
                "The variance term is missing: changing x also changes the variance, and every feature is divided "
                "by its square root.  (An upstream gradient of ones cannot reveal this mistake; a random one does.  "
                "If you did write a variance term: it needs the mean of the *product*, not the product of the "
                "means, which is 0.)",
                without("variance"),
            ),
            Mistake("Both the mean term and the variance term are missing.", without("mean", "variance")),
            Mistake("The factor rstd is missing from d_x: x_hat = (x - mean) * rstd.", without("rstd")),
            Mistake(
                "The factor weight is missing from d_x: since y = x_hat * weight + bias, the gradient of x_hat is "
                "d_y * weight.",
                without("weight"),
            ),
            Mistake(
                "You take the means over the tokens.  Each token has its own mean and variance over its features, "
                "so use axis=1 with keepdims=True.",
                over_tokens,
            ),
            Mistake(
                "You take one mean over all tokens together.  Each token has its own mean, so use axis=1 with "
                "keepdims=True.",
                over_everything,
            ),
            Mistake(
                "You divide by rstd.  It already is 1 / sqrt(variance + eps), so multiply by it: x_hat = (x - "
                "mean) * rstd.",
                divided_by_rstd,
            ),
            Mistake(
                "Both terms are *means* over the features, since the mean and the variance both divide by H; you "
                "take sums.",
                layernorm_with(lambda g, x, r: r * (g - rows_sum(g) - x * rows_sum(g * x))),
            ),
            Mistake(
                "The variance term has the wrong sign: a larger distance from the mean makes the variance larger, "
                "and dividing by it makes every feature smaller.",
                layernorm_with(lambda g, x, r: r * (g - rows_mean(g) + x * rows_mean(g * x))),
            ),
            Mistake(
                "You multiply by weight at the end.  It comes last in the forward pass, so it comes first in the "
                "backward pass: d_x_hat = d_y * weight, and the means are taken of d_x_hat.",
                weight_at_the_end,
            ),
            Mistake(
                "rstd multiplies all three terms, so put them in parentheses.",
                layernorm_with(lambda g, x, r: r * g - rows_mean(g) - x * rows_mean(g * x)),
            ),
            Mistake(
                "The mean term is a *mean* over the features; you take a sum.",
                layernorm_with(lambda g, x, r: r * (g - rows_sum(g) - x * rows_mean(g * x))),
            ),
            Mistake(
                "The variance term contains a *mean* over the features; you take a sum.",
                layernorm_with(lambda g, x, r: r * (g - rows_mean(g) - x * rows_sum(g * x))),
            ),
            Mistake(
                "In the variance term, the mean must be multiplied by x_hat once more: each feature gets a share "
                "in proportion to its x_hat.",
                layernorm_with(lambda g, x, r: r * (g - rows_mean(g) - rows_mean(g * x))),
            ),
            Mistake("d_weight and d_bias are swapped.", exchanged_parameters),
            Mistake("The gradients of the parameters are sums over the tokens, not means.", means_of_parameters),
            Mistake(
                "weight is multiplied by x_hat in the forward pass, so its gradient is d_y * x_hat, summed over "
                "the tokens.",
                weight_without_x_hat,
            ),
        ),
        hints=(
            "x influences x_hat = (x - mean) * rstd in three ways: directly, through the mean, and through rstd.",
            "Through the mean: subtract the token's mean of d_x_hat from every feature.",
            "Through the variance: subtract x_hat times the mean of d_x_hat * x_hat.",
            "d_x = rstd * (d_x_hat - mean(d_x_hat) - x_hat * mean(d_x_hat * x_hat)), with the means over axis 1.",
        ),
        note=(
            "In the package, this function is in minibert/ops/reference/layernorm.py, and as a CUDA kernel in "
            "minibert/ops/gpu/layernorm.cu."
        ),
    )
)


# ------------------------------------------------------------------------------------------ numeric_slope


def numeric_slope(f: Callable, x: np.ndarray, step: float) -> np.ndarray:
    """f: array -> number.  Returns central differences in every element of x, an array like it; x stays as it is."""
    slope = np.empty_like(x)
    for position in np.ndindex(x.shape):
        moved = x.copy()
        moved[position] = x[position] + step
        above = f(moved)
        moved[position] = x[position] - step
        slope[position] = (above - f(moved)) / (2 * step)
    return slope


def forward_difference(f: Callable, x: np.ndarray, step: float) -> np.ndarray:
    slope = np.empty_like(x)
    for position in np.ndindex(x.shape):
        moved = x.copy()
        moved[position] += step
        slope[position] = (f(moved) - f(x)) / step
    return slope


def backward_difference(f: Callable, x: np.ndarray, step: float) -> np.ndarray:
    return forward_difference(f, x, -step)


def moved_for_good(f: Callable, x: np.ndarray, step: float) -> np.ndarray:
    slope, moved = np.empty_like(x), x.copy()
    for position in np.ndindex(x.shape):
        moved[position] = x[position] + step
        above = f(moved)
        moved[position] = x[position] - step
        slope[position] = (above - f(moved)) / (2 * step)
    return slope


def all_at_once(f: Callable, x: np.ndarray, step: float) -> np.ndarray:
    return np.full_like(x, (f(x + step) - f(x - step)) / (2 * step))


def in_place(f: Callable, x: np.ndarray, step: float) -> np.ndarray:
    """Right, except for the last digits of x."""
    slope = np.empty_like(x)
    for position in np.ndindex(x.shape):
        x[position] += step
        above = f(x)
        x[position] -= 2 * step
        slope[position] = (above - f(x)) / (2 * step)
        x[position] += step
    return slope


def cubic(x: np.ndarray) -> float:
    return float((x**3).sum() + x.ravel()[0] * x.ravel()[-1])


add(
    Exercise(
        "numeric_slope",
        3,
        "the slopes of a gradient check, found by moving each element",
        numeric_slope,
        lambda: [
            Try("a cubic function of 6 numbers", (cubic, random(8).standard_normal((2, 3)), 1e-3)),
            Try("one number, a larger step", (cubic, np.array([0.7]), 1e-2)),
        ],
        mistakes=(
            Mistake(
                "You move each element to one side only, which gives an error of about step * f''/2.  If you move "
                "it to both sides, the error is proportional to step squared.",
                forward_difference,
            ),
            Mistake(
                "You move each element to one side only, downwards, which gives an error of about step * f''/2.  "
                "If you move it to both sides, the error is proportional to step squared.",
                backward_difference,
            ),
            Mistake(
                "The elements that you moved earlier are still moved: put each one back, or make a new copy for "
                "each element.",
                moved_for_good,
            ),
            Mistake(
                "The distance from x - step to x + step is *two* steps, so divide by 2 * step.",
                lambda f, x, step: 2 * numeric_slope(f, x, step),
            ),
            Mistake(
                "The sign is wrong: subtract the value below from the value above.",
                lambda f, x, step: -numeric_slope(f, x, step),
            ),
            Mistake("Move one element at a time; all others must keep their values.", all_at_once),
            Mistake(
                "The slopes are right, but you have changed x: `+= step` followed by `-= step` leaves a rounding "
                "error.  Save the old value and put it back, or work on a copy.",
                in_place,
            ),
        ),
        hints=(
            "The loop `for place in np.ndindex(x.shape)` visits every element.",
            "Work on a copy, and put each element back after moving it (or make a new copy each time).",
            "The slope is (f(moved up) - f(moved down)) / (2 * step).",
        ),
        note="In the package, this is numeric_gradient in minibert/checks/gradients.py.",
        tolerance=1e-7,
    )
)
