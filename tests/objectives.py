"""The loss of any model and its gradients, in one call each: what tests of models and of the backends need."""

from minibert.models import BertForPreTraining
from minibert.objectives import MaskedLmAndNextSentence, TaskObjective, losses_of


def objective_of(model):
    return MaskedLmAndNextSentence(model) if isinstance(model, BertForPreTraining) else TaskObjective(model)


def run_losses(model, batch, key=None):
    """The losses of a batch on the host, and the cache.  key: of the dropout."""
    objective = objective_of(model)
    return losses_of(objective, batch, key)


def run_backward(model, cache, scale=1.0) -> None:
    """Add the gradients of the losses to those of the model's parameters."""
    objective_of(model).losses_backward(cache, scale)


def run_forward(model, batch, key=None):
    """What the model's `forward` returns for a batch: logits, and the cache at the end.  key: of the dropout."""
    return model.forward(objective_of(model).prepare(batch).inputs, key)
