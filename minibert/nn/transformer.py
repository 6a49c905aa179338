"""The Transformer encoder from the bottom up: self-attention, feed-forward network, encoder layer, stack of layers.

Every sub-layer is followed by LayerNorm(input + Dropout(output)): "post-norm", as in the original Transformer
(Vaswani et al. 2017, section 3.1) and in BERT.
"""

from collections.abc import Sequence

from minibert.base.arrays import Array, Cache
from minibert.nn.config import BertConfig
from minibert.nn.dropouts import NO_DROPOUT, Dropouts
from minibert.nn.kv_cache import KeyValueCache
from minibert.nn.layers import LayerNorm, Linear
from minibert.nn.parameters import Parameters
from minibert.nn.sequences import Sequences
from minibert.ops.dropout import ATTENTION_OUTPUT, ATTENTION_PROBABILITIES, FEED_FORWARD_OUTPUT


class SelfAttention:
    """Multi-head self-attention: project to queries, keys and values; attend; project back; add and normalise."""

    def __init__(self, parameters: Parameters, name: str, config: BertConfig, number: int):
        """number: the index of the layer, from 0, from which its dropout sites are derived."""
        width, std = config.hidden_size, config.initializer_range
        self.ops, self.heads, self.number = parameters.backend, config.num_attention_heads, number
        self.query = Linear(parameters, f"{name}.self.query", width, width, std)
        self.key = Linear(parameters, f"{name}.self.key", width, width, std)
        self.value = Linear(parameters, f"{name}.self.value", width, width, std)
        self.output = Linear(parameters, f"{name}.output.dense", width, width, std)
        self.norm = LayerNorm(parameters, f"{name}.output.LayerNorm", width, config.layer_norm_eps)

    def forward(
        self,
        x: Array,
        x_q: Array,
        tokens: Sequences,
        queries: Sequences,
        causal: bool = False,
        dropouts: Dropouts = NO_DROPOUT,
    ) -> tuple[Array, Cache]:
        """Attention from the query tokens x_q [Nq, H], which are rows of x, to all tokens x [N, H].

        tokens, queries: the Sequences of x and of x_q; causal: True if no token may attend to a later one.
        Returns y [Nq, H] and the cache.
        """
        q, q_cache = self.query.forward(x_q)  # [Nq, H]
        k, k_cache = self.key.forward(x)  # [N, H]
        v, v_cache = self.value.forward(x)  # [N, H]
        context, attention_cache = self.ops.attention_forward(
            q,
            k,
            v,
            self.heads,
            queries.cu_seqlens,
            tokens.cu_seqlens,
            queries.positions,
            causal,
            dropouts.at(self.number, ATTENTION_PROBABILITIES, queries),
        )  # [Nq, H]
        projected, output_cache = self.output.forward(context)  # [Nq, H]
        dropout = dropouts.at(self.number, ATTENTION_OUTPUT, queries)
        y, norm_cache = self.norm.add_forward(projected, x_q, dropout)  # [Nq, H]
        return y, (q_cache, k_cache, v_cache, attention_cache, output_cache, norm_cache)

    def extend(self, x: Array, tokens: Sequences, queries: Sequences, cache: KeyValueCache) -> Array:
        """x [n, H], the tokens after those in the cache -> y [n, H]; also adds their keys and values to the cache.

        tokens, queries: the Sequences of all N tokens, and of the n new ones.
        """
        q, k, v = (layer.forward(x)[0] for layer in (self.query, self.key, self.value))  # [n, H] each
        keys, values = cache.append(k, v)  # [N, H] both
        starts = queries.cu_seqlens, tokens.cu_seqlens
        context, _ = self.ops.attention_forward(q, keys, values, self.heads, *starts, queries.positions, True)  # [n, H]
        return self.norm.add_forward(self.output.forward(context)[0], x, None)[0]

    def backward(self, d_y: Array, cache: Cache) -> tuple[Array, Array]:
        """d_y [Nq, H] -> d_x [N, H], d_x_q [Nq, H]."""
        q_cache, k_cache, v_cache, attention_cache, output_cache, norm_cache = cache
        d_projected, d_residual = self.norm.add_backward(d_y, norm_cache)  # [Nq, H] both
        d_context = self.output.backward(d_projected, output_cache)  # [Nq, H]
        d_q, d_k, d_v = self.ops.attention_backward(d_context, attention_cache)  # [Nq, H], [N, H], [N, H]
        # x reaches y through the keys and the values; x_q reaches y through the queries and the residual
        d_x = self.value.backward(d_v, v_cache, accumulate_into=self.key.backward(d_k, k_cache))  # [N, H]
        d_x_q = self.query.backward(d_q, q_cache, accumulate_into=d_residual)  # [Nq, H]
        return d_x, d_x_q


