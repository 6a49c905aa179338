"""Training: the optimiser and its schedule, the training loop, evaluation, and checkpoints."""

from typing import Any

from minibert.training.config import PretrainConfig

__all__ = ["PretrainConfig", "pretrain"]


def __getattr__(name: str) -> Any:
    """Import `minibert.training.pretrain` on first use, so that --help does not wait for everything it imports."""
    if name != "pretrain":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from minibert.training.pretraining import pretrain

    return pretrain
