"""Layers: parameters, and hand-written `forward` and `backward` methods that are composed of ops."""

from minibert.nn.config import BertConfig
from minibert.nn.dropouts import NO_DROPOUT, Dropouts
from minibert.nn.layers import Embeddings, LayerNorm, Linear, output_layer
from minibert.nn.parameters import Parameter, Parameters
from minibert.nn.sequences import Sequences
from minibert.nn.transformer import Encoder, EncoderLayer, FeedForward, SelfAttention

__all__ = [
    "NO_DROPOUT",
    "BertConfig",
    "Dropouts",
    "Embeddings",
    "Encoder",
    "EncoderLayer",
    "FeedForward",
    "LayerNorm",
    "Linear",
    "Parameter",
    "Parameters",
    "SelfAttention",
    "Sequences",
    "output_layer",
]
