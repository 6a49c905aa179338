"""BERT as a source of features: the encoder is frozen, and a small model is trained on its vectors.

The vectors are the outputs of one layer, the concatenated outputs of the last four layers, or a sum of all layers'
outputs with learnt weights.  The trained part is one output layer, or a two-layer BiLSTM followed by an output layer.
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
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.models.inputs import Prepared, upload
from minibert.nn import Linear, Parameters
from minibert.nn.lstm import BiLstm
from minibert.nn.parameters import ones, zeros
from minibert.ops.backend import Backend

LAST_FOUR, WEIGHTED = "last-four", "weighted"
LINEAR, BILSTM = "linear", "bilstm"
LSTM_LAYERS = 2
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


class FeatureInputs(NamedTuple):
    """The inputs of FeatureModel.forward, as arrays of the backend."""

    vectors: Any
    """[S, R, H]: the outputs of S layers, for each token or for each word's first piece"""
    cu_seqlens: Any
    """[B + 1]: where each sequence's vectors begin and end; for words on the host (NumPy), since an LSTM reads the
    lengths there"""


class FeatureModel:
    """A small model that reads the vectors of a frozen BERT, with the interface of a TaskModel.

    It classifies words (from the vector of the first piece) or sentences (from the mean over all tokens).  Its
    parameters are those of the small model alone.
    """

    labels_each, predicts_numbers = 1, False  # the same attribute as in a TaskModel

    def __init__(
        self,
        encoder: Bert,
        labels: Sequence[str],
        *,
        tokens: bool,
        layers: str = LAST_FOUR,
        head: str = BILSTM,
        seed: int | None = 0,
    ) -> None:
        """Build the small model.

        labels: the classes; tokens: True for words, False for sentences; layers: the layers to read, as in
        `layer_numbers`; head: LINEAR or BILSTM.  Raises ValueError for an invalid argument.
        """
        if head not in (LINEAR, BILSTM):
            raise ValueError(f"--head is {head}; expected {LINEAR} or {BILSTM}")
        if head == BILSTM and not tokens:
            raise ValueError("--head bilstm supports only words; use --head linear for sentences")
        self.encoder, self.backend, self.config = encoder, encoder.backend, encoder.config
        self.labels, self.tokens, self.choice, self.head_kind = tuple(labels), tokens, layers, head
        self.numbers = layer_numbers(layers, self.config.num_hidden_layers)
        width = self.config.hidden_size
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
        self.output = Linear(self.parameters, "classifier", size, len(self.labels), self.config.initializer_range)
        self.parameters.allocate()
        if seed is not None:
            self.parameters.initialise(seed)

    def check_labels(self, batch: TaskBatch) -> np.ndarray | None:
        return batch.labels

    def prepare(self, batch: TaskBatch, labels: np.ndarray | None = None) -> Prepared:
        """Compute the vectors [S, R, H] of S layers, from which the small model learns; labels: int32 or None."""
        states = self.encoder.hidden_states(batch.tokens)
        chosen = [states[number] for number in self.numbers]  # S arrays [N, H]
        integers = {} if labels is None else {"labels": labels}
        integers |= {"rows": batch.rows} if self.tokens else {"cu_seqlens": batch.tokens.cu_seqlens}
        arrays, release = upload(self.backend, integers)
        if self.tokens:
            cu_seqlens: Any = np.searchsorted(batch.rows, batch.tokens.cu_seqlens).astype(np.int32)
            chosen = [self.backend.gather_rows_forward(state, arrays["rows"])[0] for state in chosen]  # [R, H] each
        else:
            cu_seqlens = arrays["cu_seqlens"]
        vectors = self.backend.xp.stack(chosen)  # [S, R, H]
        return Prepared(FeatureInputs(vectors, cu_seqlens), {"labels": arrays.get("labels")}, release)

    def forward(
        self, inputs: "FeatureInputs", dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Cache]:
        """Logits, [R, classes] for words or [B, classes] for sentences, and the cache; inputs: from `prepare`."""
        x, mix_cache = self.mix_forward(inputs.vectors)  # [R, I]
        pool_cache = lstm_cache = None
        if not self.tokens:
            x, pool_cache = self.backend.mean_pool_forward(x, inputs.cu_seqlens)  # [B, I]
        if self.lstm is not None:
            x, lstm_cache = self.lstm.forward(x, inputs.cu_seqlens)  # [R, 2 K]
        logits, output_cache = self.output.forward(x)
        return logits, (mix_cache, pool_cache, lstm_cache, output_cache)

    def backward(self, d_logits: Array, cache: Cache) -> None:
        """Add to the gradients of the small model's parameters; d_logits has the shape of the logits."""
        mix_cache, pool_cache, lstm_cache, output_cache = cache
        d_x = self.output.backward(d_logits, output_cache)
        if lstm_cache is not None:
            d_x = self.lstm.backward(d_x, lstm_cache)
        if pool_cache is not None:
            d_x = self.backend.mean_pool_backward(d_x, pool_cache)
        self.mix_backward(d_x, mix_cache)

    def scores_for_loss(self, logits: Array, inputs: "FeatureInputs") -> tuple[Array, Cache]:
        return logits, None

    def scores_for_loss_backward(self, d_scores: Array, cache: Cache) -> Array:
        return d_scores

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
        values = {"labels": self.labels, "tokens": self.tokens, "layers": self.choice, "head": self.head_kind}
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
            model = cls(Bert.from_pretrained(folder, backend, dtype=dtype, report=report), labels, seed=None, **values)
        except FormatError:
            raise
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{folder / FILE} is damaged ({error}); train the model again") from None
        model.parameters.assign(read_tensors([folder / WEIGHTS]))
        return model
