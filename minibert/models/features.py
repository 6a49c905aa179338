"""The feature-based approach: the encoder, a BERT, GPT or ELMo, is frozen; a small model is trained on its vectors.

The vectors are the outputs of one layer, the concatenated outputs of the last four layers, or a sum of all layers'
outputs with learnt weights.  The trained part is one output layer, or a two-layer BiLSTM followed by an output layer.
A sentence or pair is represented by the mean over all tokens, of the vectors or of the BiLSTM's output.
Sources: BERT paper, section 5.3 and table 7; for the weighted sum, Peters et al. 2018 (ELMo), equation 1.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey, DTypeLike
from minibert.base.files import write_text
from minibert.base.formats import FormatError, with_format, without_format
from minibert.base.numbers import softmax
from minibert.data.task_batch import TaskBatch
from minibert.models.bert import Bert
from minibert.models.elmo import Elmo
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.models.inputs import Prepared, upload
from minibert.models.spans import check_spans, pack, pack_backward, packed_rows
from minibert.nn import Parameters, output_layer
from minibert.nn.config import BILSTM, HEADS, model_type_of
from minibert.nn.lstm import LSTM_LAYERS, BiLstm
from minibert.nn.parameters import ones, zeros
from minibert.ops.backend import Backend

LAST_FOUR, WEIGHTED = "last-four", "weighted"
FILE, WEIGHTS = "features.json", "head.safetensors"


def layer_numbers(layers: str, count: int) -> list[int]:
    """The indices, from 0 (the embeddings) to `count`, of the hidden states that `layers` selects.

    Raises ValueError if `layers` is invalid.
    """
    if layers == WEIGHTED:
        return list(range(count + 1))
    if layers == LAST_FOUR:
        if count < 4:
            raise ValueError(
                f"--layers last-four requires at least 4 layers, but the model has {count}; use -1 for the last one"
            )
        return list(range(count - 3, count + 1))
    try:
        number = int(layers)
    except ValueError:
        raise ValueError(f"--layers is {layers}; expected a number, {LAST_FOUR} or {WEIGHTED}") from None
    if not -count - 1 <= number <= count:
        raise ValueError(f"--layers is {layers}; expected 0 (the embeddings) to {count}, or -1 for the last layer")
    return [number % (count + 1)]


KINDS = SENTENCES, WORDS, SPANS = "sentences", "words", "spans"


class FeatureInputs(NamedTuple):
    """The inputs of FeatureModel.forward, as arrays of the backend."""

    vectors: Any
    """[S, R, H]: the outputs of S layers, for each token or for each word's first piece"""
    lengths: np.ndarray
    """[B + 1] on the host, where an LSTM reads the lengths: where each sequence's vectors begin and end"""
    cu_seqlens: Any
    """the same on the backend, for sentences; otherwise None"""
    packed_rows: Any
    """for spans, the rows of the softmaxes (see minibert.models.spans); otherwise None"""


