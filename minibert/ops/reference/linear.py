"""The linear layer: a matrix product plus a bias, which accounts for nine tenths of BERT's arithmetic."""

from collections.abc import Sequence

import numpy as np

from minibert.base.arrays import Cache


def linear_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The linear layer y = x @ weight.T + bias: each output feature is a weighted sum of the inputs, plus a bias.

    x [N, in]; weight [out, in] (the layout of PyTorch and of Hugging Face files); bias [out].
    Returns y [N, out] and the cache that linear_backward takes.
    """
    return x @ weight.T + bias, (x, weight)


def linear_backward(
    d_y: np.ndarray, cache: Cache, accumulate_into: Sequence[np.ndarray | None] = (None, None, None)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of linear_forward: d_y [N, out] -> d_x [N, in], d_weight [out, in], d_bias [out].

    accumulate_into: for each of the three gradients, an array to which it is added in place and which is then
    returned; or None.  (The gradient of a parameter that is used twice is the sum of two gradients.)
    """
    x, weight = cache
    d_x, d_weight, d_bias = accumulate_into
    # y = x @ weight.T + bias
    return (
        add_to(d_x, d_y @ weight),  # [N, in]
        add_to(d_weight, d_y.T @ x),  # [out, in]
        add_to(d_bias, d_y.sum(axis=0)),  # [out]
    )


def add_to(given: np.ndarray | None, gradient: np.ndarray) -> np.ndarray:
    """Return the gradient, or, if an array is given, that array with the gradient added to it in place."""
    if given is None:
        return gradient
    given += gradient
    return given
