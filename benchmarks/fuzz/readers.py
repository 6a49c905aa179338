"""The table of readers: valid files, the changes that are made to them, the real entry point, and what is right.

A reader's oracle is the library that writes such files; where that refuses a file that minibert accepts, the value
before the change is right.
"""

import csv
import gzip
import hashlib
import io
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz import mutators as m

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIAL, "the", "un", "##aff", "##able", "ü", "##s", "東", "!", "a", "##b", "new", "york"]
TEXTS = ["The unaffable, unaff! ab", "[MASK] new york [UNK] 東 ü", "a\u00a0theüs extra [X]"]
TINY = dict(vocab_size=17, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
ANY = object()  # an oracle's answer where it cannot say what is right


@dataclass(frozen=True)
class Reader:
    name: str
    bases: Callable[[], list[tuple[dict[str, bytes], str]]]
    """valid folders (name -> content), each with the name of the file that is changed"""
    mutators: tuple[m.Mutator, ...]
    read: Callable[[Path, str], Any]
    """(folder, file) -> a value that == compares, through the entry point that the commands use"""
    oracle: Callable[[Path, str], Any] | None = None
    """(folder, file) -> the right value; raises if the library refuses the file; None: the value before the change"""
    harmless: tuple[m.Mutator, ...] = (m.unchanged, m.json_rewritten)
    """changes after which the file must be accepted, with the value before"""
    numbered: bool = False
    """whether every refusal names a line, a row or an offset"""


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


# ------------------------------------------------------------------------------------------------ tokenizers


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
    added = {"content": "[X]", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    decoder = {str(PIECES.index(s)): {**added, "content": s} for s in SPECIAL} | {"17": added}
    generic = tokenizer_config(tokenizer_class="PreTrainedTokenizerFast")
    old = {"vocab.txt": vocab, "tokenizer_config.json": encoded(tokenizer_config())}
    return [
        ({"tokenizer.json": encoded(whole_tokenizer()), "tokenizer_config.json": encoded(generic)}, "tokenizer.json"),
        ({"tokenizer.json": encoded(whole_tokenizer()), "tokenizer_config.json": encoded(tokenizer_config())}, "tokenizer.json"),
        (old, "tokenizer_config.json"),
        (old | {"tokenizer_config.json": encoded(tokenizer_config(added_tokens_decoder=decoder))}, "tokenizer_config.json"),
        (old | {"added_tokens.json": encoded({"extra": 17, "[X]": 18})}, "added_tokens.json"),
        (old | {"special_tokens_map.json": encoded({"cls_token": "[CLS]", "extra_special_tokens": ["new"]})}, "special_tokens_map.json"),
    ]  # fmt: skip


def read_tokenizer(folder: Path, _file: str) -> Any:
    from minibert.text import Tokenizer

    tokenizer = Tokenizer.load(folder)
    found = [tokenizer.encode(text) for text in TEXTS]
    return [(encoding.ids, encoding.offsets) for encoding in found]


def transformers_tokenizer(folder: Path, _file: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    found = [tokenizer(text, return_offsets_mapping=True) for text in TEXTS]
    return [(list(one["input_ids"]), [tuple(pair) for pair in one["offset_mapping"]]) for one in found]


def read_vocabulary(folder: Path, file: str) -> Any:
    from minibert.text.files import read_vocabulary

    return read_vocabulary(folder / file)


def library_vocabulary(folder: Path, file: str) -> Any:
    from tokenizers.models import WordPiece

    ids = WordPiece.read_file(str(folder / file))
    return sorted(ids, key=ids.get)


# ------------------------------------------------------------------------------------------------ models


def config_bases() -> list[tuple[dict[str, bytes], str]]:
    bert = {"architectures": ["BertForMaskedLM"], "model_type": "bert", **TINY, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
            "max_position_embeddings": 16, "type_vocab_size": 2, "pad_token_id": 0, "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02}  # fmt: skip
    labels = {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    distilled = {"model_type": "distilbert", "dim": 4, "n_layers": 1, "n_heads": 2, "hidden_dim": 8, "vocab_size": 17,
                 "activation": "gelu", "dropout": 0.1, "attention_dropout": 0.1}  # fmt: skip
    return [({"config.json": encoded(one)}, "config.json") for one in (bert, bert | labels, distilled)]


def read_config(folder: Path, _file: str) -> Any:
    from minibert.nn.config import BertConfig

    return asdict(BertConfig.load(folder))


def transformers_config(folder: Path, file: str) -> Any:
    from transformers import BertConfig, DistilBertConfig

    from minibert.nn import config as ours

    values = json.loads((folder / file).read_text("utf-8"))
    distilled = values.get("model_type") == "distilbert"
    theirs = (DistilBertConfig if distilled else BertConfig).from_dict(values)
    names = {new: old for old, new in ours.OF_DISTILBERT.items()} if distilled else {}
    answer = {}
    for field in fields(ours.BertConfig):
        default = field.default
        written = values.get(names.get(field.name, field.name), ANY)
        if field.name in ("head", "pooler_act", "output_init", "is_decoder") or (distilled and not hasattr(theirs, names.get(field.name, field.name))):
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
    return {name: (value.shape, value.astype(np.float64).tobytes()) for name, value in tensors.items()}


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


# ------------------------------------------------------------------------------------------------ runs


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


def read_shards(folder: Path, _file: str) -> Any:
    from minibert.data.shards import Shards

    from minibert.text import Tokenizer

    shards = Shards(folder, Tokenizer(PIECES))
    total = int(shards.sentence_starts[-1])
    counts, every = shards.manifest["counts"], shards.all()
    return (counts, shards.manifest["vocabulary"], every.token_counts.tolist(), shards.read(0, total).tolist(), list(shards.records()))


def signed(mutate: m.Mutator) -> m.Mutator:
    """The same change of a manifest, with its checksum made right."""

    def change(random_of: random.Random, data: bytes) -> bytes:
        data = mutate(random_of, data)
        try:
            content = json.loads(data)
            content.pop("sha256", None)
            content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            return json.dumps(content).encode()
        except (ValueError, AttributeError, RecursionError):
            return data

    return change


@cache
def checkpoint_parts() -> Any:
    from minibert.models import BertForPreTraining
    from minibert.nn.config import BertConfig
    from minibert.training.optimizer import AdamW

    model = BertForPreTraining(BertConfig(**TINY, max_position_embeddings=4), "reference", seed=1)
    return model, AdamW(model.parameters)


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


METRICS = b'{"kind": "train", "step": 1, "loss": 2.5, "length": 8}\n{"kind": "evaluation", "step": 1, "loss": 2.0}\n' * 3


def read_metrics(folder: Path, file: str) -> Any:
    from minibert.training.metrics import read_metrics

    return [json.dumps(record) for record in read_metrics((folder / file).parent)]


def json_per_line(folder: Path, file: str) -> Any:
    lines = (folder / file).read_text("utf-8").split("\n")
    return [json.dumps(json.loads(line)) for line in lines if line.strip()]


TASK = {"format": 1, "name": "sentence", "labels": ["no", "yes"], "max_length": 64, "pairs": False, "columns": ["text", None, "label"],
        "stride": 32, "max_answer": 30, "n_best": 20, "null_threshold": 0.5, "may_lack": False, "frozen": False, "kind": "sentence",
        "scores": {"accuracy": 0.5}}  # fmt: skip


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
        if not (type(value) is type(usual) or (name == "pairs" and value is None) or (name == "null_threshold" and type(value) is int)):
            raise ValueError(name)
    return json.dumps(answer)


ANSWER_DEFAULTS = TASK | {"max_length": 128, "stride": 128, "null_threshold": 0.0, "columns": [None] * 3}

# ------------------------------------------------------------------------------------------------ task data

ROWS = [("text", "label"), ("a fine day", "1"), ("no, not so", "0"), ('she said "no"', "1"), ("Zürich\u2028 東", "0")]


def csv_of(rows: list[tuple[str, ...]], delimiter: str = ",") -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


TSV = "".join("\t".join(row) + "\n" for row in ROWS).encode()
JSONL = "".join(json.dumps(dict(zip(ROWS[0], row, strict=True))) + "\n" for row in ROWS[1:]).encode()
CONLL = "EU B-ORG\nrejects O\nGerman B-MISC\n\nPeter B-PER\nBlackburn I-PER\n\n1996 O\n".encode()
CONTEXT = "The Aare leaves Lake Thun near the town and turns north."
SQUAD = {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [
    {"id": "q1", "question": "Which lake?", "answers": [{"text": "Lake Thun", "answer_start": 16}]},
    {"id": "q2", "question": "Which way?", "answers": [{"text": "north", "answer_start": 50}]}]}]}]}  # fmt: skip


def examples(task: str) -> Callable[[Path, str], Any]:
    def read(folder: Path, file: str) -> Any:
        from minibert.tasks.readers import read_examples
        from minibert.tasks.registry import task_info

        found = []
        for example in read_examples(task_info(task), folder / file):
            values = {name: value for name, value in vars(example).items() if name != "where"}
            if str(values.get("identity", "")).startswith(str(folder)):
                values["identity"] = None  # a question without an id is called by its line
            found.append(json.dumps(values, default=vars))
        return found

    return read


def sentences(rows: list[dict]) -> Any:
    """What read_examples returns for these rows of texts and labels."""
    from minibert.tasks.readers.labels import canonical

    return [json.dumps({"text": str(r["text"]).strip(), "pair": None, "label": canonical(r["label"])}) for r in rows]


def table(delimiter: str) -> Callable[[Path, str], Any]:
    """The rows as Python's csv module reads them; without quotes where no field is quoted as a whole."""

    def read(folder: Path, file: str) -> Any:
        from minibert.tasks.readers.tables import is_quoted

        text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
        if "\n" not in text:
            text = text.replace("\r", "\n")
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        quoted = delimiter == "," or any(is_quoted(field) for line in lines for field in line.split("\t"))
        if quoted:
            rows = [row for row in csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter, strict=True) if row]
        else:
            rows = [line.split("\t") for line in lines if line.strip()]
        names = [name.strip() for name in rows[0]]
        return sentences([dict(zip(names, row, strict=True)) for row in rows[1:]])

    return read


