"""Training: the optimiser and its schedule, the loop, evaluation, checkpoints."""

from minibert.training.config import PretrainConfig
from minibert.training.pretrain import pretrain

__all__ = ["PretrainConfig", "pretrain"]
