"""Layer normalisation, on its own and combined with the residual connection before it."""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.dropout import Dropout
from minibert.ops.reference.dropout import dropout_backward, dropout_forward


def layernorm_forward(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> tuple[np.ndarray, Cache]:
    """Normalise each token's features to zero mean and unit variance, then scale and shift them.

    x [N, H]; weight, bias [H]; eps: added to the variance.
    Returns y [N, H] and the cache that layernorm_backward takes.  Source: Ba et al. 2016, eq. 4.
    """
    mean = x.mean(axis=1, keepdims=True)  # [N, 1]
    centred = x - mean  # [N, H]
    rstd = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + eps)  # [N, 1]
    x_hat = centred * rstd  # [N, H]
    return x_hat * weight + bias, (x_hat, rstd, weight)


def layernorm_backward(d_y: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass of layernorm_forward: d_y [N, H] -> d_x [N, H], d_weight [H], d_bias [H]."""
    x_hat, rstd, weight = cache
    # y = x_hat * weight + bias
    d_weight = (d_y * x_hat).sum(axis=0)  # [H]
    d_bias = d_y.sum(axis=0)  # [H]
    d_x_hat = d_y * weight  # [N, H]
    # x_hat = (x - mean) * rstd: x affects x_hat directly, through the mean, and through the variance
    through_mean = d_x_hat.mean(axis=1, keepdims=True)  # [N, 1]
    through_variance = x_hat * (d_x_hat * x_hat).mean(axis=1, keepdims=True)  # [N, H]
    return rstd * (d_x_hat - through_mean - through_variance), d_weight, d_bias


def add_layernorm_forward(
    x: np.ndarray,
    residual: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    dropout: Dropout | None = None,
) -> tuple[np.ndarray, Cache]:
    """LayerNorm(residual + Dropout(x)), which follows every sub-layer of BERT.

    x [N, H]: the output of the sub-layer; residual [N, H]: its input; weight, bias [H]; eps: added to the variance;
    dropout: a minibert.ops.Dropout, or None.
    Returns y [N, H] and the cache that add_layernorm_backward takes.
    Source: Vaswani et al. 2017, sections 3.1 and 5.4.
    """
    dropped, dropout_cache = (x, None) if dropout is None else dropout_forward(x, dropout)  # [N, H]
    y, norm_cache = layernorm_forward(residual + dropped, weight, bias, eps)  # [N, H]
    return y, (norm_cache, dropout_cache)


def add_layernorm_backward(d_y: np.ndarray, cache: Cache) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The backward pass: d_y [N, H] -> d_x [N, H], d_residual [N, H], d_weight [H], d_bias [H].

    Without dropout, d_x and d_residual are the same array.
    """
    norm_cache, dropout_cache = cache
    # y = layernorm(residual + dropout(x)): the gradient of a sum is passed on to both of its terms
    d_residual, d_weight, d_bias = layernorm_backward(d_y, norm_cache)
    d_x = d_residual if dropout_cache is None else dropout_backward(d_residual, dropout_cache)  # [N, H]
    return d_x, d_residual, d_weight, d_bias
