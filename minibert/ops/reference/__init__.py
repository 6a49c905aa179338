"""The reference backend: every op in plain NumPy, written for readability."""

import numpy as xp

from minibert.ops.reference.activations import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    tanh_backward,
    tanh_forward,
)
from minibert.ops.reference.attention import attention_backward, attention_forward
from minibert.ops.reference.dropout import dropout_backward, dropout_forward
from minibert.ops.reference.embedding import embedding_backward, embedding_forward
from minibert.ops.reference.layernorm import (
    add_layernorm_backward,
    add_layernorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from minibert.ops.reference.linear import linear_backward, linear_forward
from minibert.ops.reference.losses import (
    cosine_backward,
    cosine_forward,
    count_correct,
    cross_entropy_backward,
    cross_entropy_forward,
    kl_divergence_backward,
    kl_divergence_forward,
    mse_backward,
    mse_forward,
)
from minibert.ops.reference.lstm import lstm_backward, lstm_forward
from minibert.ops.reference.muon import orthogonalise
from minibert.ops.reference.optimizer import adamw, global_norm
from minibert.ops.reference.rows import (
    gather_rows_backward,
    gather_rows_forward,
    mean_pool_backward,
    mean_pool_forward,
)

__all__ = [
    "adamw",
    "add_layernorm_backward",
    "add_layernorm_forward",
    "attention_backward",
    "attention_forward",
    "cosine_backward",
    "cosine_forward",
    "count_correct",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "dropout_backward",
    "dropout_forward",
    "embedding_backward",
    "embedding_forward",
    "gather_rows_backward",
    "gather_rows_forward",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "global_norm",
    "kl_divergence_backward",
    "kl_divergence_forward",
    "layernorm_backward",
    "layernorm_forward",
    "linear_backward",
    "linear_forward",
    "lstm_backward",
    "lstm_forward",
    "mean_pool_backward",
    "mean_pool_forward",
    "mse_backward",
    "mse_forward",
    "orthogonalise",
    "tanh_backward",
    "tanh_forward",
    "xp",
]
