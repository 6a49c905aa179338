"""Exercises of lesson 7: the schedule, clipping, and the uncertainty of an accuracy."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, NothingReturned, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ----------------------------------------------------------------------------------------- learning_rate


def learning_rate(step: int, steps: int, peak: float, rising: int) -> float:
    """The rate of step 0 .. steps - 1: up to `peak` in the first `rising` steps, then down to 0, linearly."""
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / (steps - rising)


class OfOneStep:
    """Makes an exercise out of a function of one step: it is tried on all steps."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, steps: int, peak: float, rising: int) -> np.ndarray | None:
        rates = [self.function(step, steps, peak, rising) for step in range(steps)]
        missing = [step for step, rate in enumerate(rates) if rate is None or rate is Ellipsis]
        if len(missing) == steps:
            return None
        if missing:
            raise NothingReturned(f"at step {missing[0]}")
        return np.array(rates, float)


def starting_at_zero(step: int, steps: int, peak: float, rising: int) -> float:
    if step < rising:
        return peak * step / rising
    return peak * (steps - step) / (steps - rising)


def without_decay(step: int, steps: int, peak: float, rising: int) -> float:
    return peak * min((step + 1) / rising, 1)


def decaying_from_the_start(step: int, steps: int, peak: float, rising: int) -> float:
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - step) / steps


def ending_at_zero(step: int, steps: int, peak: float, rising: int) -> float:
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - 1 - step) / (steps - 1 - rising)


def falling_early(step: int, steps: int, peak: float, rising: int) -> float:
    if step < rising:
        return peak * (step + 1) / rising
    return peak * (steps - 1 - step) / (steps - rising)


def from_zero_with_a_jump(step: int, steps: int, peak: float, rising: int) -> float:
    return starting_at_zero(step, steps, peak, rising) if step < rising else peak * (steps - step) / steps


def without_warmup(step: int, steps: int, peak: float, rising: int) -> float:
    return peak * (steps - step) / steps


add(
    Exercise(
        "learning_rate",
        7,
        "warm-up and linear decay",
        OfOneStep(learning_rate),
        lambda: [Try("100 steps, 10 of warm-up", (100, 2e-3, 10)), Try("7 steps, 2 of warm-up", (7, 1.0, 2))],
        outputs=("the rate",),
        mistakes=(
            Mistake(
                "The rate is 0 at step 0, so that step changes nothing.  (transformers' linear schedule does so, "
                "too.)  Here, count it as the first rising step: use step + 1.",
                OfOneStep(starting_at_zero),
            ),
            Mistake("The rate never falls.  After the warm-up, it must fall linearly to 0.", OfOneStep(without_decay)),
            Mistake(
                "The rate jumps at the end of the warm-up: the fall must begin at `peak` and take steps - rising "
                "steps.",
                OfOneStep(decaying_from_the_start),
            ),
            Mistake("The warm-up is missing.", OfOneStep(without_warmup)),
            Mistake(
                "That is the schedule of Google's optimization.py: a rate of 0 at step 0, and a fall that is counted "
                "from step 0, so that the rate jumps at the end of the warm-up.  Models learn with it, but here no "
                "step is to be wasted and nothing is to jump: count step 0 as the first of the rising steps, with "
                "step + 1, and let the fall take steps - rising steps.",
                OfOneStep(from_zero_with_a_jump),
            ),
            Mistake(
                "The rate is 0 at the last step, so that step changes nothing.  The rate should reach 0 only at step "
                "`steps`, one past the last step.",
                OfOneStep(ending_at_zero),
            ),
            Mistake(
                "The rate is 0 at the last step, so that step changes nothing.  The rate should reach 0 only at step "
                "`steps`, one past the last step.",
                OfOneStep(falling_early),
            ),
        ),
        hints=(
            "Distinguish two cases: step < rising, and all later steps.",
            "While the rate rises, it is peak * (step + 1) / rising.",
            "While the rate falls, it is peak * (steps - step) / (steps - rising).",
        ),
        note="In the package, this is learning_rate_at in minibert/training/optimizer.py.",
        wrap=OfOneStep,
        shown=learning_rate,
    )
)


# --------------------------------------------------------------------------------------------------- clip


