"""The settings of the optimiser ops, shared by all backends."""

from typing import NamedTuple

# Muon: a, b and c of the polynomial a s + b s³ + c s⁵, chosen by Jordan et al. (2024) to raise small values fast; after
# five iterations all singular values from 0.01 to 1 lie between 0.68 and 1.13
COEFFICIENTS = 3.4445, -4.7750, 2.0315
ITERATIONS = 5
SMALLEST_NORM = 1e-20  # instead of a smaller norm, so that zeros are not divided by zero


class AdamWStep(NamedTuple):
    """The settings of one `adamw` step (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2)."""

    learning_rate: float
    beta1: float
    """decay rate of the first moment"""
    beta2: float
    """decay rate of the second moment"""
    eps: float
    """added to the square root of the second moment"""
    weight_decay: float
    correction1: float = 1.0
    """divisor of the first moment: 1 - beta1 ** step, or 1 for no bias correction, as in Google's BERT code"""
    correction2: float = 1.0
    """divisor of the second moment: 1 - beta2 ** step, or 1 for no bias correction"""
    max_norm: float | None = None
    """gradients are scaled by max_norm / gradient_norm if gradient_norm exceeds max_norm; None for no clipping"""
