"""The two pre-training heads (paper, section 3.1)."""

from minibert.base.arrays import Array, Cache
from minibert.nn import BertConfig, LayerNorm, Linear, Parameters
from minibert.nn.parameters import Parameter, zeros


class MaskedLMHead:
    """Scores every word piece for a masked token: transforms the token's vector, then compares it with the embeddings.

    The decoder's matrix is the embedding table itself ("tied"): a piece scores high if the transformed vector
    points in the direction of the piece's embedding.  Only the decoder's bias is a parameter of its own.
    """

    def __init__(self, parameters: Parameters, name: str, config: BertConfig, embedding: Parameter) -> None:
        """embedding: the Parameter [V, H] that the head shares with the embeddings."""
        self.ops, width, std = parameters.backend, config.hidden_size, config.initializer_range
        self.dense = Linear(parameters, f"{name}.transform.dense", width, width, std)
        self.activate = getattr(self.ops, f"{config.activation}_forward")
        self.activate_backward = getattr(self.ops, f"{config.activation}_backward")
        self.norm = LayerNorm(parameters, f"{name}.transform.LayerNorm", width, config.layer_norm_eps)
        self.embedding = embedding
        self.bias = parameters.add(f"{name}.bias", (embedding.shape[0],), zeros, decayed=False)

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """x [M, H] -> logits [M, V] and the cache."""
        dense, dense_cache = self.dense.forward(x)  # [M, H]
        activated, activation_cache = self.activate(dense)  # [M, H]
        normed, norm_cache = self.norm.forward(activated)  # [M, H]
        logits, decoder_cache = self.ops.linear_forward(normed, self.embedding.value, self.bias.value)  # [M, V]
        return logits, (dense_cache, activation_cache, norm_cache, decoder_cache)

    def backward(self, d_logits: Array, cache: Cache) -> Array:
        """d_logits [M, V] -> d_x [M, H]."""
        dense_cache, activation_cache, norm_cache, decoder_cache = cache
        # the embedding layer, which also uses the table, adds its part of the gradient later
        into = None, self.embedding.gradient, self.bias.gradient
        d_normed, _, _ = self.ops.linear_backward(d_logits, decoder_cache, accumulate_into=into)
        d_activated = self.norm.backward(d_normed, norm_cache)
        d_dense = self.activate_backward(d_activated, activation_cache)
        return self.dense.backward(d_dense, dense_cache)


class NextSentenceHead(Linear):
    """Maps the pooled vector to two scores: index 0, segment B follows segment A; index 1, B comes from elsewhere."""

    def __init__(self, parameters: Parameters, name: str, config: BertConfig):
        super().__init__(parameters, name, config.hidden_size, 2, config.initializer_range)
