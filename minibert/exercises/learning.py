"""Exercises of lesson 7: the optimiser, the schedule, and the uncertainty of an accuracy."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add


def random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# -------------------------------------------------------------------------------------------------- adamw


def adamw_step(
    value: np.ndarray,
    gradient: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rate: float,
    decay: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-6,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One step, all arrays [P]; no bias correction, as in BERT's release.  Returns value, first and second moment."""
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    return value - rate * (first / (np.sqrt(second) + eps) + decay * value), first, second


def adamw_with(
    *,
    old_moments: bool = False,
    l2: bool = False,
    eps_inside: bool = False,
    squared: bool = True,
    decayed: bool = True,
    decay_times_rate: bool = True,
    root: bool = True,
    swapped: bool = False,
    corrected: bool = False,
    inside: bool = False,
    sign: int = 1,
    shares: bool = True,
) -> Callable:
    """adamw_step with something wrong."""

    def wrong(value, gradient, first, second, rate, decay, beta1=0.9, beta2=0.999, eps=1e-6):
        if l2:
            gradient = gradient + decay * value
        if swapped:
            beta1, beta2 = beta2, beta1
        new_first = beta1 * first + (1 - beta1 if shares else 1) * gradient
        new_second = beta2 * second + (1 - beta2 if shares else 1) * (gradient**2 if squared else np.abs(gradient))
        m, v = (first, second) if old_moments else (new_first, new_second)
        if corrected:  # as in the first step, where the correction is largest
            m, v = m / (1 - beta1), v / (1 - beta2)
        below = np.sqrt(v + eps) if eps_inside else (np.sqrt(v) if root else v) + eps
        change = rate * (m + decay * value if inside else m) / below
        if decayed and not l2 and not inside:
            change = change + sign * (rate if decay_times_rate else 1) * decay * value
        return value - change, new_first, new_second

    return wrong


def adamw_tries() -> Iterator[Try]:
    r = random(0)
    yield Try(
        "8 parameters", (r.standard_normal(8), r.standard_normal(8), 0.1 * r.standard_normal(8), r.random(8), 0.01, 0.1)
    )
    yield Try("the first step", (r.standard_normal(5), r.standard_normal(5), np.zeros(5), np.zeros(5), 0.001, 0.01))
    yield Try(
        "other betas and another eps",
        (r.standard_normal(4), r.standard_normal(4), r.standard_normal(4), r.random(4), 0.01, 0.1, 0.8, 0.95, 1e-3),
    )


add(
    Exercise(
        "adamw_step",
        7,
        "one step of AdamW",
        adamw_step,
        adamw_tries,
        outputs=("value", "first moment", "second moment"),
        mistakes=(
            Mistake("You use the moments from before this step; update them first.", adamw_with(old_moments=True)),
            Mistake(
                "You add the decay to the gradient, and so to the moments.  That is Adam with L2 regularisation, "
                "where the decay is divided by the size of the gradient.  AdamW subtracts the decay from the value "
                "directly.",
                adamw_with(l2=True),
            ),
            Mistake("eps belongs outside the square root: sqrt(second) + eps.", adamw_with(eps_inside=True)),
            Mistake("The second moment averages the *squares* of the gradients.", adamw_with(squared=False)),
            Mistake("The weight decay is missing.", adamw_with(decayed=False)),
            Mistake(
                "The decay is inside the fraction, so it is divided by sqrt(second).  AdamW subtracts it from the "
                "value directly.",
                adamw_with(inside=True),
            ),
            Mistake(
                "The decay must make weights smaller, so subtract it, as you subtract the step.", adamw_with(sign=-1)
            ),
            Mistake(
                "The moments are running averages: the new term has the weight 1 - beta, so that the two weights "
                "add up to 1.",
                adamw_with(shares=False),
            ),
            Mistake(
                "The decay is not multiplied by the rate: it should rise and fall with the schedule, as the step does.",
                adamw_with(decay_times_rate=False),
            ),
            Mistake(
                "The square root is missing: divide by the square root of the second moment, so that the size of "
                "the step does not depend on the scale of the gradient.",
                adamw_with(root=False),
            ),
            Mistake(
                "beta1 belongs to the first moment, beta2 to the second: you have swapped them.",
                adamw_with(swapped=True),
            ),
            Mistake(
                "That is Adam with bias correction, which divides the moments by 1 - beta ** step.  BERT's release "
                "does not do that, and this function does not know the number of the step.",
                adamw_with(corrected=True),
            ),
            Mistake(
                "You always use 1e-6 for eps; use the argument instead.",
                lambda v, g, m, s, rate, decay, beta1=0.9, beta2=0.999, eps=0: adamw_step(
                    v, g, m, s, rate, decay, beta1, beta2
                ),
            ),
            Mistake(
                "You always use 0.9 and 0.999 for the betas; use the arguments instead.",
                lambda v, g, m, s, rate, decay, beta1=0, beta2=0, eps=1e-6: adamw_step(
                    v, g, m, s, rate, decay, eps=eps
                ),
            ),
        ),
        hints=(
            "The first moment is beta1 * first + (1 - beta1) * gradient; for the second moment, use beta2 and "
            "the square of the gradient.",
            "The new value is value - rate * (first / (sqrt(second) + eps) + decay * value).",
        ),
        note=(
            "In the package, this is adamw in minibert/ops/reference/optimizer.py, which works in place on all "
            "parameters at once."
        ),
    )
)


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
        return None if rates[0] is None or rates[0] is Ellipsis else np.array(rates, float)


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
                "The rate is 0 at step 0, so that step changes nothing.  Count it as the first rising step: use "
                "step + 1.",
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
                "The rate is 0 at step 0; count it as the first of the rising steps, with step + 1.  Also, the rate "
                "jumps at the end of the warm-up: the fall must take steps - rising steps.",
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