def json_rows(folder: Path, file: str) -> Any:
    text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
    lines = [line for line in (text.replace("\r", "\n") if "\n" not in text else text).split("\n") if line.strip()]
    return sentences([json.loads(line) for line in lines])


def conll_rows(folder: Path, file: str) -> Any:
    """Blocks of lines with white space or tabs between a word and its label, as `datasets` reads conll2003."""
    text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
    lines = (text.replace("\r", "\n") if "\n" not in text else text).split("\n")
    tabs = any("\t" in line for line in lines)
    blocks: list[list[list[str]]] = [[]]
    for line in lines:
        if not line.strip():
            blocks.append([])
        elif not (line.startswith("#") and not blocks[-1] and len(line.split()) != 2):
            blocks[-1].append([part.strip() for part in (line.split("\t") if "\t" in line and tabs else line.split())])
    from minibert.tasks.readers.labels import canonical

    return [json.dumps({"words": [row[0] for row in b], "labels": [canonical(row[-1]) for row in b]}) for b in blocks if b]


def squad_rows(folder: Path, file: str) -> Any:
    document = json.loads((folder / file).read_bytes().decode().removeprefix("\ufeff"))
    found = []
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                answers = [{"text": a["text"], "start": int(a["answer_start"])} for a in entry["answers"]]
                found.append(json.dumps({"identity": None if entry.get("id") is None else str(entry["id"]), "question": str(entry["question"]),
                                         "context": paragraph["context"], "answers": answers}))  # fmt: skip
    return found


