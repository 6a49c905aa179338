"""Tokenizers, models and runs: valid files, entry points and oracles."""

import hashlib
import json
import random
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz import mutators as m
from benchmarks.fuzz.reader import ANY, encoded

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, "the", "un", "##aff", "##able", "ü", "##s", "東", "!", "a", "##b", "new", "york"]
TEXTS = ["The unaffable, unaff! ab", "[MASK] new york [UNK] 東 ü", "a\u00a0theüs extra [X]"]
TINY = dict(vocab_size=17, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)


def whole_tokenizer(**changes: Any) -> dict:
    from minibert.text import Tokenizer
    from minibert.text.tokenizer_json import write_whole

    return {**write_whole(Tokenizer(PIECES)), **changes}


def tokenizer_config(**changes: Any) -> dict:
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "model_max_length": 512,
        **dict(zip(names, SPECIAL, strict=True)),
        **changes,
    }


def tokenizer_bases() -> list[tuple[dict[str, bytes], str]]:
    vocab = "".join(f"{piece}\n" for piece in PIECES).encode()
    added = {
        "content": "[X]",
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
    decoder = {str(PIECES.index(s)): {**added, "content": s} for s in SPECIAL} | {"17": added}
    generic = tokenizer_config(tokenizer_class="PreTrainedTokenizerFast")
    old = {"vocab.txt": vocab, "tokenizer_config.json": encoded(tokenizer_config())}
    return [
        ({"tokenizer.json": encoded(whole_tokenizer()), "tokenizer_config.json": encoded(generic)}, "tokenizer.json"),
        (
            {"tokenizer.json": encoded(whole_tokenizer()), "tokenizer_config.json": encoded(tokenizer_config())},
            "tokenizer.json",
        ),
        (old, "tokenizer_config.json"),
        (
            old | {"tokenizer_config.json": encoded(tokenizer_config(added_tokens_decoder=decoder))},
            "tokenizer_config.json",
        ),
        (old | {"added_tokens.json": encoded({"extra": 17, "[X]": 18})}, "added_tokens.json"),
        (
            old | {"special_tokens_map.json": encoded({"cls_token": "[CLS]", "extra_special_tokens": ["new"]})},
            "special_tokens_map.json",
        ),
    ]


def read_tokenizer(folder: Path, _file: str) -> Any:
    from minibert.text import Tokenizer

    tokenizer = Tokenizer.load(folder)
    found = [tokenizer.encode(text) for text in TEXTS]
    return [(encoding.ids, encoding.offsets) for encoding in found]


def transformers_tokenizer(folder: Path, _file: str) -> Any:
    from transformers import AutoTokenizer, BertTokenizer

    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text("utf-8"))
    for value in config.values():  # minibert also reads objects without a type, which transformers refuses
        if isinstance(value, dict) and isinstance(value.get("content"), str):
            value.setdefault("__type", "AddedToken")
    path.write_text(json.dumps(config), "utf-8")
    named = config.get("tokenizer_class") or (folder / "tokenizer.json").exists()
    tokenizer = (AutoTokenizer if named else BertTokenizer).from_pretrained(str(folder))
    found = [tokenizer(text, return_offsets_mapping=True) for text in TEXTS]
    return [(list(one["input_ids"]), [tuple(pair) for pair in one["offset_mapping"]]) for one in found]


def read_vocabulary(folder: Path, file: str) -> Any:
    from minibert.text.characters import white_space
    from minibert.text.files import read_vocabulary

    space = "".join(white_space())
    return [token if token.strip(space) else "" for token in read_vocabulary(folder / file)]  # "" as in the library


def library_vocabulary(folder: Path, file: str) -> Any:
    from tokenizers.models import WordPiece

    ids = WordPiece.read_file(str(folder / file))
    return sorted(ids, key=ids.get)


def config_bases() -> list[tuple[dict[str, bytes], str]]:
    bert = {
        "architectures": ["BertForMaskedLM"],
        "model_type": "bert",
        **TINY,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 16,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
    }
    labels = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    distilled = {
        "model_type": "distilbert",
        "dim": 4,
        "n_layers": 1,
        "n_heads": 2,
        "hidden_dim": 8,
        "vocab_size": 17,
        "activation": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.1,
    }
    return [({"config.json": encoded(one)}, "config.json") for one in (bert, bert | labels, distilled)]


