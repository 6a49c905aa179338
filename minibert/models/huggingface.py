"""Hugging Face model folders: `transformers` loads minibert's models, and minibert loads any BERT from `transformers`.

A folder holds config.json and model.safetensors.  Files differ in small ways, all of which are handled here: parameter
names with or without the prefix "bert.", older names and those of DistilBERT (naming.py), tensors in float32, float16
or bfloat16, in one file or in several, with or without the pooler and the heads.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import DTypeLike
from minibert.base.beginnings import POINTER, check_pointer
from minibert.base.files import write_file
from minibert.base.json_text import read_json
from minibert.base.names import is_file_name
from minibert.models.bert import Model, wrong_direction
from minibert.models.hub import find_model
from minibert.models.naming import PRE_CLASSIFIER, to_distilbert, todays_names, with_pooler
from minibert.nn.config import RELU, BertConfig, model_type_of
from minibert.ops import DEFAULT
from minibert.ops.backend import Backend

WEIGHTS = "model.safetensors"
TASK_HEADS = ("classifier.", "qa_outputs.", "lstm.")
OPTIONAL = ("pooler.", "cls.", *TASK_HEADS)  # parts that a folder may lack
PICKLES = "pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"
OTHER_WEIGHTS = {  # name of a file -> the program whose format it is
    "tf_model.h5": "TensorFlow",
    "bert_model.ckpt.index": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "model.onnx": "ONNX",
    "adapter_model.safetensors": "PEFT (merge the adapter into its model first, with merge_and_unload)",
}
NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
log = logging.getLogger("minibert")


def load(
    model_class: type[Model],
    folder: Path | str,
    backend: Backend | str = DEFAULT,
    *,
    dtype: DTypeLike = "float32",
    report: Callable[[str], None] | None = None,
    seed: int = 0,
    revision: str | None = None,
    **changes: Any,
) -> Any:
    """Load a model of `model_class` from a folder, or from a published model (see minibert.models.hub).

    seed: for initialising what the folder lacks, such as an output layer; changes: fields of the BertConfig that
    override those in the folder, above all labels.
    report: a function called with one line listing the parameters that were initialised afresh, and one listing the
    tensors that were ignored, if any; if it is None, the former is logged as a warning, the latter as information.
    Raises FileNotFoundError when the folder or its weights are missing; ValueError when the weights are pickled,
    damaged, NaN or infinite, beyond the dtype, of the wrong shape, given twice, or lack a tensor of the body, and when
    a DistilBERT is to be loaded from another BERT.
    """
    folder = find_model(folder, revision)
    config = replace(model_class.config_class.load(folder), **changes)
    distilled = model_class.model_type == "distilbert"
    if distilled and model_type_of(folder) != "distilbert":
        raise ValueError(
            f"{folder / 'config.json'} describes a model of type 'bert', but {model_class.__name__} has no segments; "
            "load it as BertForPreTraining, and start a student from it with initialise_from_teacher"
        )
    tensors = read_tensors(find_weights(folder))
    try:
        tensors = todays_names(tensors, segments=not distilled)
    except ValueError as error:
        raise ValueError(f"the weights in {folder}: {error}") from None
    if not changes and model_class.distilled_pooler and any(name.startswith(PRE_CLASSIFIER) for name in tensors):
        tensors, config = with_pooler(tensors), replace(config, pooler_act=RELU)
    if model_class.left_to_right not in (None, config.is_decoder):
        raise ValueError(f"{folder / 'config.json'}: {wrong_direction(model_class.__name__, config.is_decoder)}")
    check_size(config, tensors, folder)
    model = model_class(config, backend, dtype=dtype, seed=None)
    drop_tied_decoder(tensors, model, folder)
    fresh, taken = [], {}
    for name, parameter in model.parameters.all.items():
        source = next((key for key in (name, name.removeprefix("bert."), f"bert.{name}") if key in tensors), None)
        if source is None:
            if not name.removeprefix("bert.").startswith(OPTIONAL):
                raise ValueError(f"{folder / WEIGHTS} has no tensor {name!r}; the file is not a complete BERT")
            fresh.append(name)
            continue
        tensor = tensors[source]
        if tensor.shape != parameter.shape and "labels" in changes and name.startswith(TASK_HEADS):
            fresh.append(name)  # the output layer in the file is for another task
            continue
        if tensor.shape != parameter.shape:
            raise ValueError(
                f"{folder / WEIGHTS}: {source} has shape {list(tensor.shape)}, "
                f"but config.json requires {list(parameter.shape)}"
            )
        if model.parameters.dtype == np.float16 and np.abs(tensor).max(initial=0) > np.finfo(np.float16).max:
            raise ValueError(
                f"{folder / WEIGHTS}: {source} has values beyond {np.finfo(np.float16).max:,.0f}, the largest number "
                "of float16; load it in bfloat16 or float32"
            )
        taken[source] = (name, tensor)
    model.parameters.assign(dict(taken.values()))
    model.initialised_afresh = tuple(fresh)
    if fresh:
        model.parameters.initialise(seed, fresh)
        (report or log.warning)(f"{folder}: not in the file, initialised afresh: {', '.join(fresh)}")
    if ignored := sorted(set(tensors) - set(taken)):
        (report or log.info)(f"{folder}: not part of {model_class.__name__}, ignored: {', '.join(ignored)}")
    return model


def save(model: Model, folder: Path | str) -> None:
    """Write config.json and model.safetensors into a folder, each either completely or not at all.

    Raises OSError when the disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    if getattr(model.config, "pooler_act", None) == RELU:
        raise ValueError("this model is a DistilBERT classifier, which minibert reads but does not write")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = model.parameters.tensors(model.parameters.masters)
    if model.model_type == "distilbert":
        tensors = {to_distilbert(name): tensor for name, tensor in tensors.items()}
    save_tensors(folder / WEIGHTS, {name: tensor.astype(np.float32) for name, tensor in tensors.items()})
    model.config.save(folder, model.huggingface_class or type(model).__name__, model.model_type)


