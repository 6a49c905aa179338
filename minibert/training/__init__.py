"""Training: the optimiser and its schedule, the loop, evaluation, checkpoints."""

from typing import TYPE_CHECKING

from minibert.training.config import PretrainConfig

if TYPE_CHECKING:
    from minibert.training.pretrain import pretrain as pretrain

__all__ = ["PretrainConfig", "pretrain"]


def __getattr__(name):
    """`minibert.training.pretrain`, the function, on first use: --help should not wait for all that it imports."""
    if name == "pretrain":
        from minibert.training.pretrain import pretrain

        globals()["pretrain"] = pretrain  # in the place of the module of that name
        return pretrain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