FLOATS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range", "layer_norm_eps")


def read_config(folder: Path, _file: str) -> Any:
    from minibert.nn.config import BertConfig

    found = asdict(BertConfig.load(folder))
    return {name: float(value) if type(value) is int and name in FLOATS else value for name, value in found.items()}


def transformers_config(folder: Path, file: str) -> Any:
    from transformers import BertConfig, DistilBertConfig

    from minibert.nn import config as ours

    values = json.loads((folder / file).read_text("utf-8"))
    distilled = values.get("model_type") == "distilbert"
    floats = [field.name for field in fields(ours.BertConfig) if field.type is float]
    for name in (*floats, "dropout", "attention_dropout"):  # transformers refuses whole numbers for them
        if type(values.get(name)) is int:
            values[name] = float(values[name])
    theirs = (DistilBertConfig if distilled else BertConfig).from_dict(values)
    names = {new: old for old, new in ours.OF_DISTILBERT.items()} if distilled else {}
    answer = {}
    for field in fields(ours.BertConfig):
        default = field.default
        written = values.get(names.get(field.name, field.name), ANY)
        if field.name in ("head", "pooler_act", "output_init", "is_decoder") or (
            distilled and not hasattr(theirs, names.get(field.name, field.name))
        ):
            answer[field.name] = default if written in (ANY, None) else written
        elif field.name != "labels":
            value = getattr(theirs, names.get(field.name, field.name))
            answer[field.name] = default if value is None else value
    named = bool(values.get("id2label")) or ours.architecture_of(values).endswith(ours.CLASSIFIERS)
    answer["labels"] = tuple(name for _, name in sorted(theirs.id2label.items())) if named else ()
    return answer


def some_tensors(seed: int = 0) -> dict[str, Any]:
    import torch

    values = torch.arange(12, dtype=torch.float32).reshape(3, 4) + seed
    return {"a": values, "b": values[0].half(), "c": values.bfloat16(), "d": torch.arange(3), "e": values.double()[:0]}


def tensor_bases() -> list[tuple[dict[str, bytes], str]]:
    from safetensors.torch import save

    return [({"model.safetensors": save(some_tensors(), metadata={"format": "pt"})}, "model.safetensors")]


def as_bytes(tensors: dict[str, np.ndarray]) -> Any:
    """Shapes and values; all NaNs are alike, since libraries widen the bits of a 16-bit NaN differently."""
    wide = {name: value.astype(np.float64) for name, value in tensors.items()}
    return {name: (value.shape, np.where(np.isnan(value), np.nan, value).tobytes()) for name, value in wide.items()}


def read_tensors(folder: Path, _file: str) -> Any:
    from minibert.models.huggingface import find_weights, read_tensors

    return as_bytes(read_tensors(find_weights(folder)))


def torch_tensors(folder: Path, *files: str) -> Any:
    from safetensors.torch import load

    found = {}
    for file in files:
        for name, tensor in load((folder / file).read_bytes()).items():
            if tensor.is_floating_point():
                found[name] = tensor.double().numpy()
    return as_bytes(found)


def index_bases() -> list[tuple[dict[str, bytes], str]]:
    from safetensors.torch import save

    one, two = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    tensors = some_tensors()
    shards = {one: save({name: tensors[name] for name in "ab"}), two: save({name: tensors[name] for name in "cde"})}
    where = {name: one if name in "ab" else two for name in tensors}
    index = {"metadata": {"total_size": 104}, "weight_map": where}
    return [({**shards, "model.safetensors.index.json": encoded(index)}, "model.safetensors.index.json")]


def indexed_tensors(folder: Path, file: str) -> Any:
    named = json.loads((folder / file).read_text("utf-8"))["weight_map"]
    return torch_tensors(folder, *sorted(set(named.values())))


@cache
def manifest_base() -> dict[str, bytes]:
    import tempfile

    from minibert.data.document import Document
    from minibert.data.shards import write_shards
    from minibert.text import Tokenizer

    with tempfile.TemporaryDirectory() as folder:
        documents = [Document(f"d{n}", f"g{n}", "The new york. A unaffable!") for n in range(3)]
        write_shards(documents, Tokenizer(PIECES), Path(folder) / "shards")
        return {path.name: path.read_bytes() for path in (Path(folder) / "shards").iterdir()}


