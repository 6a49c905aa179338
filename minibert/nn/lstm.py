"""LSTM layers: for ELMo, and for models that use BERT's output vectors as features (paper, section 5.3)."""

from collections.abc import Callable, Sequence

import numpy as np

from minibert.base.arrays import Array, Cache
from minibert.nn.parameters import Parameters

LSTM_LAYERS = 2  # of the BiLSTM on top of BERT (paper, section 5.3)


class Lstm:
    """An LSTM layer that reads in one direction."""

    def __init__(self, parameters: Parameters, name: str, inputs: int, width: int, reverse: bool):
        self.ops, self.reverse = parameters.backend, reverse
        self.weight_input = parameters.add(f"{name}.weight_input", (4 * width, inputs), uniform(width))
        self.weight_hidden = parameters.add(f"{name}.weight_hidden", (4 * width, width), uniform(width))
        self.bias = parameters.add(f"{name}.bias", (4 * width,), open_forget_gates, decayed=False)

    def forward(self, x: Array, cu_seqlens: Array | np.ndarray) -> tuple[Array, Cache]:
        """x [N, I], cu_seqlens [B + 1] -> h [N, K]; on a GPU, cu_seqlens on the host saves a wait."""
        weights = self.weight_input.value, self.weight_hidden.value, self.bias.value
        return self.ops.lstm_forward(x, *weights, cu_seqlens, self.reverse)

    def backward(self, d_h: Array, cache: Cache) -> Array:
        """d_h [N, K] -> d_x [N, I]."""
        d_x, d_weight_input, d_weight_hidden, d_bias = self.ops.lstm_backward(d_h, cache)
        self.weight_input.gradient += d_weight_input
        self.weight_hidden.gradient += d_weight_hidden
        self.bias.gradient += d_bias
        return d_x


class BiLstm:
    """A stack of bidirectional LSTM layers, each of which concatenates the outputs of both directions."""

    def __init__(self, parameters: Parameters, name: str, inputs: int, width: int, layers: int):
        """width: the output width K of each direction."""
        self.layers, self.width, self.xp = [], width, parameters.backend.xp
        for number in range(layers):
            size = inputs if number == 0 else 2 * width
            both = [
                Lstm(parameters, f"{name}.{number}.{direction}", size, width, direction == "backward")
                for direction in ("forward", "backward")
            ]
            self.layers.append(both)

    def forward(self, x: Array, cu_seqlens: Array | np.ndarray) -> tuple[Array, Cache]:
        """x [N, I], cu_seqlens [B + 1] -> [N, 2 K]."""
        caches = []
        for both in self.layers:
            (one, one_cache), (other, other_cache) = (direction.forward(x, cu_seqlens) for direction in both)
            x = self.xp.concatenate([one, other], axis=1)  # [N, 2 K]
            caches.append((one_cache, other_cache))
        return x, caches

    def backward(self, d_y: Array, caches: Sequence[Cache]) -> Array:
        """d_y [N, 2 K] -> d_x [N, I]."""
        for (one, other), (one_cache, other_cache) in zip(reversed(self.layers), reversed(caches), strict=True):
            d_y = one.backward(d_y[:, : self.width], one_cache) + other.backward(d_y[:, self.width :], other_cache)
        return d_y


def uniform(width: int) -> Callable:
    """An initializer: uniform between -1 / sqrt(K) and 1 / sqrt(K), K = `width`, as PyTorch initialises an LSTM."""

    def init(random, shape):
        return random.uniform(-1, 1, shape) / np.sqrt(width)

    return init


def open_forget_gates(_random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Initial biases: ones for the forget gates, so that a new cell remembers, and zeros for the others.

    Source: Jozefowicz et al. 2015, section 2.2.
    """
    bias = np.zeros(shape)
    width = shape[0] // 4
    bias[width : 2 * width] = 1
    return bias
