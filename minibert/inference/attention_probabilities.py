"""The attention probabilities of a model, which training never stores."""

import numpy as np

from minibert.data.batch import Batch
from minibert.models.bert import Model
from minibert.ops.reference.attention import attention_scores, attention_weights, split_heads

BODY_NAMES = "body", "bert"  # what models call their BertBody


def attention_probabilities(model: Model, batch: Batch) -> list[list[np.ndarray]]:
    """How much each token attends to every other, in all layers and heads, without dropout.

    model: a Bert or one of its models with a head; batch: a minibert.data.Batch.
    Returns float64 [A, T, T] for each layer and each sequence of the batch; each row (a query) adds up to 1.
    This function materialises [T, T] matrices, as the model itself never does: it is for pictures, not for training.
    Source: Vaswani et al. 2017, eq. 1.
    """
    body = next(getattr(model, name) for name in BODY_NAMES if hasattr(model, name))
    states, numpy = body.hidden_states(batch), model.backend.numpy
    return [
        [
            in_sequence(numpy(q)[begin:end], numpy(k)[begin:end], layer.attention.heads, model.config.is_decoder)
            for begin, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False)
        ]
        for layer, x in zip(body.encoder.layers, states, strict=False)
        for q, k in [(layer.attention.query.forward(x)[0], layer.attention.key.forward(x)[0])]
    ]


def in_sequence(query: np.ndarray, key: np.ndarray, heads: int, causal: bool) -> np.ndarray:
    """query, key [T, H] -> probabilities [A, T, T]; causal: no token sees a later one."""
    q, k = (split_heads(np.asarray(x, np.float64), heads) for x in (query, key))  # [A, T, D]
    return attention_weights(attention_scores(q, k, np.arange(len(query)), causal))[0]
