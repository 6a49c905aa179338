"""Lesson 7: a whole training step."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minibert.exercises.adamw import adamw_step
from minibert.exercises.exercise import Exercise, Mistake, Try, add
from minibert.exercises.learning import clip

DECAY = 0.01


def training_step(
    weights: list[np.ndarray],
    first: list[np.ndarray],
    second: list[np.ndarray],
    parts: list,
    loss_and_gradients: Callable,
    rate: float,
    max_norm: float,
) -> tuple[float, list, list, list]:
    """One step on a batch that is computed in parts.  weights, first, second: a list of arrays each, of equal shapes.

    loss_and_gradients(weights, part) returns a part's loss and a list of gradients, both divided by the size of the
    whole batch.  Weight matrices decay by 0.01; biases and layer norms, arrays with one axis, do not.
    Returns the batch's loss and the new weights, first moments and second moments.
    """
    loss, total = 0.0, [np.zeros_like(weight) for weight in weights]
    for part in parts:
        of_part, gradients = loss_and_gradients(weights, part)
        loss += of_part
        total = [a + b for a, b in zip(total, gradients, strict=True)]
    flat = clip(total, max_norm)
    ends = np.cumsum([weight.size for weight in weights])
    clipped = [one.reshape(weight.shape) for one, weight in zip(np.split(flat, ends[:-1]), weights, strict=True)]
    found = [
        adamw_step(weight, gradient, m, v, rate, 0.01 if weight.ndim > 1 else 0.0)
        for weight, gradient, m, v in zip(weights, clipped, first, second, strict=True)
    ]
    return loss, [one[0] for one in found], [one[1] for one in found], [one[2] for one in found]


def step_with(
    *,
    used: slice = slice(None),
    mean: bool = False,
    each: bool = False,
    early: bool = False,
    decays: Callable = lambda weight: weight.ndim > 1,
    forgets: bool = False,
) -> Callable:
    """training_step with a mistake: parts left out, their mean, clipping each array or part, decay of others."""

    def function(
        weights: list, first: list, second: list, parts: list, loss_and_gradients: Callable, rate: float, most: float
    ) -> tuple:
        found = [loss_and_gradients(weights, part) for part in parts]
        loss = sum(one[0] for one in found) / (len(parts) if mean else 1)

        def clipped(gradients: list) -> list:
            norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
            return [gradient * min(1.0, most / max(norm, 1e-30)) for gradient in gradients]

        lists = [clipped(gradients) if early else gradients for _, gradients in found][used]
        total = [sum(ones) / (len(parts) if mean else 1) for ones in zip(*lists, strict=True)]
        if each:
            total = [clipped([gradient])[0] for gradient in total]
        elif not early:
            total = clipped(total)
        zero = [np.zeros_like(weight) for weight in weights]
        given = zip(weights, total, zero if forgets else first, zero if forgets else second, strict=True)
        new = [adamw_step(w, g, m, v, rate, DECAY if decays(w) else 0.0) for w, g, m, v in given]
        return loss, [one[0] for one in new], [one[1] for one in new], [one[2] for one in new]

    return side_by_side(function)


def side_by_side(function: Callable) -> Callable:
    """A step whose three lists of arrays are three long vectors; what has another form is passed on."""

    def call(*arguments: Any) -> Any:
        found = function(*arguments)
        if not (isinstance(found, tuple | list) and len(found) == 4):
            return found
        try:
            return found[0], *(np.concatenate([np.ravel(array) for array in arrays]) for arrays in found[1:])
        except (TypeError, ValueError):
            return found

    return call


def squares(scale: float, weights: list[np.ndarray], part: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """A loss whose gradient is easy to see: the distance of the weights from a target for each row of the part."""
    loss, gradients = 0.0, [np.zeros_like(weight) for weight in weights]
    for row in part:
        for weight, gradient in zip(weights, gradients, strict=True):
            difference = weight - row[: weight.size].reshape(weight.shape)
            loss += scale * float((difference**2).sum()) / 2
            gradient += scale * difference
    return loss, gradients


def step_tries() -> Iterator[Try]:
    r = np.random.default_rng(23)

    def case(what: str, sizes: list[int], scale: float, rate: float, max_norm: float) -> Try:
        shapes = (3, 2), (3,), (2, 2)
        weights, first = ([r.standard_normal(shape) for shape in shapes] for _ in range(2))
        second = [r.random(shape) for shape in shapes]
        parts = [r.standard_normal((size, 6)) for size in sizes]
        return Try(what, (weights, first, second, parts, partial(squares, scale / sum(sizes)), rate, max_norm))

    yield case("one part, a small gradient", [4], 0.1, 0.1, 10.0)
    yield case("three parts of different sizes", [4, 1, 2], 0.1, 0.02, 8.0)
    yield case("two parts, and a gradient to be clipped", [2, 3], 10.0, 0.05, 1.0)


add(
    Exercise(
        "training_step",
        7,
        "a whole training step",
        side_by_side(training_step),
        step_tries,
        outputs=("the loss", "the weights", "the first moments", "the second moments"),
        mistakes=(
            Mistake(
                "Only the last part's gradients are used: they have to be added up over the parts.",
                step_with(used=slice(-1, None)),
            ),
            Mistake(
                "You take the mean over the parts.  Each part's loss is divided by the size of the whole batch, "
                "so the parts add up.",
                step_with(mean=True),
            ),
            Mistake(
                "You clip each array by itself, which changes the direction of the step.  Clip all gradients together, "
                "as one long vector.",
                step_with(each=True),
            ),
            Mistake(
                "You clip each part before adding it; clip the sum, which is the batch's gradient.",
                step_with(early=True),
            ),
            Mistake(
                "All arrays decay.  Biases and layer norms (arrays with one axis) do not.",
                step_with(decays=lambda weight: True),
            ),
            Mistake(
                "Nothing decays; the weight matrices (arrays with two axes) do, by 0.01.",
                step_with(decays=lambda weight: False),
            ),
            Mistake(
                "The moments begin at zero again in each step; go on with those of the last step.",
                step_with(forgets=True),
            ),
        ),
        hints=(
            "Four things, in this order: add up the gradients of the parts, clip them, AdamW for each array, return.",
            "clip (an earlier exercise) returns one long vector: cut it at the arrays' sizes (np.split, np.cumsum).",
            "adamw_step(weight, gradient, m, v, rate, 0.01 if weight.ndim > 1 else 0.0)",
        ),
        note="In the package, this is train_step in minibert/training/step.py.",
        wrap=side_by_side,
        shown=training_step,
    )
)