# ------------------------------------------------------------------------------------------------ corpora

PROSE = "The first line. And more.\nSecond line, ü 東.\n\nA new document begins here.\nIt ends.\n\nThe last one.\n"
RECORDS = [{"text": "The first. And more.", "id": "a"}, {"text": "Second\nline ü", "id": "b"}, {"text": "third", "id": "c"}]


def parquet_of(records: list[dict]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), file)
    return file.getvalue()


def text_corpora() -> list[tuple[dict[str, bytes], str]]:
    return [({name: PROSE.encode()}, name) for name in ("a.txt", "a.md")]


def packed_corpora() -> list[tuple[dict[str, bytes], str]]:
    import bz2
    import lzma

    import zstandard

    data = PROSE.encode()
    packed = {"a.txt.gz": gzip.compress(data, mtime=0), "a.txt.bz2": bz2.compress(data), "a.txt.xz": lzma.compress(data)}
    packed["a.txt.zst"] = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return [({name: content}, name) for name, content in packed.items()]


def record_corpora() -> list[tuple[dict[str, bytes], str]]:
    return [({"a.jsonl": "".join(json.dumps(record) + "\n" for record in RECORDS).encode()}, "a.jsonl")]


def table_corpora() -> list[tuple[dict[str, bytes], str]]:
    rows = [("id", "text"), *((record["id"], record["text"]) for record in RECORDS)]
    return [({"a.csv": csv_of(rows)}, "a.csv"), ({"a.tsv": csv_of(rows, "\t")}, "a.tsv")]


