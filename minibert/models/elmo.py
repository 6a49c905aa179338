"""ELMo: a language model of two LSTM stacks, one that reads from left to right and one that reads from right to left.

Source: Peters et al. 2018, "Deep contextualized word representations", sections 3.1 and 3.4.  The BERT paper calls such
a model "shallowly bidirectional" (section 2.1): each token is predicted from its left context and from its right
context, but never from both together; the two directions only meet where a task concatenates them.

What is simpler here than in the original: word pieces with an embedding table instead of words with a character
network, LSTMs as wide as the embeddings instead of wide ones with projections, and a full softmax, tied to the
embeddings, instead of a sampled one.  As in the original, both directions share embeddings and softmax, each layer
after the first has a residual connection, and a task reads a learnt weighted sum of all layers (features.py).
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey
from minibert.base.files import write_text
from minibert.data.batch import Batch
from minibert.models.bert import Model, check_ids
from minibert.models.inputs import BodyInputs, Prepared, body_arrays, body_inputs, upload
from minibert.nn import NO_DROPOUT, Dropouts, Parameters
from minibert.nn.config import PRESETS, read_config
from minibert.nn.lstm import Lstm
from minibert.nn.parameters import truncated_normal, zeros
from minibert.ops.dropout import EMBEDDINGS, FEED_FORWARD_OUTPUT

DIRECTIONS = "forward", "backward"


@dataclass(frozen=True)
class ElmoConfig:
    """The shape of an ELMo.  Raises ValueError if a number is out of range."""

    model_type: ClassVar[str] = "elmo"
    is_decoder: ClassVar[bool] = False
    labels: ClassVar[tuple[str, ...]] = ()

    vocab_size: int
    """V, size of the vocabulary"""
    hidden_size: int = 128
    """H, width of the embeddings and of each LSTM"""
    num_hidden_layers: int = 2
    """L, number of LSTM layers in each direction"""
    hidden_dropout_prob: float = 0.1
    """dropout rate after the embeddings and each layer, during training"""
    max_position_embeddings: int = 512
    """maximum sequence length, in tokens; an LSTM has no limit of its own"""
    initializer_range: float = 0.02
    """standard deviation of the initial embeddings"""
    pad_token_id: int = 0
    """id of [PAD]"""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and not (type(value) is int and value >= (0 if field.name == "pad_token_id" else 1)):
                raise ValueError(f"{field.name} is {value!r}; expected an integer of at least 1")
        if not 0 <= self.hidden_dropout_prob < 1 or not 0 <= self.initializer_range < np.inf:
            raise ValueError("hidden_dropout_prob must be at least 0 and below 1, and initializer_range at least 0")

    @property
    def summary(self) -> str:
        """The shape in words."""
        return f"{self.num_hidden_layers} LSTM layers in each direction, {self.hidden_size} wide"

    @classmethod
    def preset(cls, size: str, vocab_size: int, **changes: Any) -> "ElmoConfig":
        """The configuration with about as many parameters as the BERT of the same size in nn.config.PRESETS.

        A layer of BERT has 12 H² parameters, an LSTM layer in both directions has 16 H².
        """
        layers, width, _ = PRESETS[size]
        return cls(vocab_size, width, max(2, round(12 / 16 * layers)), **changes)

    @classmethod
    def load(cls, folder: Path | str) -> "ElmoConfig":
        """Read FOLDER/config.json.  Raises FileNotFoundError without such a file, ValueError if it is no ELMo's."""
        path, values = Path(folder) / "config.json", read_config(folder, cls.model_type)
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from None

    def save(self, folder: Path | str, architecture: str = "Elmo", model_type: str = "elmo") -> None:
        """Write FOLDER/config.json; architecture: the name of the model's class; model_type: "elmo"."""
        values = {"architectures": [architecture], "model_type": model_type, **asdict(self)}
        write_text(Path(folder) / "config.json", json.dumps(values, indent=2) + "\n")


