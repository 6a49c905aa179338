"""Training objectives, which define the losses that a model is trained to minimise.

An objective holds a model: it turns a batch into inputs and targets on the device, computes the losses, and
backpropagates their gradients through the model.  The training loop uses models and targets only through this
interface.
"""

from minibert.objectives.distillation import Distillation, DistillationBatch, DistillationLosses, TaskDistillation
from minibert.objectives.language_model import BothDirections, BothDirectionsLoss, NextToken, NextTokenLoss
from minibert.objectives.objective import Objective, losses_of
from minibert.objectives.pretraining import Losses, MaskedLmAndNextSentence
from minibert.objectives.tasks import TaskLoss, TaskObjective

__all__ = [
    "BothDirections",
    "BothDirectionsLoss",
    "Distillation",
    "DistillationBatch",
    "DistillationLosses",
    "Losses",
    "MaskedLmAndNextSentence",
    "NextToken",
    "NextTokenLoss",
    "Objective",
    "TaskDistillation",
    "TaskLoss",
    "TaskObjective",
    "losses_of",
]