def save_tensors(path: Path | str, tensors: dict[str, np.ndarray]) -> None:
    """Write a safetensors file, with the metadata that `transformers` expects, either completely or not at all.

    Raises OSError if it cannot be written.
    """
    from safetensors.numpy import save

    data = save(tensors, metadata={"format": "pt"})
    write_file(path, lambda temporary: temporary.write_bytes(data))


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of a folder: a single file, or the shards that the folder's index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        try:
            shards = list(dict.fromkeys(read_json(index)["weight_map"].values()))
        except (KeyError, TypeError, AttributeError):
            raise ValueError(f"{index} is damaged: it lists no files; download the model again") from None
        if others := [shard for shard in shards if not is_file_name(shard)]:
            raise ValueError(f"{index} lists the file {others[0]!r}; expected names of files in the same folder")
        return [folder / shard for shard in sorted(shards)]
    pickles = [name for name in PICKLES if (folder / name).exists()]
    if pickles:
        raise ValueError(
            f"{folder} has weights only as {pickles[0]}, which minibert does not read because loading this format can "
            'run arbitrary code; convert the model if you trust it: python -c "import transformers as t; '
            f"t.BertForPreTraining.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    others = [name for name in OTHER_WEIGHTS if (folder / name).exists()]
    if others:
        raise ValueError(
            f"{folder} has weights only as {others[0]}, the format of {OTHER_WEIGHTS[others[0]]}; expected {WEIGHTS}, "
            "which other versions of the model may have"
        )
    raise FileNotFoundError(f"{folder} contains no {WEIGHTS}; expected the folder of a trained model")


def read_tensors(paths: list[Path], advice: str = "download or save the model again") -> dict[str, np.ndarray]:
    """All tensors in safetensors files, with bfloat16 widened to float32.

    advice: how to go on when a file is damaged, for the error message.
    Raises ValueError if a file is damaged or has values that are NaN, infinite or beyond float32.
    """
    from safetensors import SafetensorError, deserialize

    tensors = {}
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is listed in the index but missing; download the model again")
        with path.open("rb") as file:
            check_pointer(path, file.read(len(POINTER)))
        try:
            entries = deserialize(path.read_bytes())
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}); {advice}") from None
        for name, entry in entries:
            kind, data = entry["dtype"], entry["data"]
            if kind == "BF16":  # the upper half of a float32
                values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
            elif kind in NUMPY_TYPES:
                values = np.frombuffer(data, NUMPY_TYPES[kind])
            elif kind.startswith("F") or (kind in ("I8", "U8") and name.endswith(".weight")):
                raise ValueError(
                    f"{path}: {name} is stored as {kind}, a quantised model's type; expected F32, F16 or BF16"
                )
            else:
                continue  # an integer buffer such as position_ids, which older versions saved
            if bad := count_not_finite(values):
                raise ValueError(
                    f"{path}: {bad:,} of the {values.size:,} values of {name} are NaN or infinite; "
                    f"expected finite numbers of 32 bits; {advice}"
                )
            tensors[name] = values.reshape(entry["shape"])
    return tensors


def count_not_finite(values: np.ndarray) -> int:
    """The number of values [P] that are NaN, infinite, or infinite once they are rounded to float32."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(values if values.itemsize <= 4 else values.astype(np.float32))
    return 0 if finite.all() else int(np.count_nonzero(~finite))


def check_size(config: Any, tensors: dict[str, np.ndarray], folder: Path) -> None:
    """Raise ValueError if a config.json describes far more parameters than its file holds, before any is allocated."""
    if not isinstance(config, BertConfig):
        return
    pooler = config.hidden_size * (config.hidden_size + 1)
    needed, there = config.parameter_count() - pooler, sum(tensor.size for tensor in tensors.values())
    if config.num_hidden_layers * config.hidden_size > there or needed > 2 * there + 1_000_000:
        raise ValueError(
            f"{folder / 'config.json'} describes a model of {needed:,} parameters ({config.summary}), but the weights "
            f"beside it have {there:,}; expected a config.json and weights of one model"
        )


def drop_tied_decoder(tensors: dict[str, np.ndarray], model: Model, folder: Path) -> None:
    """Remove the copies of tied parameters that some files hold.

    Raises ValueError when the model has an MLM head and the decoder in the file is not the embedding table.
    """
    bias = tensors.pop("cls.predictions.decoder.bias", None)
    if bias is not None:
        tensors.setdefault("cls.predictions.bias", bias)
    decoder = tensors.pop("cls.predictions.decoder.weight", None)
    if decoder is None or "cls.predictions.bias" not in model.parameters.all:
        return
    names = ("bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight")
    embedding = next((tensors[name] for name in names if name in tensors), decoder)
    if not np.array_equal(decoder, embedding):
        raise ValueError(
            f"{folder / WEIGHTS}: cls.predictions.decoder.weight differs from the word embeddings, but minibert ties "
            "the two; load this model as Bert, without its head"
        )