class FeedForward:
    """Two linear layers with an activation in between, applied to each token independently; add and normalise."""

    def __init__(self, parameters: Parameters, name: str, config: BertConfig, number: int):
        """number: the index of the layer, from 0, from which its dropout sites are derived."""
        width, inner, std = config.hidden_size, config.intermediate_size, config.initializer_range
        self.ops, self.number = parameters.backend, number
        self.up = Linear(parameters, f"{name}.intermediate.dense", width, inner, std)
        self.activate = getattr(self.ops, f"{config.activation}_forward")
        self.activate_backward = getattr(self.ops, f"{config.activation}_backward")
        self.down = Linear(parameters, f"{name}.output.dense", inner, width, std)
        self.norm = LayerNorm(parameters, f"{name}.output.LayerNorm", width, config.layer_norm_eps)

    def forward(self, x: Array, rows: Sequences, dropouts: Dropouts = NO_DROPOUT) -> tuple[Array, Cache]:
        """x [N, H], and its rows' Sequences -> y [N, H] and the cache."""
        up, up_cache = self.up.forward(x)  # [N, F]
        activated, activation_cache = self.activate(up)  # [N, F]
        down, down_cache = self.down.forward(activated)  # [N, H]
        dropout = dropouts.at(self.number, FEED_FORWARD_OUTPUT, rows)
        y, norm_cache = self.norm.add_forward(down, x, dropout)  # [N, H]
        return y, (up_cache, activation_cache, down_cache, norm_cache)

    def backward(self, d_y: Array, cache: Cache) -> Array:
        """d_y [N, H] -> d_x [N, H]."""
        up_cache, activation_cache, down_cache, norm_cache = cache
        d_down, d_residual = self.norm.add_backward(d_y, norm_cache)  # [N, H] both
        d_activated = self.down.backward(d_down, down_cache)  # [N, F]
        d_up = self.activate_backward(d_activated, activation_cache)  # [N, F]
        return self.up.backward(d_up, up_cache, accumulate_into=d_residual)  # x reaches y by both paths


class EncoderLayer:
    """One encoder layer: self-attention followed by a feed-forward network."""

    def __init__(self, parameters: Parameters, name: str, config: BertConfig, number: int, norm: str = "post"):
        """number: the layer's index, from 0; norm: "post": LayerNorm(x + f(x)), as in BERT; others raise ValueError."""
        if norm != "post":
            raise ValueError(f"norm is {norm!r}; expected 'post', as in BERT and GPT (2018)")
        self.ops = parameters.backend
        self.attention = SelfAttention(parameters, f"{name}.attention", config, number)
        self.feed_forward = FeedForward(parameters, name, config, number)

    def forward(
        self,
        x: Array,
        tokens: Sequences,
        chosen: tuple[Array, Sequences] | None = None,
        causal: bool = False,
        dropouts: Dropouts = NO_DROPOUT,
    ) -> tuple[Array, Cache]:
        """x [N, H] -> y [N, H], or y [R, H] for the R chosen rows; and the cache.

        tokens: the Sequences of x; chosen: (rows [R], their Sequences) if only these rows are read later, else None.
        """
        rows, queries = chosen or (None, tokens)
        x_q, gather_cache = (x, None) if rows is None else self.ops.gather_rows_forward(x, rows)
        attended, attention_cache = self.attention.forward(x, x_q, tokens, queries, causal, dropouts)
        y, feed_forward_cache = self.feed_forward.forward(attended, queries, dropouts)
        return y, (gather_cache, attention_cache, feed_forward_cache)

    def backward(self, d_y: Array, cache: Cache) -> Array:
        """d_y [N or R, H] -> d_x [N, H]."""
        gather_cache, attention_cache, feed_forward_cache = cache
        d_attended = self.feed_forward.backward(d_y, feed_forward_cache)  # [N or R, H]
        d_x, d_x_q = self.attention.backward(d_attended, attention_cache)  # [N, H], [N or R, H]
        # x_q = x, or x[rows]
        if gather_cache is None:
            return d_x + d_x_q
        return self.ops.gather_rows_backward(d_x_q, gather_cache, accumulate_into=d_x)


class Encoder:
    """A stack of encoder layers.

    The last layer computes only the rows that are read later.  Keys and values need every token; queries, output
    projection and feed-forward network need only the tokens that a loss or the pooler reads.  The result is exact.
    """

    def __init__(self, parameters: Parameters, name: str, config: BertConfig):
        numbers = range(config.num_hidden_layers)
        self.layers = [EncoderLayer(parameters, f"{name}.layer.{number}", config, number) for number in numbers]

    def forward(
        self,
        x: Array,
        tokens: Sequences,
        chosen: tuple[Array, Sequences] | None = None,
        causal: bool = False,
        dropouts: Dropouts = NO_DROPOUT,
        keep_cache: bool = True,
    ) -> tuple[Array, Cache]:
        """x [N, H] -> y [N, H], or [R, H] for the chosen rows; and the cache.

        tokens: the Sequences of x; chosen: None or (rows [R], their Sequences);
        keep_cache: False if no backward pass follows; each layer's memory is then free for the next layer.
        """
        caches = []
        for number, layer in enumerate(self.layers):
            last = number == len(self.layers) - 1
            x, cache = layer.forward(x, tokens, chosen if last else None, causal, dropouts)
            if keep_cache:
                caches.append(cache)
            del cache
        return x, caches

    def extend(self, x: Array, tokens: Sequences, queries: Sequences, caches: Sequence[KeyValueCache]) -> Array:
        """x [n, H], the tokens after those in the caches (one cache per layer) -> y [n, H], with causal attention."""
        for layer, cache in zip(self.layers, caches, strict=True):
            attended = layer.attention.extend(x, tokens, queries, cache)
            x, _ = layer.feed_forward.forward(attended, queries)
        return x

    def backward(self, d_y: Array, caches: Sequence[Cache]) -> Array:
        """d_y [N or R, H] -> d_x [N, H]."""
        for layer, cache in zip(reversed(self.layers), reversed(caches), strict=True):
            d_y = layer.backward(d_y, cache)
        return d_y
