"""The minibert contender: training steps or inference batches on one of minibert's backends."""

import itertools
from collections.abc import Callable

from minibert.base.arrays import DTypeLike
from minibert.bench.workload import Workload
from minibert.models import Bert, BertConfig, BertForPreTraining
from minibert.objectives import MaskedLmAndNextSentence
from minibert.ops import Backend
from minibert.training.memory import keep_freed_memory
from minibert.training.optimizer import AdamW, AdamWSettings
from minibert.training.step import prepared, train_step

# optimiser settings of all contenders
LEARNING_RATE, WEIGHT_DECAY, BETAS, EPS, CLIP = 1e-4, 0.01, (0.9, 0.98), 1e-6, 1.0


def contender(workload: Workload, backend: Backend | str) -> tuple[list, Callable]:
    """The inputs of one turn, one per step, and the function that runs a step on its input."""
    keep_freed_memory()
    config = BertConfig(**workload.model)
    make = training_step if workload.kind == "training" else inference_step
    return workload.batches, make(config, backend)


def training_step(config: BertConfig, backend: Backend | str, dtype: DTypeLike = "float32") -> Callable:
    """A function that trains on one batch: forward and backward passes, clipping and AdamW.

    In float16, the loss is scaled.
    """
    objective = MaskedLmAndNextSentence(BertForPreTraining(config, backend, dtype=dtype))
    settings = AdamWSettings(*BETAS, EPS, WEIGHT_DECAY, bias_correction=True, max_norm=CLIP)
    optimizer = AdamW(objective.model.parameters, settings)
    numbers = itertools.count()

    def step(batch):
        number = next(numbers)
        parts = prepared(objective, [batch])
        (losses,), _ = train_step(objective, optimizer, parts, number + 1, LEARNING_RATE, (0, number))
        return losses.total

    return step


def inference_step(config: BertConfig, backend: Backend | str) -> Callable:
    """A function that computes the hidden states of all tokens in a batch and returns their mean for each sentence."""
    model = Bert(config, backend)
    ops = model.backend

    def step(batch):
        hidden, _ = model.forward(batch, keep_cache=False)  # [N, H]
        pooled, _ = ops.mean_pool_forward(hidden, ops.array(batch.cu_seqlens))  # [B, H]
        return pooled

    return step
