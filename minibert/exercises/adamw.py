"""Exercises of lesson 7: the optimiser."""

from collections.abc import Callable, Iterator

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