def manifest_of(files: dict[str, bytes]) -> Any:
    return json.loads(files["manifest.json"])


def read_shards(folder: Path, _file: str) -> Any:
    from minibert.data.shards import Shards
    from minibert.text import Tokenizer

    shards = Shards(folder, Tokenizer(PIECES))
    total = int(shards.sentence_starts[-1])
    every = shards.all()
    known = manifest_of(manifest_base())
    return (
        *({key: shards.manifest[part].get(key) for key in known[part]} for part in ("counts", "vocabulary")),
        every.token_counts.tolist(),
        shards.read(0, total).tolist(),
        list(shards.records()),
    )


def signed(mutate: m.Mutator) -> m.Mutator:
    """The same change of a manifest, with its checksum made right."""

    def change(random_of: random.Random, data: bytes) -> bytes:
        data = mutate(random_of, data)
        try:
            content = json.loads(data)
            content.pop("sha256", None)
            content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            return json.dumps(content).encode()
        except (ValueError, AttributeError, TypeError, RecursionError):
            return data

    return change


@cache
def checkpoint_parts() -> Any:
    from minibert.models import BertForPreTraining
    from minibert.nn.config import BertConfig
    from minibert.training.optimizer import AdamW, AdamWSettings

    model = BertForPreTraining(BertConfig(**TINY, max_position_embeddings=4), "reference", seed=1)
    return model, AdamW(model.parameters, AdamWSettings())


@cache
def checkpoint_base() -> dict[str, bytes]:
    import tempfile

    from minibert.training.checkpoints import save_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder), 7, *checkpoint_parts(), keep=1)
        return {f"{path.name}/{inner.name}": inner.read_bytes() for inner in path.iterdir()}


def read_state(folder: Path, file: str) -> Any:
    from minibert.training.checkpoints import load_checkpoint

    model, optimizer = checkpoint_parts()
    step = load_checkpoint((folder / file).parent, model, optimizer)
    return type(step), step, model.parameters.values.tobytes()


METRICS = (
    b'{"kind": "train", "step": 1, "loss": 2.5, "length": 8}\n{"kind": "evaluation", "step": 1, "loss": 2.0}\n' * 3
)


def read_metrics(folder: Path, file: str) -> Any:
    from minibert.training.metrics import read_metrics

    return [json.dumps(record) for record in read_metrics((folder / file).parent)]


def json_per_line(folder: Path, file: str) -> Any:
    """The records of a file whose last line may be incomplete, as that of a run that was killed."""
    *lines, last = (folder / file).read_bytes().split(b"\n")
    records = [json.loads(line.decode("utf-8")) for line in lines if line.strip()]
    try:
        records += [record for record in [json.loads(last.decode("utf-8"))] if isinstance(record, dict)]
    except ValueError:
        pass
    return [json.dumps(record) for record in records]


TASK = {
    "format": 1,
    "name": "sentence",
    "labels": ["no", "yes"],
    "max_length": 64,
    "pairs": False,
    "columns": ["text", None, "label"],
    "stride": 32,
    "max_answer": 30,
    "n_best": 20,
    "null_threshold": 0.5,
    "may_lack": False,
    "frozen": False,
    "kind": "sentence",
    "scores": {"accuracy": 0.5},
}


def read_task(folder: Path, _file: str) -> Any:
    from minibert.tasks.task import Task

    return json.dumps(asdict(Task.load(folder)))


def stored_task(folder: Path, file: str) -> Any:
    """The values as they stand in the file, if each has its type."""
    values = json.loads((folder / file).read_text("utf-8"))
    answer = {}
    for name, usual in TASK.items():
        if name in ("format", "kind", "scores"):
            continue
        answer[name] = value = values[name] if name in values else ANSWER_DEFAULTS[name]
        if not (
            type(value) is type(usual)
            or (name == "pairs" and value is None)
            or (name == "null_threshold" and type(value) is int)
        ):
            raise ValueError(name)
    return json.dumps(answer)


ANSWER_DEFAULTS = TASK | {"max_length": 128, "stride": 128, "null_threshold": 0.0, "columns": [None] * 3}
