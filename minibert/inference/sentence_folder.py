"""The folders of sentence-transformers: a BERT, and what turns its output into one vector for each text.

    modules.json                            the steps: a Transformer, a Pooling, and any Dense and Normalize
    sentence_bert_config.json               the length to which texts are truncated, and whether they are lower-cased
    1_Pooling/config.json, 2_Dense/…        the settings of a step, and its weights
    config_sentence_transformers.json       prompts, which are put before texts, and the similarity to compare with

Source: the documentation of sentence-transformers 5, "Creating custom models" and the class Pooling; Reimers and
Gurevych 2019, section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.json_text import read_json
from minibert.base.names import is_inner_path
from minibert.models.huggingface import find_weights, read_tensors
from minibert.text import Tokenizer

MEAN, CLS, TOKENS = "mean", "cls", "tokens"
MAX, MEAN_SQRT, WEIGHTED, LAST = "max", "mean-sqrt-len", "weighted-mean", "last"
LEGACY = {  # in the order in which several vectors are concatenated
    "pooling_mode_cls_token": CLS,
    "pooling_mode_max_tokens": MAX,
    "pooling_mode_mean_tokens": MEAN,
    "pooling_mode_mean_sqrt_len_tokens": MEAN_SQRT,
    "pooling_mode_weightedmean_tokens": WEIGHTED,
    "pooling_mode_lasttoken": LAST,
}
MODES = {"cls": CLS, "max": MAX, "mean": MEAN, "mean_sqrt_len_tokens": MEAN_SQRT} | {
    "weightedmean": WEIGHTED,
    "lasttoken": LAST,
}
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "Identity": lambda x: x,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
COSINE, DOT = "cosine", "dot"
OLDER_NAMES = "sentence_roberta_config.json", "sentence_distilbert_config.json"
USUAL = {  # settings of the Transformer that must have these values -> what else is accepted
    "transformer_task": (None, "feature-extraction"),
    "module_output_name": (None, "token_embeddings"),
    "modality_config": (None, {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}),
    "backend": (None, "torch"),
}
READ = "max_seq_length", "do_lower_case", "unpad_inputs"


@dataclass(frozen=True)
class Recipe:
    """How a sentence-transformers folder turns the vectors of a text's tokens into one vector."""

    body: Path
    """the folder of the BERT"""
    pooling: tuple[str, ...] = (MEAN,)
    """the poolings, whose vectors are concatenated"""
    steps: tuple[Callable[[np.ndarray], np.ndarray], ...] = ()
    """the steps after pooling, each from [texts, width] to [texts, width]"""
    max_length: int | None = None
    lowercase: bool = False
    include_prompt: bool = True
    """whether the tokens of a prompt take part in pooling"""
    prompts: tuple[tuple[str, str], ...] = ()
    """pairs (name, text)"""
    default_prompt: str | None = None
    similarity: str = COSINE

    def prompt(self, name: str | None = None) -> str:
        """The text of a prompt, by default of the default prompt; "" if there is none."""
        return dict(self.prompts).get(name or self.default_prompt or "", "")

    def tokenizer(self) -> Tokenizer:
        """The folder's tokenizer, with a step that lower-cases text if `do_lower_case` asks for one."""
        tokenizer = Tokenizer.load(self.body)
        if not self.lowercase or tokenizer.lowercase:
            return tokenizer
        normaliser = tokenizer.normaliser
        return Tokenizer(
            list(tokenizer.pieces),
            True,
            bool(normaliser.strip_accents),
            normaliser.tokenize_chinese_chars,
            tokenizer.model_max_length,
            tokenizer.special_tokens,
            tokenizer.extra_special_tokens,
            tokenizer.added_tokens,
            tokenizer.rules,
        )


