"""BERT: embeddings, encoder and pooler (paper, section 3)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey, DTypeLike
from minibert.data.batch import Batch
from minibert.models.inputs import BodyInputs, body_arrays, body_inputs, upload
from minibert.nn import NO_DROPOUT, BertConfig, Dropouts, Embeddings, Encoder, Linear, Parameters
from minibert.nn.config import RELU
from minibert.nn.parameters import Initializer, sinusoids, truncated_normal
from minibert.ops import DEFAULT, Backend, load_backend
from minibert.ops.dropout import EMBEDDINGS


class Model:
    """The base class of all models: a configuration, a backend, parameters in one flat buffer, and files.

    A subclass builds its layers in `build(parameters)`, with the parameter names of the `transformers` class that
    `huggingface_class` names; `left_to_right` is True if no token may attend to a later one, False if each token may
    attend to all, and None if the configuration decides; `config_class` is the class of its configuration;
    `model_type` is the kind of its folders in `config.json`, "bert", "distilbert" (with names of its own, which
    minibert.models.naming maps) or "elmo".

    initialised_afresh      the names of the parameters that were missing from the folder the model was loaded from
    """

    config_class: Any = BertConfig
    huggingface_class = ""
    model_type = "bert"
    left_to_right: bool | None = False
    distilled_pooler = False  # whether a DistilBERT's pre_classifier is the model's pooler
    initialised_afresh: tuple[str, ...] = ()

    def __init__(
        self,
        config: Any,
        backend: Backend | str = DEFAULT,
        *,
        dtype: DTypeLike = "float32",
        seed: int | None = 0,
        position_init: str = "normal",
    ) -> None:
        """Build the model and initialise it from the seed (None: leave all zeros, since weights are loaded next).

        config: an instance of `config_class`; backend: a Backend or its name; dtype: "float32" or "float64", on a GPU
        also "float16" or "bfloat16" (the parameters then have masters in float32: see minibert.nn.parameters);
        position_init: "normal", as in the paper, or "sinusoids" (neighbouring positions start out similar: small
        models learn word order far sooner).
        Raises ValueError for any other dtype or position_init.
        """
        if self.left_to_right not in (None, config.is_decoder):
            raise ValueError(wrong_direction(type(self).__name__, config.is_decoder))
        self.config = config
        self.backend = load_backend(backend) if isinstance(backend, str) else backend
        self.parameters = Parameters(self.backend, dtype)
        starts = {"normal": truncated_normal, "sinusoids": sinusoids}
        if position_init not in starts:
            raise ValueError(f"position_init is {position_init!r}; expected one of {', '.join(starts)}")
        self.position_init = starts[position_init](config.initializer_range)
        self.build(self.parameters)
        self.parameters.allocate()
        if seed is not None:
            self.parameters.initialise(seed)

    def build(self, parameters: Parameters) -> None:
        raise NotImplementedError

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        backend: Backend | str = DEFAULT,
        *,
        dtype: DTypeLike = "float32",
        report: Callable[[str], None] | None = None,
        seed: int = 0,
        revision: str | None = None,
        **changes: Any,
    ) -> Any:
        """Load a model from a folder, or a published model; see minibert.models.huggingface.load."""
        from minibert.models.huggingface import load

        return load(cls, folder, backend, dtype=dtype, report=report, seed=seed, revision=revision, **changes)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write config.json and model.safetensors, which `transformers` can load as well."""
        from minibert.models.huggingface import save

        save(self, folder)


class BertBody:
    """Embeddings, encoder and pooler: the part that all BERT models share, whatever their head."""

    def __init__(
        self,
        parameters: Parameters,
        config: BertConfig,
        prefix: str,
        position_init: Initializer | None,
        *,
        pooler: bool = True,
        segments: bool = True,
    ) -> None:
        """Register the parameters.

        prefix: the start of their names, "bert." in a model with a head; pooler, segments: False to omit the pooler or
        the segment embeddings.
        """
        self.config, self.backend = config, parameters.backend
        self.embeddings = Embeddings(parameters, f"{prefix}embeddings", config, position_init, segments=segments)
        self.encoder = Encoder(parameters, f"{prefix}encoder", config)
        if pooler:
            width, std = config.hidden_size, config.initializer_range
            self.pooler = Linear(parameters, f"{prefix}pooler.dense", width, width, std)

    def prepare(self, batch: Batch, rows: np.ndarray | None = None) -> BodyInputs:
        """Copy a batch to the device.

        rows: None for all tokens, or ascending indices [R] into the flat batch (NumPy, on the host): the tokens whose
        output is read; the last layer then computes only those tokens.
        Raises ValueError when a sequence is longer than the model's positions, or an id is outside its table.
        """
        self.check(batch)
        arrays, _ = upload(self.backend, body_arrays(batch, rows))
        return body_inputs(arrays)

    def forward(
        self, inputs: BodyInputs, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Cache]:
        """Encode a batch.

        inputs: the result of `prepare`; dropout_key: None in evaluation, (seed, step) in training; keep_cache: False
        if no backward pass follows.
        Returns hidden [N, H], or [R, H] for the chosen rows, and the cache (None if the cache is not kept).
        """
        config, dropouts = self.config, NO_DROPOUT
        if dropout_key is not None:
            dropouts = Dropouts(config.hidden_dropout_prob, config.attention_probs_dropout_prob, dropout_key)
        # the embeddings count as one more layer, after the last, so that they have a dropout site of their own
        on_embeddings = dropouts.at(config.num_hidden_layers, EMBEDDINGS, inputs.tokens)
        x, embeddings_cache = self.embeddings.forward(
            inputs.token_ids, inputs.position_ids, inputs.segment_ids, on_embeddings
        )  # [N, H]
        if not keep_cache:
            embeddings_cache = None
        chosen = None if inputs.rows is None else (inputs.rows, inputs.chosen)
        hidden, encoder_cache = self.encoder.forward(
            x, inputs.tokens, chosen, config.is_decoder, dropouts, keep_cache
        )  # [N or R, H]
        return hidden, (embeddings_cache, encoder_cache) if keep_cache else None

    def hidden_states(self, batch: Batch) -> list:
        """The outputs of the embeddings and of each layer, without dropout: L + 1 arrays [N, H]."""
        inputs = self.prepare(batch)
        x, _ = self.embeddings.forward(inputs.token_ids, inputs.position_ids, inputs.segment_ids)
        states = [x]
        for layer in self.encoder.layers:
            x, _ = layer.forward(x, inputs.tokens, causal=self.config.is_decoder)
            states.append(x)
        return states

    def backward(self, d_hidden: Array, cache: Cache) -> None:
        """Add to the gradients of all parameters except the pooler's; d_hidden has the shape of `hidden`."""
        embeddings_cache, encoder_cache = cache
        d_x = self.encoder.backward(d_hidden, encoder_cache)
        self.embeddings.backward(d_x, embeddings_cache)

    def pool(self, first: Array) -> tuple[Array, Cache]:
        """first [B, H], the output at each sequence's first token, [CLS] -> pooled [B, H] and the cache."""
        dense, dense_cache = self.pooler.forward(first)
        if self.config.pooler_act == RELU:
            pooled = self.backend.xp.maximum(dense, 0)
            return pooled, (dense_cache, pooled)
        pooled, tanh_cache = self.backend.tanh_forward(dense)
        return pooled, (dense_cache, tanh_cache)

    def pool_backward(self, d_pooled: Array, cache: Cache) -> Array:
        """d_pooled [B, H] -> d_first [B, H]."""
        dense_cache, tanh_cache = cache
        if self.config.pooler_act == RELU:
            return self.pooler.backward(d_pooled * (tanh_cache > 0), dense_cache)
        return self.pooler.backward(self.backend.tanh_backward(d_pooled, tanh_cache), dense_cache)

    def check(self, batch: Batch) -> None:
        """Raise ValueError if an id is outside its embedding table; this is checked on the host, before computing."""
        config = self.config
        check_ids("token id", batch.token_ids, config.vocab_size)
        check_ids("position", batch.position_ids, config.max_position_embeddings)
        check_ids("segment id", batch.segment_ids, config.type_vocab_size)


def wrong_direction(name: str, is_decoder: bool) -> str:
    """The error message for a configuration whose direction is not the model's; name: the model's class name."""
    directions = {
        False: "reads in both directions (is_decoder False)",
        True: "reads from left to right (is_decoder True)",
    }
    return f"is_decoder is {is_decoder}, but {name} {directions[not is_decoder]}"


def check_ids(name: str, ids: np.ndarray, size: int) -> None:
    """Raise ValueError unless all ids are in 0 .. size - 1."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < size:
        worst = ids.max() if ids.max() >= size else ids.min()
        raise ValueError(f"{name} {worst} is outside the model's table of {size}")


class Bert(Model):
    """BERT, or GPT, without a head, as a source of token and sentence features; a GPT has no pooler."""

    huggingface_class = "BertModel"
    left_to_right = None

    def build(self, parameters: Parameters) -> None:
        self.body = BertBody(parameters, self.config, "", self.position_init, pooler=not self.config.is_decoder)

    def forward(
        self,
        batch: Batch,
        rows: np.ndarray | None = None,
        dropout_key: DropoutKey | None = None,
        keep_cache: bool = True,
    ) -> tuple[Array, Cache]:
        """hidden [N, H], or [R, H] for chosen rows, and the cache: see BertBody.prepare and BertBody.forward."""
        return self.body.forward(self.body.prepare(batch, rows), dropout_key, keep_cache)

    def backward(self, d_hidden: Array, cache: Cache) -> None:
        """Add to the gradients; d_hidden has the shape of `hidden`; see BertBody.backward."""
        self.body.backward(d_hidden, cache)

    def hidden_states(self, batch: Batch) -> list:
        """The outputs of the embeddings and of each layer, without dropout: L + 1 arrays [N, H]."""
        return self.body.hidden_states(batch)

    @property
    def width(self) -> int:
        """The width of the hidden states."""
        return self.config.hidden_size

    def pool(self, first: Array) -> tuple[Array, Cache]:
        """first [B, H], the output at each sequence's [CLS] -> pooled [B, H] and the cache."""
        return self.body.pool(first)

    def pool_backward(self, d_pooled: Array, cache: Cache) -> Array:
        """d_pooled [B, H] -> d_first [B, H]."""
        return self.body.pool_backward(d_pooled, cache)
