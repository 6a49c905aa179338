"""The gradient check: does the backward pass compute the derivative of the forward pass?

Any function with array outputs becomes a scalar function by means of a *random* upstream gradient u:

    f(x) = sum(u * forward(x))        d_x = backward(u)

and each element of d_x must equal the slope of f, measured by moving that element a little to both sides:

    (f(x + h) - f(x - h)) / 2h        error of order h**2 f''' from the curvature, of order 1e-16 f / h from rounding

The upstream gradient must be random: with ones, a layer norm whose backward lacks its third term passes, since the
features of x_hat sum to zero.  Every element of every input is checked, in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEP = 1e-5  # h: with values around 1, both errors are then near 1e-10
TOLERANCE = 1e-7
SMALL = 1e-3  # a tensor's largest gradient counts as at least this share of the check's largest gradient


@dataclass(frozen=True)
class Case:
    """One function at one shape.

    name        the op, layer or model
    shape       a short description of what is special about this case, for the table
    inputs      name -> float64 NumPy array: all inputs that get a gradient
    forward     (inputs) -> (output, or tuple of outputs), cache
    backward    (upstream gradient, or tuple of them; cache) -> name -> gradient
    """

    name: str
    shape: str
    inputs: dict[str, np.ndarray]
    forward: Callable
    backward: Callable


@dataclass(frozen=True)
class Result:
    """The result of checking one input of one case."""

    name: str
    argument: str
    shape: str
    error: float
    """the largest difference, relative to the tensor's largest gradient (or to SMALL times the check's largest)"""

    @property
    def passed(self) -> bool:
        return self.error <= TOLERANCE  # False for nan


def check_gradients(case: Case, seed: int = 0, step: float = STEP) -> list[Result]:
    """Compare every gradient of a case with finite differences."""
    random = np.random.default_rng(seed)
    outputs, cache = case.forward(case.inputs)
    single = not isinstance(outputs, tuple)
    upstream = tuple(random.standard_normal(np.shape(y)) for y in ((outputs,) if single else outputs))
    analytic = case.backward(upstream[0] if single else upstream, cache)

    def objective(inputs) -> float:
        outputs, _ = case.forward(inputs)
        return sum(float((u * y).sum()) for u, y in zip(upstream, (outputs,) if single else outputs, strict=True))

    numeric = {name: numeric_gradient(objective, case.inputs, name, step) for name in case.inputs}
    largest = max((np.abs(gradient).max() for gradient in numeric.values() if gradient.size), default=0.0)
    results = []
    for name, expected in numeric.items():
        given = np.asarray(analytic[name])
        if given.shape != expected.shape:
            raise ValueError(f"{case.name}: the gradient of {name} has shape {given.shape}, expected {expected.shape}")
        scale = max(np.abs(expected).max(initial=0), SMALL * largest, np.finfo(float).tiny)
        error = float(np.abs(given - expected).max(initial=0) / scale)
        results.append(Result(case.name, name, f"{case.shape} {list(expected.shape)}".strip(), error))
    return results


def numeric_gradient(objective: Callable, inputs: dict[str, np.ndarray], name: str, step: float = STEP) -> np.ndarray:
    """Central differences of `objective(inputs)`, a float, in every element of inputs[name]."""
    moved = inputs[name].copy()  # a copy of the one array that changes; the caller's array stays unchanged
    inputs = {**inputs, name: moved}
    gradient = np.empty_like(moved)
    for index in np.ndindex(moved.shape):
        value = moved[index]
        moved[index] = value + step
        above = objective(inputs)
        moved[index] = value - step
        below = objective(inputs)
        moved[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient
