"""Evaluation on documents that the model was not trained on."""

import math
from collections.abc import Sequence
from typing import Any

from minibert.objectives import Objective, losses_of

MOST_NATS = 700  # exp of this is still a float


def evaluate(objective: Objective, batches: Sequence[Any]) -> dict[str, float | None]:
    """The objective's figures on batches that together form one global batch, without dropout."""
    losses = [losses_of(objective, batch, keep_cache=False)[0] for batch in batches]
    return objective.figures(list(batches), losses)


def perplexity(loss: float) -> float:
    """exp(loss), the number of equally likely pieces that a model effectively chooses among; loss: in nats."""
    return math.exp(min(loss, MOST_NATS))
