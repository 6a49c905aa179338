"""Exercises of lesson 10: half precision."""

from collections.abc import Callable

import numpy as np

from minibert.exercises.exercise import Exercise, Mistake, Try, add

# --------------------------------------------------------------------------------------------- loss_scale


def next_scale(scale: float, good_steps: int, norm: float, interval: int) -> tuple[float, int]:
    """The loss scale, the good steps since it changed, and the gradients' norm.  Returns the first two after this step.

    A step whose norm is not finite halves the scale; `interval` good steps in a row double it.
    """
    if not np.isfinite(norm):
        return scale / 2, 0
    if good_steps + 1 >= interval:
        return scale * 2, 0
    return scale, good_steps + 1


def scale_with(*, halve: bool = True, reset: bool = True, double: bool = True, keep_counting: bool = False) -> Callable:
    def wrong(scale, good_steps, norm, interval):
        if not np.isfinite(norm):
            return (scale / 2 if halve else scale), (0 if reset else good_steps)
        if good_steps + 1 >= interval and double:
            return scale * 2, (good_steps + 1 if keep_counting else 0)
        return scale, good_steps + 1

    return wrong


add(
    Exercise(
        "next_scale",
        10,
        "dynamic loss scaling",
        next_scale,
        lambda: [
            Try("a good step", (1024.0, 3, 2.5, 10)),
            Try("a norm that is infinite", (1024.0, 3, float("inf"), 10)),
            Try("a NaN norm", (1024.0, 9, float("nan"), 10)),
            Try("the ninth good step", (1024.0, 8, 2.5, 10)),
            Try("the tenth good step", (1024.0, 9, 2.5, 10)),
            Try("more good steps than the interval, which was longer before", (1024.0, 12, 2.5, 10)),
            Try("an interval of 2,000", (65536.0, 9, 0.1, 2000)),
            Try("a large norm that is finite", (1024.0, 3, 1e5, 10)),
            Try("a norm of 0", (1024.0, 3, 0.0, 10)),
            Try("an overflow at a scale of 1", (1.0, 3, float("inf"), 10)),
            Try("the tenth good step at a scale of 2**40", (2.0**40, 9, 2.5, 10)),
        ],
        outputs=("scale", "good steps"),
        mistakes=(
            Mistake("After an overflow, the scale must fall to half its value.", scale_with(halve=False)),
            Mistake("After an overflow, the count of good steps must start again at 0.", scale_with(reset=False)),
            Mistake(
                "After `interval` good steps in a row, the scale doubles, because it may have become too small.  "
                "(`interval` is an argument.)",
                scale_with(double=False),
            ),
            Mistake(
                "The scale doubles one step late: the current step is a good one, too, and counts.",
                lambda s, g, n, i: (s * 2, 0) if np.isfinite(n) and g >= i else next_scale(s, g, n, max(i, g + 2)),
            ),
            Mistake(
                "When the scale has doubled, the count of good steps must start again at 0.",
                scale_with(keep_counting=True),
            ),
            Mistake(
                "NaN is an overflow as well as infinity: use np.isfinite.",
                lambda s, g, n, i: (s / 2, 0) if n == np.inf else next_scale(s, g, 1.0, i),
            ),
            Mistake(
                "Infinity is an overflow as well as NaN: use np.isfinite.",
                lambda s, g, n, i: (s / 2, 0) if np.isnan(n) else next_scale(s, g, 1.0, i),
            ),
            Mistake(
                "The norm is a float32 number, so only infinity and NaN are overflows; a norm above 65,504 is not.",
                lambda s, g, n, i: next_scale(s, g, n if n <= 65504 else np.inf, i),
            ),
            Mistake(
                "Half of a scale of 1 is 0.5: divide with /, since // and int() give 0, and all gradients with it.",
                lambda s, g, n, i: next_scale(s, g, n, i) if np.isfinite(n) else (s // 2, 0),
            ),
            Mistake(
                "You set a lower limit to the scale; here, each overflow halves it, even at 1.",
                lambda s, g, n, i: next_scale(s, g, n, i) if np.isfinite(n) else (max(1.0, s / 2), 0),
            ),
            Mistake(
                "You set an upper limit to the scale; here, it doubles after every `interval` good steps.",
                lambda s, g, n, i: (min(next_scale(s, g, n, i)[0], 2.0**24), next_scale(s, g, n, i)[1]),
            ),
            Mistake(
                "You set an upper limit to the scale; here, it doubles after every `interval` good steps.",
                lambda s, g, n, i: (min(next_scale(s, g, n, i)[0], 2.0**16), next_scale(s, g, n, i)[1]),
            ),
            Mistake(
                "A norm of 0 is finite, so such a step is a good one.",
                lambda s, g, n, i: next_scale(s, g, n if n else np.inf, i),
            ),
        ),
        hints=(
            "There are three cases: the norm is not finite; the step is the last of `interval` good steps; any "
            "other step.",
        ),
        note=(
            "In the package, this is update_scale in minibert/ops/gpu/optimizer.cu, which runs on the device "
            "without waiting for the CPU."
        ),
    )
)