def load_recipe(folder: Path) -> Recipe | None:
    """The Recipe of a folder, or None if it is not a folder of sentence-transformers.

    Raises ValueError, naming file and setting, for what minibert does not have; FileNotFoundError for missing files.
    """
    path = folder / "modules.json"
    if not path.is_file():
        if (folder / "1_Pooling").is_dir():
            raise ValueError(
                f"{folder} has a 1_Pooling but no modules.json, which says what it is for; copy the whole model"
            )
        return None
    modules = _read(path, list)
    try:
        named = [(str(module["type"]), module["path"]) for module in modules]
    except (TypeError, KeyError):
        raise ValueError(f"{path} is damaged; expected a list of objects with type and path") from None
    if others := [inner for _, inner in named if not is_inner_path(inner)]:
        raise ValueError(f"{path}: a module has the path {others[0]!r}; expected a folder within {folder}")
    parts = [(kind, folder / inner) for kind, inner in named]
    kinds = [kind.rpartition(".")[2] for kind, _ in parts]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise ValueError(f"{path}: the modules are {', '.join(kinds)}; expected a Transformer and a Pooling first")
    recipe = _of_library(folder, replace(_of_transformer(parts[0][1]), **_of_pooling(parts[1][1])))
    steps: list[Callable[[np.ndarray], np.ndarray]] = []
    for kind, (name, part) in zip(kinds[2:], parts[2:], strict=True):
        if kind not in ("Dense", "Normalize", "Dropout"):
            raise ValueError(f"{path}: the module {name} is not supported; expected Dense or Normalize")
        if kind != "Dropout":
            steps.append(_dense(part) if kind == "Dense" else _normalize(part))
    return replace(recipe, steps=tuple(steps))


def pool(vectors: np.ndarray, mode: str, skip: int = 0) -> np.ndarray:
    """One vector, float32 [H], for the vectors [T, H] of a text's tokens.

    mode: one of the poolings above; skip: how many tokens at the beginning belong to a prompt that takes no part.
    Raises ValueError if nothing is left.

    >>> pool(np.array([[1.0], [2.0], [6.0], [9.0]]), WEIGHTED, skip=1)
    array([7.], dtype=float32)
    """
    if skip >= len(vectors):
        raise ValueError(
            f"the prompt has {skip} tokens, and fills the whole length of {len(vectors)}; raise --max-length"
        )
    kept = vectors[skip:].astype(np.float64)  # [T - skip, H]
    if mode == CLS:
        pooled = kept[0]
    elif mode == LAST:
        pooled = kept[-1]
    elif mode == MAX:
        pooled = kept.max(axis=0)
    elif mode == WEIGHTED:
        weights = np.arange(skip + 1, len(vectors) + 1)  # [T - skip], each token's position, counted from 1
        pooled = weights @ kept / weights.sum()
    else:
        pooled = kept.sum(axis=0) / (len(kept) if mode == MEAN else np.sqrt(len(kept)))
    return pooled.astype(np.float32)


def _of_transformer(folder: Path) -> Recipe:
    names = ("sentence_bert_config.json", *OLDER_NAMES)
    path = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
    values = _read(path, dict) if path.is_file() else {}
    for name, value in values.items():
        if name not in READ and value not in (USUAL.get(name) or (None,)) and value not in ({}, [], False):
            raise ValueError(f"{path}: {name} is {value!r}, which minibert does not support")
    length = values.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 2):
        raise ValueError(f"{path}: max_seq_length is {length!r}; expected a number of at least 2, or null")
    return Recipe(folder, max_length=length, lowercase=bool(values.get("do_lower_case")))


