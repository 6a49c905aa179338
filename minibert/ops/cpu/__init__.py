"""The CPU backend: the reference's ops as fused, parallel Numba kernels.  Read the reference backend first."""

import numpy as xp

from minibert.ops.cpu.activations import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    tanh_backward,
    tanh_forward,
)
from minibert.ops.cpu.attention import attention_backward, attention_forward
from minibert.ops.cpu.dropout import dropout_backward, dropout_forward
from minibert.ops.cpu.embedding import embedding_backward, embedding_forward
from minibert.ops.cpu.layernorm import (
    add_layernorm_backward,
    add_layernorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from minibert.ops.cpu.linear import linear_backward, linear_forward
from minibert.ops.cpu.losses import (
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
from minibert.ops.cpu.lstm import lstm_backward, lstm_forward
from minibert.ops.cpu.muon import orthogonalise
from minibert.ops.cpu.optimizer import adamw, global_norm
from minibert.ops.cpu.rows import (
    gather_rows_backward,
    gather_rows_forward,
    mean_pool_backward,
    mean_pool_forward,
)


def prepare() -> None:
    """Compile the kernels if they have not been compiled yet; see minibert.ops.cpu.warmup."""
    from minibert.ops.cpu.warmup import compile_all

    compile_all()


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