class FeatureModel:
    """A small model that reads the vectors of a frozen encoder, with the interface of a TaskModel.

    It classifies words (from the vector of the first piece) or sentences, or finds spans (from the vectors of all
    tokens).  Its parameters are those of the small model alone.
    """

    predicts_numbers = False  # the same attribute as in a TaskModel

    def __init__(
        self,
        encoder: Bert | Elmo,
        labels: Sequence[str],
        *,
        kind: str,
        layers: str = LAST_FOUR,
        head: str = BILSTM,
        seed: int | None = 0,
        output_init: float | None = None,
    ) -> None:
        """Build the small model.

        labels: the classes, none for spans; kind: SENTENCES (or pairs), WORDS or SPANS; layers: the layers to read, as
        in `layer_numbers`; head: LINEAR or BILSTM; output_init: standard deviation of the output layer's initial
        weights, None for 1 / sqrt(its inputs).  Raises ValueError for an invalid argument.
        """
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        if head not in HEADS:
            raise ValueError(f"--head is {head}; expected {' or '.join(HEADS)}")
        self.encoder, self.backend, self.config = encoder, encoder.backend, encoder.config
        self.labels, self.kind, self.choice, self.head_kind = tuple(labels), kind, layers, head
        self.labels_each = 2 if kind == SPANS else 1  # the first and the last token of an answer
        self.numbers = layer_numbers(layers, self.config.num_hidden_layers)
        width = encoder.width
        self.parameters = Parameters(self.backend, encoder.parameters.dtype)
        self.mix: Any = None  # parameters that exist only for a weighted sum of layers
        self.gamma: Any = None
        if layers == WEIGHTED:
            self.mix = self.parameters.add("mix.weights", (len(self.numbers),), zeros, decayed=False)
            self.gamma = self.parameters.add("mix.gamma", (1,), ones, decayed=False)
            inputs = width
        else:
            inputs = width * len(self.numbers)
        self.lstm: Any = BiLstm(self.parameters, "lstm", inputs, width // 2, LSTM_LAYERS) if head == BILSTM else None
        size = 2 * (width // 2) if self.lstm else inputs
        outputs = 2 if kind == SPANS else len(self.labels)
        self.output = output_layer(self.parameters, "classifier", size, outputs, output_init)
        self.parameters.allocate()
        if seed is not None:
            self.parameters.initialise(seed)

    def check_labels(self, batch: TaskBatch) -> np.ndarray | None:
        return check_spans(batch) if self.kind == SPANS else batch.labels

    def prepare(self, batch: TaskBatch, labels: np.ndarray | None = None) -> Prepared:
        """Compute the vectors [S, R, H] of S layers, from which the small model learns; labels: int32 or None."""
        states, lengths = self.encoder.hidden_states(batch.tokens), batch.tokens.cu_seqlens
        chosen = [states[number] for number in self.numbers]  # S arrays [N, H]
        integers = {} if labels is None else {"labels": labels}
        if self.kind == WORDS:
            integers["rows"] = batch.rows
        elif self.kind == SPANS:
            integers["packed_rows"] = packed_rows(batch)
        else:
            integers["cu_seqlens"] = lengths
        arrays, release = upload(self.backend, integers)
        if self.kind == WORDS:
            lengths = np.searchsorted(batch.rows, lengths).astype(np.int32)
            chosen = [self.backend.gather_rows_forward(state, arrays["rows"])[0] for state in chosen]  # [R, H] each
        vectors = self.backend.xp.stack(chosen)  # [S, R, H]
        inputs = FeatureInputs(vectors, lengths, arrays.get("cu_seqlens"), arrays.get("packed_rows"))
        return Prepared(inputs, {"labels": arrays.get("labels")}, release)

    def forward(
        self, inputs: "FeatureInputs", dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Cache]:
        """Logits and the cache; inputs: from `prepare`.

        The logits have shape [R, classes] for words, [B, classes] for sentences, [N, 2] for spans.
        """
        x, mix_cache = self.mix_forward(inputs.vectors)  # [R, I]
        lstm_cache = pool_cache = None
        if self.lstm is not None:
            x, lstm_cache = self.lstm.forward(x, inputs.lengths)  # [R, 2 K]
        if self.kind == SENTENCES:
            x, pool_cache = self.backend.mean_pool_forward(x, inputs.cu_seqlens)  # [B, 2 K]
        logits, output_cache = self.output.forward(x)
        return logits, (mix_cache, lstm_cache, pool_cache, output_cache)

    def backward(self, d_logits: Array, cache: Cache) -> None:
        """Add to the gradients of the small model's parameters; d_logits has the shape of the logits."""
        mix_cache, lstm_cache, pool_cache, output_cache = cache
        d_x = self.output.backward(d_logits, output_cache)
        if pool_cache is not None:
            d_x = self.backend.mean_pool_backward(d_x, pool_cache)
        if lstm_cache is not None:
            d_x = self.lstm.backward(d_x, lstm_cache)
        self.mix_backward(d_x, mix_cache)

    def scores_for_loss(self, logits: Array, inputs: "FeatureInputs") -> tuple[Array, Cache]:
        if self.kind == SPANS:
            return pack(self.backend, logits, inputs.packed_rows, len(inputs.lengths) - 1)
        return logits, None

    def scores_for_loss_backward(self, d_scores: Array, cache: Cache) -> Array:
        return pack_backward(self.backend, d_scores, cache) if self.kind == SPANS else d_scores

    def mix_forward(self, vectors: Array) -> tuple[Array, Cache]:
        """vectors [S, R, H] -> gamma * the sum weighted by softmax(mix), [R, H]; or the concatenation, [R, S H].

        With 16-bit vectors, the sum is computed in float32, and rounded once.
        """
        layers, rows, width = vectors.shape
        if self.mix is None:
            return self.backend.xp.ascontiguousarray(vectors.transpose(1, 0, 2)).reshape(rows, layers * width), None
        wide = self.parameters.master_dtype
        flat = vectors.reshape(layers, rows * width).astype(wide, copy=False)
        shares = softmax(self.mix.value.astype(wide).reshape(1, layers), self.backend.xp)  # [1, S]
        mixed = (shares @ flat).reshape(rows, width)
        gamma = self.gamma.value.astype(wide)  # [1]
        return (mixed * gamma).astype(vectors.dtype, copy=False), (flat, shares, mixed, gamma)

    def mix_backward(self, d_x: Array, cache: Cache) -> None:
        """Add to the gradients of the mixing weights and of gamma; d_x has the shape of mix_forward's result."""
        if cache is None:
            return
        flat, shares, mixed, gamma = cache
        wide = d_x.astype(mixed.dtype, copy=False)
        # x = gamma * mixed
        self.gamma.gradient += (wide * mixed).sum()
        # mixed = shares @ vectors, shares = softmax(weights)
        d_shares = gamma * (wide.reshape(1, wide.size) @ flat.T)  # [1, S]
        self.mix.gradient += (shares * (d_shares - (shares * d_shares).sum())).reshape(shares.size)

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the encoder as a model folder, and add the small model to it as features.json and head.safetensors."""
        folder = Path(folder)
        self.encoder.save_pretrained(folder)
        tensors = self.parameters.tensors(self.parameters.masters)
        save_tensors(folder / WEIGHTS, {name: tensor.astype(np.float32) for name, tensor in tensors.items()})
        values = {"labels": self.labels, "kind": self.kind, "layers": self.choice, "head": self.head_kind}
        write_text(folder / FILE, json.dumps(with_format(values), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        backend: Backend | str = "cpu",
        *,
        dtype: DTypeLike = "float32",
        report: Callable[[str], None] | None = None,
    ) -> "FeatureModel":
        """Load a model from a folder written by save_pretrained; others raise FileNotFoundError or ValueError."""
        folder = Path(folder)
        try:
            values = without_format(json.loads((folder / FILE).read_text(encoding="utf-8")), folder / FILE)
            labels = values.pop("labels")
            if "tokens" in values:  # how earlier versions named the kind
                values["kind"] = WORDS if values.pop("tokens") else SENTENCES
            model = cls(load_encoder(folder, backend, dtype=dtype, report=report), labels, seed=None, **values)
        except FormatError:
            raise
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{folder / FILE} is damaged ({error}); train the model again") from None
        tensors = read_tensors([folder / WEIGHTS], "train the model again")
        shapes = {name: parameter.shape for name, parameter in model.parameters.all.items()}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != shapes:
            name = next(name for name in {**shapes, **found} if shapes.get(name) != found.get(name))
            raise ValueError(
                f"{folder / WEIGHTS}: {name} has the shape {found.get(name)}, but {FILE} requires {shapes.get(name)}; "
                "train the model again"
            )
        model.parameters.assign(tensors)
        return model


def load_encoder(folder: Path | str, backend: Backend | str = "cpu", **options: Any) -> Bert | Elmo:
    """The encoder in a model's folder: a Bert (which may be a GPT) or an Elmo; options as in from_pretrained."""
    encoder: Any = Elmo if model_type_of(folder) == Elmo.model_type else Bert
    return encoder.from_pretrained(folder, backend, **options)
