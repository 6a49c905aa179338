"""The memory that a training step needs on a GPU, computed from shapes before anything is allocated.

For its backward pass, a layer keeps for each token: its input, queries, keys, values and context (5 H), the normalised
rows of both layer norms and the output of the first (3 H), and the feed-forward network's hidden units before and after
the activation (2 F).  The last layer keeps these only for the rows that a loss reads.
"""

from dataclasses import dataclass

import numpy as np

from minibert.models import BertConfig
from minibert.nn.parameters import as_dtype

SUMS = 4  # bytes of a float32 number, the type of master weights, gradients, moments, and accumulators in kernels
MASK_RATE = 0.15


@dataclass(frozen=True)
class Footprint:
    """The memory of a training step by purpose, in bytes."""

    parameters: int
    """values, masters, gradients, both moments, and the weight-decay mask"""
    activations: int
    """activations that the forward pass keeps for the backward pass"""
    logits: int
    """logits of the masked tokens, and the gradients of these logits"""
    working: int
    """the largest additional memory that the backward pass needs at any time"""

    @property
    def total(self) -> int:
        return self.parameters + self.activations + self.logits + self.working


def footprint(
    config: BertConfig, parameters: int, sequences: int, length: int, precision: str, mask_rate: float = MASK_RATE
) -> Footprint:
    """The memory of one training step of BertForPreTraining.

    parameters: the number of parameters; sequences, length: the shape of a micro-batch; mask_rate: the share of its
    tokens that are to be predicted; precision: float32, tf32, bfloat16 or float16.
    """
    size = as_dtype("float32" if precision == "tf32" else precision).itemsize
    width, inner, vocabulary = config.hidden_size, config.intermediate_size, config.vocab_size
    tokens = sequences * length
    masked = round(mask_rate * tokens)
    read = masked + sequences
    masters = SUMS if size < SUMS else 0
    for_each = size + masters + 3 * SUMS + np.dtype(bool).itemsize
    sums = SUMS * (config.num_attention_heads + 2)  # log-sums of each head, and the deviations of two layer norms
    whole = size * (8 * width + 2 * inner) + sums
    keys_and_values = 3 * size * width
    cut = size * (6 * width + 2 * inner) + sums
    embeddings = size * width
    head = 4 * size * width
    return Footprint(
        parameters=parameters * for_each,
        activations=tokens * (embeddings + (config.num_hidden_layers - 1) * whole + keys_and_values)
        + read * cut
        + masked * head,
        logits=2 * masked * vocabulary * size,
        working=max(tokens * size * (3 * width + 2 * inner), vocabulary * width * size),
    )