def clip(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    """gradients: a list of arrays, max_norm: a number.  Returns one long vector: all of them, scaled down together."""
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = np.sqrt((flat**2).sum())
    return flat if norm <= max_norm else flat * (max_norm / norm)


def clip_each(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    return np.concatenate([clip([g], max_norm) for g in gradients])


def clip_elements(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    return np.clip(np.concatenate([g.ravel() for g in gradients]), -max_norm, max_norm)


def always_scale(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    flat = np.concatenate([g.ravel() for g in gradients])
    return flat * max_norm / np.sqrt((flat**2).sum())


def clip_unit(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    flat = np.concatenate([g.ravel() for g in gradients])
    norm = np.sqrt((flat**2).sum())
    return flat / norm * min(norm, max_norm)


def clip_by_square(gradients: Sequence[np.ndarray], max_norm: float) -> np.ndarray:
    flat = np.concatenate([g.ravel() for g in gradients])
    return flat * min(1.0, max_norm / (flat**2).sum())


def clip_tries() -> Iterator[Try]:
    r = random(1)
    yield Try("a norm above the limit", ([3 * r.standard_normal((2, 3)), r.standard_normal(4)], 1.0))
    yield Try("a limit of 0.5", ([r.standard_normal((2, 3)), r.standard_normal(4)], 0.5))
    yield Try("a norm below the limit", ([0.01 * r.standard_normal((2, 2)), 0.01 * r.standard_normal(3)], 1.0))
    yield Try("gradients that are all 0", ([np.zeros((2, 2)), np.zeros(3)], 1.0))


add(
    Exercise(
        "clip",
        7,
        "clip the norm of all gradients together",
        clip,
        clip_tries,
        outputs=("the gradients",),
        mistakes=(
            Mistake(
                "You clip each array by itself, which changes the direction of the gradient.  Compute one norm "
                "over all arrays.",
                clip_each,
            ),
            Mistake(
                "You always clip to a norm of 1; use max_norm instead.",
                lambda gradients, max_norm: clip(gradients, 1.0),
            ),
            Mistake(
                "You clip each number by itself, which changes the direction of the gradient.  Scale all numbers "
                "by one factor.",
                clip_elements,
            ),
            Mistake("You scale small gradients *up* to the limit; they should stay as they are.", always_scale),
            Mistake(
                "You never scale the gradients down.",
                lambda gradients, max_norm: np.concatenate([g.ravel() for g in gradients]),
            ),
            Mistake(
                "The square root is missing: the norm is the square root of the sum of the squares.", clip_by_square
            ),
            Mistake(
                "When the gradients are all 0, you divide 0 by 0.  They are below the limit, so leave them unchanged.",
                clip_unit,
            ),
        ),
        hints=(
            "np.concatenate([g.ravel() for g in gradients]) makes one vector of all gradients.",
            "If the norm is above max_norm, multiply the vector by max_norm / norm; otherwise leave it unchanged.",
        ),
        note="In the package, the gradients are one flat buffer, and the factor is applied inside adamw.",
    )
)


# --------------------------------------------------------------------------------------------- uncertainty


def uncertainty(correct: int, count: int) -> float:
    """Half the width of a 95 % confidence interval of the share correct / count (normal approximation)."""
    share = correct / count
    return 1.96 * np.sqrt(share * (1 - share) / count)


add(
    Exercise(
        "uncertainty",
        7,
        "is 78 % better than 76 %?",
        uncertainty,
        lambda: [
            Try("1,560 of 2,000", (1560, 2000)),
            Try("60 of 100", (60, 100)),
            Try("all answers right", (50, 50)),
        ],
        outputs=("half the width of the interval",),
        tolerance=2e-5,  # 1.96, or more digits of it
        mistakes=(
            Mistake(
                "That is one standard deviation; 95 % of the probability lies within 1.96 standard deviations.",
                lambda k, n: np.sqrt(k / n * (1 - k / n) / n),
            ),
            Mistake(
                "The square root is missing: p (1 - p) / n is the variance, and you need the standard deviation.",
                lambda k, n: 1.96 * k / n * (1 - k / n) / n,
            ),
            Mistake(
                "The uncertainty must fall with the number of examples: divide the variance p (1 - p) by n.  Here "
                "p is the share of correct answers, not their number.",
                lambda k, n: 1.96 * np.sqrt(k / n * (1 - k / n)),
            ),
            Mistake(
                "Divide by n, not by n - 1: the variance follows from the share p, it is not estimated from the "
                "spread of the examples.",
                lambda k, n: 1.96 * np.sqrt(k / n * (1 - k / n) / (n - 1)),
            ),
            Mistake(
                "That is the whole width of the interval; the function should return half of it.",
                lambda k, n: 2 * 1.96 * np.sqrt(k / n * (1 - k / n) / n),
            ),
        ),
        hints=(
            "If each of n examples is correct with probability p, their share has the variance p (1 - p) / n.",
            "The interval reaches 1.96 standard deviations to each side.",
        ),
        note=(
            "For 78 % of 2,000 pairs, it is 1.8 points, and for the difference of two such shares 2.6 points: "
            "78 % against 76 % may be chance."
        ),
    )
)
