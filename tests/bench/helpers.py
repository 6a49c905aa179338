"""A workload that is computed in a moment, made without the corpus."""

import numpy as np

from minibert.bench.workload import Workload, inference_workload_of
from minibert.data import masked_from_padded

MODEL = dict(
    vocab_size=60,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
)


def tiny_training() -> Workload:
    """Two batches of two sequences, 5 and 8 tokens long, three of them to be predicted."""
    random = np.random.default_rng(0)
    ids = random.integers(5, 60, (2, 8))
    mask = (np.arange(8) < np.array([[5], [8]])).astype(int)
    labels = np.full((2, 8), -100)
    labels[[0, 1, 1], [2, 3, 6]] = 7, 8, 9
    batch = masked_from_padded(ids, mask, None, labels, [0, 1])
    return Workload("training", "training step: tiny", MODEL, [batch, batch])


def tiny_inference() -> Workload:
    """Five sentences of 3 to 9 tokens, two in a batch."""
    sentences = [np.arange(5, 5 + length, dtype=np.int32) for length in (9, 3, 7, 4, 5)]
    return inference_workload_of(sentences, MODEL, 2, "inference: tiny")