class ElmoInputs(NamedTuple):
    """The inputs of Elmo.forward, as arrays of the backend."""

    body: BodyInputs
    """the tokens"""
    cu_seqlens: np.ndarray
    """[B + 1] on the host, where the LSTMs read the lengths"""
    before: Any
    """int32 [M], the indices of the tokens before the predicted ones"""
    after: Any
    """int32 [M], the indices of the tokens after the predicted ones"""


class Elmo(Model):
    """The two language models: logits for chosen tokens, from the text before them and from the text after them."""

    config_class = ElmoConfig
    model_type = "elmo"
    config: ElmoConfig  # type: ignore[assignment]  # the other models have a BertConfig

    def build(self, parameters: Parameters) -> None:
        config = self.config
        width, std = config.hidden_size, config.initializer_range
        self.embedding = parameters.add("embeddings.weight", (config.vocab_size, width), truncated_normal(std))
        self.stacks = [
            [
                Lstm(parameters, f"{direction}.layer.{number}", width, width, direction == "backward")
                for number in range(config.num_hidden_layers)
            ]
            for direction in DIRECTIONS
        ]
        # the op adds three tables (BERT's); an LSTM knows the order of its tokens, and needs only one
        self.no_table = self.backend.xp.zeros((1, width), dtype=parameters.dtype)
        self.bias = parameters.add("decoder.bias", (config.vocab_size,), zeros, decayed=False)

    @property
    def width(self) -> int:
        """The width of the hidden states: both directions together."""
        return 2 * self.config.hidden_size

    def prepare(
        self, tokens: Batch, predicted: np.ndarray | None = None, *, targets: dict[str, np.ndarray] | None = None
    ) -> Prepared:
        """Copy a batch to the device.

        predicted: [M] ascending indices of the tokens to predict, none of which is the first or last of its sequence;
        targets: name -> int32 array, uploaded with the rest.  Raises ValueError if an id is outside its table.
        """
        check_ids("token id", tokens.token_ids, self.config.vocab_size)
        rows = np.empty(0, np.int32) if predicted is None else np.asarray(predicted, np.int32)
        arrays = dict(targets or {}) | {"before": rows - 1, "after": rows + 1} | body_arrays(tokens)
        arrays, release = upload(self.backend, arrays)
        inputs = ElmoInputs(body_inputs(arrays), tokens.cu_seqlens, arrays["before"], arrays["after"])
        return Prepared(inputs, {name: arrays[name] for name in targets or ()}, release)

    def forward(
        self, inputs: ElmoInputs, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Array, Cache]:
        """The logits [M, V] of the predicted tokens, given what comes before, and given what comes after; the cache.

        dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if no backward pass follows.
        """
        ops = self.backend
        x, embedding_cache = self.embed(inputs.body, dropout_key)  # [N, H]
        logits, caches = [], []
        for number, rows in enumerate((inputs.before, inputs.after)):
            states, layer_caches = self.run(number, x, inputs, dropout_key)
            chosen, gather_cache = ops.gather_rows_forward(states[-1], rows)  # [M, H]
            scores, decoder_cache = ops.linear_forward(chosen, self.embedding.value, self.bias.value)  # [M, V]
            logits.append(scores)
            caches.append((layer_caches, gather_cache, decoder_cache) if keep_cache else None)
        return *logits, (embedding_cache, caches) if keep_cache else None

    def backward(self, d_forward: Array, d_backward: Array, cache: Cache) -> None:
        """Add to the gradients of all parameters; d_forward, d_backward: the gradients of both logits, [M, V]."""
        ops, (embedding_cache, caches) = self.backend, cache
        d_x = None  # [N, H], the sum over both directions
        for number, (d_logits, of_direction) in enumerate(zip((d_forward, d_backward), caches, strict=True)):
            layer_caches, gather_cache, decoder_cache = of_direction
            into = None, self.embedding.gradient, self.bias.gradient
            d_chosen, _, _ = ops.linear_backward(d_logits, decoder_cache, accumulate_into=into)
            d_state = self.run_backward(number, ops.gather_rows_backward(d_chosen, gather_cache), layer_caches)
            d_x = d_state if d_x is None else d_x + d_state
        self.embed_backward(d_x, embedding_cache)

    def embed(self, body: BodyInputs, dropout_key: DropoutKey | None) -> tuple[Array, Cache]:
        """The embeddings [N, H] of all tokens, and the cache."""
        tables = self.embedding.value, self.no_table, self.no_table
        nowhere = self.backend.xp.zeros_like(body.token_ids)
        x, lookup_cache = self.backend.embedding_forward(body.token_ids, nowhere, nowhere, *tables)
        dropout = self.dropouts(dropout_key).at(self.config.num_hidden_layers, EMBEDDINGS, body.tokens)
        if dropout is not None:
            x, dropout = self.backend.dropout_forward(x, dropout)
        return x, (lookup_cache, dropout)

    def embed_backward(self, d_x: Any, cache: Cache) -> None:
        lookup_cache, dropout = cache
        if dropout is not None:
            d_x = self.backend.dropout_backward(d_x, dropout)
        self.backend.embedding_backward(d_x, lookup_cache, accumulate_into=(self.embedding.gradient, None, None))

    def run(
        self, direction: int, x: Array, inputs: ElmoInputs, dropout_key: DropoutKey | None = None
    ) -> tuple[list[Array], list[Cache]]:
        """Run one stack, 0 (forward) or 1 (backward), on x [N, H]: the outputs of its layers [N, H], and the caches."""
        states: list[Array] = []
        caches: list[Cache] = []
        for number, layer in enumerate(self.stacks[direction]):
            y, lstm_cache = layer.forward(x, inputs.cu_seqlens)
            dropout = self.dropouts(dropout_key).at(2 * number + direction, FEED_FORWARD_OUTPUT, inputs.body.tokens)
            if dropout is not None:
                y, dropout = self.backend.dropout_forward(y, dropout)
            x = y if number == 0 else x + y
            states.append(x)
            caches.append((lstm_cache, dropout))
        return states, caches

    def run_backward(self, direction: int, d_x: Array, caches: list[Cache]) -> Array:
        """The backward pass of `run`, given the gradient of its last layer's output: the gradient of x, [N, H]."""
        layers = list(enumerate(zip(self.stacks[direction], caches, strict=True)))
        for number, (layer, (lstm_cache, dropout)) in reversed(layers):
            d_y = d_x if dropout is None else self.backend.dropout_backward(d_x, dropout)
            d_input = layer.backward(d_y, lstm_cache)
            d_x = d_input if number == 0 else d_x + d_input  # x reaches x + y by both paths
        return d_x

    def dropouts(self, key: DropoutKey | None) -> Dropouts:
        return NO_DROPOUT if key is None else Dropouts(self.config.hidden_dropout_prob, 0.0, key)

    def hidden_states(self, batch: Batch) -> list:
        """The embeddings and each layer's outputs, both directions side by side, without dropout: L + 1 [N, 2 H]."""
        inputs = self.prepare(batch).inputs
        x, _ = self.embed(inputs.body, None)
        both = [self.run(direction, x, inputs)[0] for direction in range(2)]
        return [self.backend.xp.concatenate(pair, axis=1) for pair in ((x, x), *zip(*both, strict=True))]

    def next_logits(self, token_ids: np.ndarray) -> Array:
        """The logits [V] of the token that follows token_ids, int32 [n] on the host, according to the forward stack."""
        inputs = self.prepare(Batch.of_sequences([token_ids])).inputs
        states, _ = self.run(0, self.embed(inputs.body, None)[0], inputs)
        return self.backend.linear_forward(states[-1][-1:], self.embedding.value, self.bias.value)[0][0]
