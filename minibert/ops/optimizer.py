"""The settings of one optimiser step, shared by all backends."""

from typing import NamedTuple


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
