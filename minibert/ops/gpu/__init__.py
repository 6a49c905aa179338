"""The GPU backend: the reference's ops as CUDA kernels, launched by CuPy.  Read the reference backend first.

Without a GPU, the kernels can run on the emulator; see minibert.ops.gpu.library.
"""

from minibert.ops.gpu.activations import (
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    tanh_backward,
    tanh_forward,
)
from minibert.ops.gpu.attention import attention_backward, attention_forward
from minibert.ops.gpu.distances import (
    cosine_backward,
    cosine_forward,
    kl_divergence_backward,
    kl_divergence_forward,
    mse_backward,
    mse_forward,
)
from minibert.ops.gpu.dropout import dropout_backward, dropout_forward
from minibert.ops.gpu.embedding import embedding_backward, embedding_forward
from minibert.ops.gpu.layernorm import (
    add_layernorm_backward,
    add_layernorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from minibert.ops.gpu.library import cp as xp
from minibert.ops.gpu.linear import linear_backward, linear_forward
from minibert.ops.gpu.losses import count_correct, cross_entropy_backward, cross_entropy_forward
from minibert.ops.gpu.lstm import lstm_backward, lstm_forward
from minibert.ops.gpu.muon import orthogonalise
from minibert.ops.gpu.optimizer import adamw, global_norm, update_scale
from minibert.ops.gpu.products import use_tf32
from minibert.ops.gpu.rows import (
    gather_rows_backward,
    gather_rows_forward,
    mean_pool_backward,
    mean_pool_forward,
)
from minibert.ops.gpu.upload import upload

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
    "update_scale",
    "upload",
    "use_tf32",
    "xp",
]
