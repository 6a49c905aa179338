"""The configuration of a BERT model: the values in `config.json`, under Hugging Face's names."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from minibert.base.files import write_text
from minibert.base.folders import check_finished
from minibert.base.json_text import read_json
from minibert.base.numbers import is_number
from minibert.ops.dropout import MOST_HEADS, MOST_LAYERS

ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}  # name in files -> our op

HEADS = LINEAR, BILSTM = "linear", "bilstm"
POOLERS = TANH, RELU = "tanh", "relu"
MOST_LABELS = 100_000  # of a classifier whose config.json gives their number only
CLASSIFIERS = "ForSequenceClassification", "ForTokenClassification"  # ends of the names of classes that have labels

# DistilBERT's name for a field -> ours
OF_DISTILBERT = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}

DISTILBERT_LAYERS = 6  # of a config.json that does not say
NOT_IN_DISTILBERT = "type_vocab_size", "layer_norm_eps"  # it has no segments, and 1e-12 in all layer norms

# size -> (layers, hidden size, heads), from Turc et al. 2019 (tiny to medium) and from the paper's section 3
PRESETS = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}


@dataclass(frozen=True)
class BertConfig:
    """The shape of a model.  Raises ValueError if the numbers are inconsistent."""

    vocab_size: int = 30522
    """V, size of the vocabulary"""
    hidden_size: int = 768
    """H, width of every layer's output"""
    num_hidden_layers: int = 12
    """L, number of encoder layers"""
    num_attention_heads: int = 12
    """A, number of attention heads; must divide H"""
    intermediate_size: int = 3072
    """F, inner width of the feed-forward networks; 4 H in the paper"""
    hidden_act: str = "gelu"
    """activation: "gelu" (exact), or "gelu_new" / "gelu_pytorch_tanh" (the tanh form)"""
    hidden_dropout_prob: float = 0.1
    """dropout rate after the embeddings and every sub-layer, during training"""
    attention_probs_dropout_prob: float = 0.1
    """dropout rate on the attention probabilities, during training"""
    max_position_embeddings: int = 512
    """maximum sequence length, in tokens"""
    type_vocab_size: int = 2
    """number of segment ids"""
    initializer_range: float = 0.02
    """standard deviation of the initial weights"""
    layer_norm_eps: float = 1e-12
    """epsilon added to the variance in layer norms"""
    pad_token_id: int = 0
    """id of [PAD]; unused by minibert, which does not pad, but needed by other libraries"""
    is_decoder: bool = False
    """causal attention: no token sees later ones, as in GPT"""
    labels: tuple[str, ...] = ()
    """names of the task's classes, in order of class index; a single name means regression"""
    head: str = "linear"
    """what a task model adds: an output layer ("linear"), or a two-layer BiLSTM followed by one ("bilstm")"""
    pooler_act: str = TANH
    """activation of the pooler: "tanh", or "relu" in DistilBERT's classifiers"""
    output_init: float | None = None
    """standard deviation of the initial weights of a task model's output layer; None: 1 / sqrt(its inputs)"""

    @property
    def summary(self) -> str:
        """The shape in words."""
        return f"{self.num_hidden_layers} layers, {self.hidden_size} wide, {self.num_attention_heads} heads"

    @property
    def activation(self) -> str:
        """The name of the op that computes `hidden_act`: "gelu" or "gelu_tanh"."""
        return ACTIVATIONS[self.hidden_act]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "pad_token_id" else 1
            if field.type is int and not (type(value) is int and value >= least):
                raise ValueError(f"{field.name} is {value!r}; expected an integer of at least {least}")
            if field.type is float and not (is_number(value) and value >= 0):
                raise ValueError(f"{field.name} is {value!r}; expected a number of at least 0")
        if self.num_attention_heads > MOST_HEADS or self.num_hidden_layers >= MOST_LAYERS:
            raise ValueError(
                f"dropout supports at most {MOST_HEADS} heads and {MOST_LAYERS - 1} layers; use a smaller model"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if not isinstance(self.hidden_act, str) or self.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {self.hidden_act!r}; expected one of {', '.join(ACTIVATIONS)}")
        if not isinstance(self.head, str) or self.head not in HEADS:
            raise ValueError(f"head is {self.head!r}; expected one of {', '.join(HEADS)}")
        if not isinstance(self.pooler_act, str) or self.pooler_act not in POOLERS:
            raise ValueError(f"pooler_act is {self.pooler_act!r}; expected one of {', '.join(POOLERS)}")
        std = self.output_init
        if std is not None and not (is_number(std) and std >= 0):
            raise ValueError(f"output_init is {std!r}; expected None or a number of at least 0")
        for rate in (self.hidden_dropout_prob, self.attention_probs_dropout_prob):
            if not rate < 1:
                raise ValueError(f"a dropout rate is {rate}; expected 0 <= rate < 1")

    @classmethod
    def preset(cls, size: str, vocab_size: int, **changes: Any) -> "BertConfig":
        """The configuration of a size in PRESETS, such as BertConfig.preset("tiny", 8192).

        Raises ValueError for an unknown size.
        """
        if size not in PRESETS:
            raise ValueError(f"unknown size {size!r}; choose one of {', '.join(PRESETS)}")
        layers, width, heads = PRESETS[size]
        return cls(
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            **{"intermediate_size": 4 * width, **changes},
        )

    @classmethod
    def load(cls, folder: Path | str) -> "BertConfig":
        """Read FOLDER/config.json, written by minibert or by `transformers`; unknown fields are ignored.

        Raises FileNotFoundError if there is no such file, ValueError if it does not describe a BERT.
        """
        path, values = Path(folder) / "config.json", read_config(folder, "bert", "distilbert")
        if values.get("model_type") == "distilbert":
            named = {OF_DISTILBERT.get(name, name): value for name, value in values.items()}
            values = {"num_hidden_layers": DISTILBERT_LAYERS, **named}
        if values.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(f"{path}: position_embedding_type must be 'absolute', as in the paper")
        if values.get("add_cross_attention"):
            raise ValueError(f"{path}: add_cross_attention is set, but minibert does not support cross-attention")
        known = {field.name for field in fields(cls)} - {"labels"}
        try:
            if empty := [
                field.name
                for field in fields(cls)
                if field.type in (int, float)
                and field.name in values
                and values[field.name] is None
                and field.name != "pad_token_id"
            ]:
                raise ValueError(f"{empty[0]} is null; expected a number")
            taken = {name: value for name, value in values.items() if name in known and value is not None}
            return cls(**taken, labels=read_labels(values))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def save(self, folder: Path | str, architecture: str = "BertForPreTraining", model_type: str = "bert") -> None:
        """Write FOLDER/config.json as `transformers` reads it.

        architecture: the name of the `transformers` class; model_type: "bert", or "distilbert" for DistilBERT's names.
        """
        values = {"architectures": [architecture], "model_type": model_type, **asdict(self)}
        labels = values.pop("labels")
        for name, usual in (("is_decoder", False), ("head", LINEAR), ("pooler_act", TANH), ("output_init", None)):
            if values[name] == usual:
                del values[name]
        if model_type == "distilbert":
            names = {ours: theirs for theirs, ours in OF_DISTILBERT.items()}
            values = {names.get(name, name): value for name, value in values.items() if name not in NOT_IN_DISTILBERT}
            values |= {"sinusoidal_pos_embds": False, "tie_weights_": True}
        if labels:
            values["id2label"] = {str(number): label for number, label in enumerate(labels)}
            values["label2id"] = {label: number for number, label in enumerate(labels)}
        if architecture == "BertForSequenceClassification":
            values["problem_type"] = "regression" if len(labels) == 1 else "single_label_classification"
        write_text(Path(folder) / "config.json", json.dumps(values, indent=2) + "\n")

    def parameter_count(self) -> int:
        """The number of parameters in the embeddings, the encoder and the pooler; 110 M for base (paper, section 3)."""
        width, inner = self.hidden_size, self.intermediate_size
        embeddings = (self.vocab_size + self.max_position_embeddings + self.type_vocab_size + 2) * width
        layer = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
        return embeddings + self.num_hidden_layers * layer + width * width + width


OTHERS = {  # a file of folders that are of another form -> how to go on
    "bert_config.json": "this is a checkpoint of google-research/bert (TensorFlow); take the same model from the hub, "
    "such as google-bert/bert-base-uncased",
    "adapter_config.json": "this is an adapter of PEFT; merge it into its model, with merge_and_unload, and save that",
}


def read_config(folder: Path | str, *kinds: str) -> dict:
    """The contents of FOLDER/config.json.

    kinds: the types of model that it may describe.  Raises FileNotFoundError if there is no such file, ValueError if
    it describes another type of model or if the model's fine-tuning has not ended.
    """
    path = Path(folder) / "config.json"
    check_finished(folder)
    if not path.is_file():
        inner = next((found.parent for found in sorted(Path(folder).glob("0_*/config.json"))), None)
        advice = f"give {inner}, the Transformer in it" if inner else "expected the folder of a BERT model"
        advice = next((words for name, words in OTHERS.items() if (Path(folder) / name).is_file()), advice)
        raise FileNotFoundError(f"{path} does not exist; {advice}")
    values = read_json(path)
    kind = values.get("model_type", "bert") if isinstance(values, dict) else type(values).__name__
    if kind not in kinds:
        raise ValueError(f"{path} describes a model of type {kind!r}; expected {' or '.join(map(repr, kinds))}")
    return values


def model_type_of(folder: Path | str) -> str:
    """The type of model in a folder, "bert", "distilbert" or "elmo"; raises the errors of `read_config`."""
    return read_config(folder, "bert", "distilbert", "elmo").get("model_type", "bert")


def architecture_of(values: dict) -> str:
    """The name of the `transformers` class in the contents of a config.json, or "" if it names none."""
    named = values.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else ""


def read_labels(values: dict) -> tuple[str, ...]:
    """The names of the classes in a config.json, in the order of their numbers.

    If the file names none, they are () or, for a classifier, LABEL_0, LABEL_1, … as in `transformers`, which does not
    write these names if there are two.
    """
    names = values.get("id2label")
    if names is not None and not isinstance(names, dict):
        raise ValueError(f"id2label is {names!r}; expected an object that maps class numbers to names")
    names = names or {}
    if not names and architecture_of(values).endswith(CLASSIFIERS):
        count = values.get("num_labels", 2)
        if type(count) is not int or not 1 <= count <= MOST_LABELS:
            raise ValueError(f"num_labels is {count!r}; expected an integer from 1 to {MOST_LABELS}")
        names = {number: f"LABEL_{number}" for number in range(count)}
    try:
        numbered = sorted((int(number), name) for number, name in names.items())
    except (TypeError, ValueError):
        raise ValueError(f"id2label is {names!r}; expected an object that maps class numbers to names") from None
    if wrong := [name for _, name in numbered if not isinstance(name, str)]:
        raise ValueError(f"id2label has the name {wrong[0]!r}; expected a string")
    if [number for number, _ in numbered] != list(range(len(numbered))):
        raise ValueError(f"id2label has the class numbers {', '.join(map(str, names))}; expected 0, 1, 2, …")
    return tuple(name for _, name in numbered)
