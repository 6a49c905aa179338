"""The gradient check: does the backward pass compute the derivative of the forward pass?

A *random* upstream gradient u turns any function with array outputs into a scalar function f:

    f(x) = sum(u * forward(x))        d_x = backward(u)

Each element of d_x must equal the derivative of f with respect to that element of x, which is estimated by central
differences, that is, by moving the element by a small step h in both directions:

    (f(x + h) - f(x - h)) / 2h        truncation error of order h**2 f''', rounding error of order 1e-16 f / h

The upstream gradient must be random: if it were all ones, a layer norm whose backward pass lacks its third term would
pass, since the features of x_hat sum to zero.  Every element of every input is checked, in float64.

Some gradients are exactly zero: a bias of the keys adds the same number to all scores of a query, which the softmax
ignores.  The differences then consist of rounding errors only: each f is a float64 number, one or two units in its last
place from the exact value, so a difference of ROUNDINGS * eps * |f| / h says nothing about a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEP = 1e-5  # h: for values around 1, both errors are then near 1e-10
TOLERANCE = 1e-7
SMALL = 1e-3  # share of the case's largest gradient that is the least an error is divided by
ROUNDINGS = 2  # relative rounding errors of f that a difference may amount to, in eps; the largest of 240 cases is 0.96


@dataclass(frozen=True)
class Case:
    """A gradient check of one function for inputs of one shape.

    name        the op, layer or model
    shape       a short description of what distinguishes this case, shown in the table
    inputs      all inputs whose gradients are checked: a dictionary from name to float64 NumPy array
    forward     forward(inputs) -> (output or tuple of outputs, cache)
    backward    backward(upstream gradient or tuple of upstream gradients, cache) -> dictionary from name to gradient
    """

    name: str
    shape: str
    inputs: dict[str, np.ndarray]
    forward: Callable
    backward: Callable


@dataclass(frozen=True)
class Result:
    """The result of checking the gradient of one input of a case."""

    name: str
    argument: str
    shape: str
    error: float
    """the largest difference, divided by the largest of three: the tensor's largest gradient; SMALL times the case's;
    and the rounding error of a difference, divided by TOLERANCE"""

    @property
    def passed(self) -> bool:
        return self.error <= TOLERANCE  # False for nan


def check_gradients(case: Case, seed: int = 0, step: float = STEP) -> list[Result]:
    """Compare every gradient of a case with finite differences; returns one Result per input."""
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
    terms = sum(float(np.abs(u * y).sum()) for u, y in zip(upstream, (outputs,) if single else outputs, strict=True))
    rounding = ROUNDINGS * np.finfo(float).eps * terms / step
    results = []
    for name, expected in numeric.items():
        given = np.asarray(analytic[name])
        if given.shape != expected.shape:
            raise ValueError(f"{case.name}: the gradient of {name} has shape {given.shape}, expected {expected.shape}")
        scale = max(np.abs(expected).max(initial=0), SMALL * largest, rounding / TOLERANCE, np.finfo(float).tiny)
        error = float(np.abs(given - expected).max(initial=0) / scale)
        results.append(Result(case.name, name, f"{case.shape} {list(expected.shape)}".strip(), error))
    return results


def numeric_gradient(objective: Callable, inputs: dict[str, np.ndarray], name: str, step: float = STEP) -> np.ndarray:
    """The gradient of the scalar `objective(inputs)` with respect to inputs[name], by central differences."""
    moved = inputs[name].copy()  # a copy, so that the caller's array stays unchanged
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
