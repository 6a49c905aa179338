"""The settings of one step of the optimiser, for all backends."""

from typing import NamedTuple


class AdamWStep(NamedTuple):
    """What `adamw` does in one step (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2)."""

    learning_rate: float
    beta1: float
    """decay of the first moment"""
    beta2: float
    """decay of the second moment"""
    eps: float
    """added to the square root of the second moment"""
    weight_decay: float
    correction1: float = 1.0
    """the first moment is divided by it: 1 - beta1 ** step, or 1 for no bias correction, as in BERT's release"""
    correction2: float = 1.0
    """likewise the second moment"""
    max_norm: float | None = None
    """gradients are scaled by max_norm / gradient_norm if their norm is larger; None: never"""
