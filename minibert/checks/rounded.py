"""The reference backend in simulated 16-bit precision: NumPy ops that round whatever a GPU would store in 16 bits.

Activations and their gradients are rounded after every op; the caller rounds parameters before every step.  Values
inside an op, and the gradients of parameters, stay in float32, as in minibert.ops.gpu.
"""

import copy
from collections.abc import Callable

import numpy as np

from minibert.base.arrays import DTypeLike
from minibert.ops import load_backend
from minibert.ops.backend import Backend
from minibert.ops.table import BY_NAME, PAIRS


def round_to(dtype: DTypeLike) -> Callable:
    """A function that rounds an array to a 16-bit dtype and returns the result as float32."""
    return lambda array: np.asarray(array).astype(dtype).astype(np.float32)


def rounded_reference(dtype: DTypeLike) -> Backend:
    """A copy of the reference backend that rounds activations and their gradients to `dtype`."""
    honest = load_backend("reference")
    ours, rounded = copy.copy(honest), round_to(dtype)
    for op in PAIRS:
        if not BY_NAME[op].loss:
            setattr(ours, f"{op}_forward", forward(getattr(honest, f"{op}_forward"), rounded))
        setattr(ours, f"{op}_backward", backward(getattr(honest, f"{op}_backward"), rounded, BY_NAME[op].activations))
    return ours


def forward(function: Callable, rounded: Callable) -> Callable:
    def call(*arguments, **named):
        y, cache = function(*arguments, **named)
        return rounded(y), cache

    return call


def backward(function: Callable, rounded: Callable, activations: int | None) -> Callable:
    """Wrap a backward function so that the gradients it returns are rounded.

    activations: how many gradients to round, counted from the first; None for all.
    """

    def call(*arguments, **named):
        gradients = function(*arguments, **named)
        several = gradients if isinstance(gradients, tuple) else (gradients,)
        count = len(several) if activations is None else activations
        several = tuple(rounded(g) if i < count else g for i, g in enumerate(several))
        return several if isinstance(gradients, tuple) else several[0]

    return call
