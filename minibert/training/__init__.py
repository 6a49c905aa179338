"""Training: the optimiser and its schedule, the loop, evaluation, checkpoints."""

from typing import Any

from minibert.training.config import PretrainConfig

__all__ = ["PretrainConfig", "pretrain"]


def __getattr__(name: str) -> Any:
    """`minibert.training.pretrain` on first use: --help should not wait for all that it imports."""
    if name != "pretrain":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from minibert.training.pretraining import pretrain

    return pretrain
