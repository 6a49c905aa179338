"""The basic layers: `forward` returns an output and a cache; `backward` takes the cache and adds to the gradients.

Apart from its parameters, a layer keeps no state between calls, so several forward passes may precede their
backward passes.
"""

from minibert.base.arrays import Array, Cache
from minibert.nn.config import BertConfig
from minibert.nn.parameters import Initializer, Parameters, ones, truncated_normal, zeros
from minibert.ops.dropout import Dropout


class Linear:
    """The linear layer y = x @ weight.T + bias, with weight [out, in] as in Hugging Face files."""

    def __init__(self, parameters: Parameters, name: str, inputs: int, outputs: int, std: float):
        self.ops = parameters.backend
        self.weight = parameters.add(f"{name}.weight", (outputs, inputs), truncated_normal(std))
        self.bias = parameters.add(f"{name}.bias", (outputs,), zeros, decayed=False)

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """x [N, in] -> y [N, out]."""
        return self.ops.linear_forward(x, self.weight.value, self.bias.value)

    def backward(self, d_y: Array, cache: Cache, accumulate_into: Array | None = None) -> Array:
        """d_y [N, out] -> d_x [N, in]; if `accumulate_into` is an array, d_x is added to it in place."""
        into = accumulate_into, self.weight.gradient, self.bias.gradient
        return self.ops.linear_backward(d_y, cache, accumulate_into=into)[0]


def output_layer(parameters: Parameters, name: str, inputs: int, outputs: int, std: float | None = None) -> Linear:
    """The output layer of a task's model.

    std: the standard deviation of its initial weights; None: 1 / sqrt(inputs).  Inputs with a mean square of 1, as
    after a layer norm, then give scores of about 1, whatever the width.  In fine-tuning these weights hardly change,
    and what the model below learns changes the scores in proportion to them.  With the 0.02 of BERT's release, a few
    hundred steps are often too few (docs/fine-tuning.md has measurements).
    """
    return Linear(parameters, name, inputs, outputs, inputs**-0.5 if std is None else std)


class LayerNorm:
    """Layer normalisation, alone (`forward`) or after a residual connection (`add_forward`)."""

    def __init__(self, parameters: Parameters, name: str, width: int, eps: float):
        self.ops = parameters.backend
        self.weight = parameters.add(f"{name}.weight", (width,), ones, decayed=False)
        self.bias = parameters.add(f"{name}.bias", (width,), zeros, decayed=False)
        self.eps = eps

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """x [N, H] -> y [N, H]."""
        return self.ops.layernorm_forward(x, self.weight.value, self.bias.value, self.eps)

    def backward(self, d_y: Array, cache: Cache) -> Array:
        """d_y [N, H] -> d_x [N, H]."""
        d_x, d_weight, d_bias = self.ops.layernorm_backward(d_y, cache)
        self.weight.gradient += d_weight
        self.bias.gradient += d_bias
        return d_x

    def add_forward(self, x: Array, residual: Array, dropout: Dropout | None) -> tuple[Array, Cache]:
        """x, residual [N, H], and a Dropout or None -> LayerNorm(residual + dropout(x)) [N, H]."""
        return self.ops.add_layernorm_forward(x, residual, self.weight.value, self.bias.value, self.eps, dropout)

    def add_backward(self, d_y: Array, cache: Cache) -> tuple[Array, Array]:
        """d_y [N, H] -> d_x [N, H], d_residual [N, H]."""
        d_x, d_residual, d_weight, d_bias = self.ops.add_layernorm_backward(d_y, cache)
        self.weight.gradient += d_weight
        self.bias.gradient += d_bias
        return d_x, d_residual


class Embeddings:
    """The normalised sum of token, position and segment embeddings (paper, figure 2); DistilBERT has no segments."""

    def __init__(
        self,
        parameters: Parameters,
        name: str,
        config: BertConfig,
        position_init: Initializer | None = None,
        *,
        segments: bool = True,
    ) -> None:
        """Register the tables and the layer norm.

        position_init: the initializer of the position embeddings, or None to use that of the other tables; segments:
        False to omit the segment embeddings: segment ids are then looked up in a table of zeros, not a parameter.
        """
        self.ops, width = parameters.backend, config.hidden_size
        init = truncated_normal(config.initializer_range)
        positions = config.max_position_embeddings, width
        self.token = parameters.add(f"{name}.word_embeddings.weight", (config.vocab_size, width), init)
        self.position = parameters.add(f"{name}.position_embeddings.weight", positions, position_init or init)
        kinds = config.type_vocab_size, width
        self.segment = parameters.add(f"{name}.token_type_embeddings.weight", kinds, init) if segments else None
        self.no_segments = None if segments else self.ops.xp.zeros(kinds, dtype=parameters.dtype)
        self.norm = LayerNorm(parameters, f"{name}.LayerNorm", width, config.layer_norm_eps)

    def forward(
        self, token_ids: Array, position_ids: Array, segment_ids: Array, dropout: Dropout | None = None
    ) -> tuple[Array, Cache]:
        """Three arrays of ids [N], and a Dropout or None -> y [N, H] and the cache."""
        segment = self.no_segments if self.segment is None else self.segment.value
        tables = self.token.value, self.position.value, segment
        summed, embedding_cache = self.ops.embedding_forward(token_ids, position_ids, segment_ids, *tables)
        y, norm_cache = self.norm.forward(summed)
        dropout_cache = None
        if dropout is not None:
            y, dropout_cache = self.ops.dropout_forward(y, dropout)
        return y, (embedding_cache, norm_cache, dropout_cache)

    def backward(self, d_y: Array, cache: Cache) -> None:
        """d_y [N, H] -> nothing, since ids have no gradient; adds to the gradients of the tables."""
        embedding_cache, norm_cache, dropout_cache = cache
        if dropout_cache is not None:
            d_y = self.ops.dropout_backward(d_y, dropout_cache)
        d_summed = self.norm.backward(d_y, norm_cache)  # [N, H]
        segment = None if self.segment is None else self.segment.gradient  # None: the gradient is dropped
        tables = self.token.gradient, self.position.gradient, segment
        self.ops.embedding_backward(d_summed, embedding_cache, accumulate_into=tables)
