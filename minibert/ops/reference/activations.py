"""The activation functions: GELU in its exact form and in its tanh approximation, and tanh."""

import numpy as np

from minibert.base.arrays import Cache
from minibert.ops.reference.normal import normal_cdf, normal_density


def gelu_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """GELU, a smooth ReLU: x times the probability that a standard normal variable is below x.

    x [...].  Returns y [...] and the cache that gelu_backward takes.
    Source: Hendrycks and Gimpel 2016, section 2; BERT paper, appendix A.2.
    """
    cdf = normal_cdf(x)
    return x * cdf, (x, cdf)


def gelu_backward(d_y: np.ndarray, cache: Cache) -> np.ndarray:
    """The backward pass of GELU: d_y [...] -> d_x [...]."""
    x, cdf = cache
    # y = x * cdf(x), and the derivative of cdf is the density
    return d_y * (cdf + x * normal_density(x))


def gelu_tanh_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """GELU with the normal distribution function approximated by a tanh, as used in models such as GPT-2.

    x [...].  Returns y [...] and the cache that gelu_tanh_backward takes.
    Source: Hendrycks and Gimpel 2016, section 2.
    """
    t = np.tanh(np.sqrt(2 / np.pi).astype(x.dtype) * (x + 0.044715 * x * x * x))
    return 0.5 * x * (1 + t), (x, t)


def gelu_tanh_backward(d_y: np.ndarray, cache: Cache) -> np.ndarray:
    """The backward pass of GELU's tanh approximation: d_y [...] -> d_x [...]."""
    x, t = cache
    # y = 0.5 * x * (1 + t), t = tanh(u), u = sqrt(2 / pi) * (x + 0.044715 * x**3)
    d_u_d_x = np.sqrt(2 / np.pi).astype(x.dtype) * (1 + 3 * 0.044715 * x * x)
    return d_y * 0.5 * (1 + t + x * (1 - t * t) * d_u_d_x)


def tanh_forward(x: np.ndarray) -> tuple[np.ndarray, Cache]:
    """The hyperbolic tangent, which BERT uses in its pooler.

    x [...].  Returns y [...], between -1 and 1, and the cache that tanh_backward takes.
    """
    y = np.tanh(x)
    return y, (y,)


def tanh_backward(d_y: np.ndarray, cache: Cache) -> np.ndarray:
    """The backward pass of tanh: d_y [...] -> d_x [...]."""
    (y,) = cache
    # y = tanh(x), whose derivative is 1 - tanh(x)**2
    return d_y * (1 - y * y)
