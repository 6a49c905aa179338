"""Compute a model's attention probabilities, which are not stored during training."""

import numpy as np

from minibert.base.numbers import require_finite
from minibert.data.batch import Batch
from minibert.models.bert import Model
from minibert.ops.reference.attention import attention_scores, attention_weights, split_heads

BODY_NAMES = "body", "bert"  # the attribute names under which models store their BertBody


def attention_probabilities(model: Model, batch: Batch) -> list[list[np.ndarray]]:
    """The attention probabilities between all pairs of tokens, in all layers and heads, without dropout.

    model: a Bert, or a model with a head on top of one; batch: a minibert.data.Batch.
    Returns, for each layer, a list with one float64 array [A, T, T] per sequence; each row (a query) sums to 1.
    Unlike the model itself, this function materialises [T, T] matrices: it is for pictures, not for training.
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
    """The attention probabilities [A, T, T] of one sequence, from its queries and keys [T, H].

    causal: whether each token attends only to itself and earlier tokens.
    """
    q, k = (split_heads(np.asarray(x, np.float64), heads) for x in (query, key))  # [A, T, D]
    weights = attention_weights(attention_scores(q, k, np.arange(len(query)), causal))[0]
    return require_finite(weights, "the attention probabilities")