def read_texts(folder: Path, file: str) -> Any:
    from minibert.data.corpus import read_corpus

    documents = list(read_corpus([folder / file]))
    if ".txt" in file or ".md" in file:
        return "".join("".join(document.text.split()) for document in documents)
    return [document.text for document in documents]


def text_without_space(folder: Path, file: str) -> Any:
    import bz2
    import lzma

    import zstandard

    def whole(data: bytes) -> bytes:
        return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()

    opened = {"gz": gzip.decompress, "bz2": bz2.decompress, "xz": lzma.decompress, "zst": whole}
    data = opened.get(file.split(".")[-1], bytes)((folder / file).read_bytes())
    text = data.decode().removeprefix("\ufeff")
    first = next((line for line in text.split("\n") if line.strip()), "")
    if first.lstrip().startswith("{"):
        return ANY  # JSONL under another name
    return "".join(text.split())


def json_texts(folder: Path, file: str) -> Any:
    text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
    texts = [json.loads(line)["text"] for line in text.split("\n") if line.strip()]
    return [text for text in texts if text.strip()]


def table_texts(folder: Path, file: str) -> Any:
    text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
    rows = [r for r in csv.reader(io.StringIO(text, newline=""), delimiter="\t" if file.endswith("tsv") else ",", strict=True) if r]
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return [record["text"] for record in records if record["text"].strip()]


def pandas_texts(folder: Path, file: str) -> Any:
    import pandas

    return [text for text in pandas.read_parquet(folder / file)["text"].tolist() if text and text.strip()]


def one(name: str, content: bytes) -> Callable[[], list[tuple[dict[str, bytes], str]]]:
    return lambda: [({name: content}, name)]


JSON = (m.json_changed, m.json_changed, m.json_changed, m.bytes_changed)
LINES = (m.lines_changed, m.bytes_changed)
TABULAR = (m.unchanged, m.line_ends)
READERS = {
    reader.name: reader
    for reader in (
        Reader("vocab.txt", one("vocab.txt", "\n".join(PIECES).encode() + b"\n"), LINES, read_vocabulary, library_vocabulary, (m.unchanged,), True),
        Reader("tokenizer files", tokenizer_bases, JSON, read_tokenizer, transformers_tokenizer),
        Reader("config.json", config_bases, JSON, read_config, transformers_config),
        Reader("safetensors", tensor_bases, (m.values_changed, m.header_changed, m.bytes_changed), read_tensors, torch_tensors, (m.unchanged,)),
        Reader("index.json", index_bases, JSON, read_tensors, indexed_tensors),
        Reader("manifest.json", lambda: [(manifest_base(), "manifest.json")], (signed(m.json_changed), *JSON[2:]), read_shards),
        Reader("state.json", lambda: [(checkpoint_base(), "step-00000007/state.json")], JSON[2:], read_state),
        Reader("metrics.jsonl", one("metrics.jsonl", METRICS), (m.json_line, *LINES), read_metrics, json_per_line, (m.unchanged,)),
        Reader("task.json", one("task.json", encoded(TASK)), JSON, read_task, stored_task),
        Reader("TSV", one("a.tsv", TSV), (m.field_changed(b"\t"), *LINES), examples("sentence"), table("\t"), TABULAR, True),
        Reader("CSV", one("a.csv", csv_of(ROWS)), (m.field_changed(b","), *LINES), examples("sentence"), table(","), TABULAR, True),
        Reader("JSONL", one("a.jsonl", JSONL), (m.json_line, *LINES), examples("sentence"), json_rows, TABULAR, True),
        Reader("CoNLL", one("a.conll", CONLL), (m.field_changed(b" "), *LINES), examples("tokens"), conll_rows, TABULAR, True),
        Reader("SQuAD", one("a.json", encoded(SQUAD)), JSON, examples("squad"), squad_rows),
        Reader("text corpora", text_corpora, LINES, read_texts, text_without_space, TABULAR),
        Reader("compressed corpora", packed_corpora, (m.bytes_changed,), read_texts, text_without_space, (m.unchanged,)),
        Reader("JSONL corpora", record_corpora, (m.json_line, *LINES), read_texts, json_texts, TABULAR),
        Reader("table corpora", table_corpora, (m.field_changed(b","), *LINES), read_texts, table_texts, (m.unchanged,)),
        Reader("parquet corpora", lambda: [({"a.parquet": parquet_of(RECORDS)}, "a.parquet")], (m.bytes_changed,), read_texts, pandas_texts, (m.unchanged,)),
    )
}  # fmt: skip