def _of_pooling(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    values = _read(path, dict)
    named = values.get("pooling_mode")
    if named is None:
        unknown = [name for name in values if name.startswith("pooling_mode_") and name not in LEGACY and values[name]]
        modes = [mode for name, mode in LEGACY.items() if values.get(name)] or [MEAN]
    else:
        listed = [named] if isinstance(named, str) else list(named)
        unknown = [str(name) for name in listed if name not in MODES]
        modes = [MODES[name] for name in listed if name in MODES]
    if unknown:
        raise ValueError(f"{path}: the pooling {unknown[0]} is not supported; expected {', '.join(MODES)}")
    return {"pooling": tuple(modes), "include_prompt": bool(values.get("include_prompt", True))}


def _of_library(folder: Path, recipe: Recipe) -> Recipe:
    path = folder / "config_sentence_transformers.json"
    values = _read(path, dict) if path.is_file() else {}
    prompts = values.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise ValueError(f"{path}: prompts is {prompts!r}; expected an object of texts")
    default = values.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ValueError(f"{path}: default_prompt_name is {default!r}; expected one of {', '.join(prompts) or 'none'}")
    similarity = values.get("similarity_fn_name") or COSINE
    if similarity not in (COSINE, DOT):
        raise ValueError(f"{path}: similarity_fn_name is {similarity!r}; minibert compares by {COSINE} or {DOT}")
    if values.get("truncate_dim") is not None:
        raise ValueError(f"{path}: truncate_dim is {values['truncate_dim']!r}, which minibert does not support")
    if values.get("model_type", "SentenceTransformer") != "SentenceTransformer":
        raise ValueError(f"{path}: model_type is {values['model_type']!r}; expected 'SentenceTransformer'")
    pairs = tuple((str(name), text or "") for name, text in prompts.items())
    return replace(recipe, prompts=pairs, default_prompt=default, similarity=similarity)


def _check_names(values: dict, path: Path) -> None:
    for name in ("module_input_name", "module_output_name"):
        if values.get(name) not in (None, "sentence_embedding"):
            raise ValueError(f"{path}: {name} is {values[name]!r}; expected 'sentence_embedding'")


def _normalize(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    path = folder / "config.json"
    _check_names(_read(path, dict) if path.is_file() else {}, path)
    return normalised


def _dense(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """A dense layer with its activation: from [texts, in] to [texts, out]."""
    path = folder / "config.json"
    values = _read(path, dict)
    _check_names(values, path)
    name = str(values.get("activation_function", "Tanh"))
    kind = name.rpartition(".")[2]
    if kind not in ACTIVATIONS:
        raise ValueError(f"{path}: activation_function is {name}; expected one of {', '.join(ACTIVATIONS)}")
    if values.get("use_residual"):
        raise ValueError(f"{path}: use_residual is set, which minibert does not support")
    if not (folder / "model.safetensors").is_file() and (folder / "pytorch_model.bin").is_file():
        raise ValueError(
            f"{folder} has weights only as pytorch_model.bin, which minibert does not read because loading this format "
            "can run arbitrary code; save the model again with a current sentence-transformers if you trust it"
        )
    tensors = read_tensors(find_weights(folder))
    shape = values.get("out_features"), values.get("in_features")
    weight, bias = tensors.get("linear.weight"), tensors.get("linear.bias", np.zeros(1))
    if weight is None or weight.shape != shape or ("linear.bias" in tensors) != bool(values.get("bias", True)):
        raise ValueError(
            f"{folder}: the weights do not fit config.json, which has {shape[1]} inputs and {shape[0]} outputs"
        )

    def dense(vectors: np.ndarray) -> np.ndarray:
        if vectors.shape[-1] != weight.shape[1]:
            raise ValueError(
                f"{folder} takes vectors of length {weight.shape[1]}, but pooling gives {vectors.shape[-1]}; "
                "leave out --pooling"
            )
        return ACTIVATIONS[kind](vectors @ weight.T + bias).astype(np.float32)

    return dense


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors [..., H] to length 1, keeping their directions."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _read(path: Path, kind: type) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, although modules.json names its folder; copy the whole model")
    values = read_json(path)
    if not isinstance(values, kind):
        raise ValueError(f"{path}: expected a JSON {kind.__name__}, got {type(values).__name__}")
    return values
