"""A short training run, the same on every backend, whose losses should agree with those of the reference backend.

Training amplifies rounding errors, so no fixed tolerance suits float32 and the 16-bit types.  Instead, a backend's
losses may differ from those of the float64 reference by at most FACTOR times as much as the losses of the reference run
in the same lower precision.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibert.checks.rounded import round_to, rounded_reference
from minibert.data.batch import Batch, running_sum
from minibert.data.masked_batch import MaskedBatch
from minibert.models import BertConfig, BertForPreTraining
from minibert.nn.parameters import HALF_PRECISION, as_dtype
from minibert.objectives import MaskedLmAndNextSentence, losses_of
from minibert.objectives.pretraining import Losses
from minibert.ops import Backend, load_backend
from minibert.training.optimizer import AdamW, AdamWSettings
from minibert.training.step import prepared, train_step

FACTOR = 4
LEARNING_RATE = 2e-3
LOSS_SCALE = 2.0**10  # the loss scale for float16: a power of two that neither overflows nor underflows here


def small_config(**changes: Any) -> BertConfig:
    """The configuration of the small model that is trained.

    It has three layers, so that there are complete layers below the last one, which computes only the rows that a loss
    reads.  Its sizes are not powers of two.
    """
    values = dict(vocab_size=103, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=56)
    return BertConfig(**{**values, "max_position_embeddings": 33, **changes})


def random_batch(
    config: BertConfig, lengths: Sequence[int] = (1, 9, 33, 17, 2), pairs: bool = True, seed: int = 0
) -> MaskedBatch:
    """A batch of sequences of the given lengths: random ids, some masked, and NSP labels of both classes."""
    random = np.random.default_rng(seed)
    cu_seqlens = running_sum(lengths)
    tokens = cu_seqlens[-1]
    masked = np.sort(random.choice(tokens, size=max(tokens // 5, 1), replace=False)).astype(np.int32)
    positions = np.concatenate([np.arange(length) for length in lengths])
    batch = Batch(
        # ids start at 1 because PyTorch computes no gradient for the embedding of [PAD], which has id 0
        token_ids=random.integers(1, config.vocab_size, tokens).astype(np.int32),
        segment_ids=random.integers(0, 2, tokens).astype(np.int32),
        position_ids=positions.astype(np.int32),
        cu_seqlens=cu_seqlens,
        sequence_numbers=np.arange(len(lengths)),
    )
    return MaskedBatch(
        batch,
        masked_positions=masked,
        masked_labels=random.integers(0, config.vocab_size, len(masked)).astype(np.int32),
        nsp_labels=(np.arange(len(lengths)) % 2).astype(np.int32) if pairs else None,
        mlm_count=len(masked),
        nsp_count=len(lengths) if pairs else 0,
    )


def training_losses(backend: Backend, precision: str, steps: int) -> np.ndarray:
    """The losses of the first `steps` training steps on random tokens, with dropout: float64 [steps]."""
    objective, optimizer = objective_and_optimizer(backend, precision)
    losses = [step(objective, optimizer, number).total for number in range(1, steps + 1)]
    return np.array([float(backend.numpy(loss)) for loss in losses])


def rounded_losses(precision: str, steps: int) -> np.ndarray:
    """The losses of the reference backend in `precision`; a 16-bit precision is simulated with `rounded_reference`."""
    if precision not in HALF_PRECISION:
        return training_losses(load_backend("reference"), precision, steps)
    rounded = round_to(as_dtype(precision))
    objective, optimizer = objective_and_optimizer(rounded_reference(as_dtype(precision)), "float32")
    parameters, losses = objective.model.parameters, []
    parameters.masters = parameters.values.copy()
    scale = LOSS_SCALE if precision == "float16" else 1.0
    for number in range(1, steps + 1):
        parameters.values[...] = rounded(parameters.masters)
        parameters.zero_gradients()
        step_losses, cache = losses_of(objective, batch_of(objective, number), (1, number))
        objective.losses_backward(cache, scale)
        parameters.gradients /= scale
        optimizer.step(number, LEARNING_RATE)
        losses.append(float(step_losses.total))
    return np.array(losses)


def objective_and_optimizer(backend: Backend, precision: str) -> tuple[MaskedLmAndNextSentence, AdamW]:
    model = BertForPreTraining(
        small_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1), backend, dtype=precision, seed=1
    )
    optimizer = AdamW(model.parameters, AdamWSettings(beta2=0.98))
    if optimizer.loss_scale is not None:
        optimizer.loss_scale.restore({"value": LOSS_SCALE})
    return MaskedLmAndNextSentence(model), optimizer


def batch_of(objective: MaskedLmAndNextSentence, number: int) -> MaskedBatch:
    """The batch for step `number`; odd and even steps use two different batches."""
    return random_batch(objective.model.config, seed=number % 2)


def step(objective: MaskedLmAndNextSentence, optimizer: AdamW, number: int) -> Losses:
    """Run training step `number`, counted from 1, and return its Losses."""
    parts = prepared(objective, [batch_of(objective, number)])
    (losses,), _ = train_step(objective, optimizer, parts, number, LEARNING_RATE, (1, number))
    return losses


def agreement(backend: Backend, precision: str, steps: int) -> tuple[float, float]:
    """The largest difference between the losses of `backend` and of the float64 reference, and the largest allowed."""
    exact = training_losses(load_backend("reference"), "float64", steps)
    difference = np.abs(training_losses(backend, precision, steps) - exact).max()
    if precision == "float64":
        return float(difference), 1e-8 * float(exact.max())
    return float(difference), FACTOR * float(np.abs(rounded_losses(precision, steps) - exact).max())
