"""Files of extreme size, depth and number, and how each of them is read; see extremes.py."""

import gzip
import json
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzz.data import CONTEXT, SQUAD, examples
from benchmarks.fuzz.models import PIECES, TINY, read_config, read_metrics, read_task, read_tokenizer, read_vocabulary
from benchmarks.fuzz.reader import encoded

MB = 1 << 20
DEEP = 5_000_000  # levels of nesting


def texts(path: Path, _file: str) -> Any:
    """Read, split into sentences and tokenise: all that happens to the text of a corpus."""
    from minibert.data.corpus import read_corpus
    from minibert.data.tokenizing import tokenize_documents
    from minibert.text import Tokenizer

    tokens = 0
    for _document, ids, _lengths in tokenize_documents(read_corpus([path / _file]), Tokenizer(PIECES), processes=1):
        tokens += len(ids)
    return tokens


def one_document(path: Path, file: str) -> Any:
    """Read only, the whole text at a time as a command for one text does, and encode it."""
    from minibert.text import Tokenizer

    return len(Tokenizer(PIECES).encode((path / file).read_text("utf-8")).ids)


def tensors(path: Path, _file: str) -> Any:
    from minibert.models.huggingface import find_weights, read_tensors

    return len(read_tensors(find_weights(path)))


def manifest(path: Path, _file: str) -> Any:
    from minibert.data.manifest import read_manifest

    return read_manifest(path)


def state(path: Path, _file: str) -> Any:
    from minibert.training.checkpoints import read_state

    return read_state(path)


def bert(path: Path, _file: str) -> Any:
    from minibert.models import Bert
    from minibert.models.huggingface import load

    return load(Bert, path, "reference")


@dataclass(frozen=True)
class Case:
    name: str
    file: str
    parts: Callable[[float], Iterable[bytes]]
    """scale -> what the file contains, in parts"""
    read: Callable[[Path, str], Any]
    valid: bool = True
    beside: Callable[[Path], None] | None = None
    """writes the other files of the folder"""
    objects: int = 0
    """the number of examples, answers, words or tokens that are returned as Python objects, times the scale"""
    whole: bool = False
    """whether a malformed file has to be read to its end"""


def many(part: bytes, count: int) -> Callable[[float], Iterable[bytes]]:
    """A file of `count` equal parts, times the scale."""

    def parts(scale: float) -> Iterable[bytes]:
        left, block = int(count * scale), part * max(1, MB // len(part))
        each = len(block) // len(part)
        while left >= each:
            yield block
            left -= each
        yield part * left

    return parts


def within(
    before: bytes, inner: Callable[[float], Iterable[bytes]], after: bytes
) -> Callable[[float], Iterable[bytes]]:
    def parts(scale: float) -> Iterable[bytes]:
        yield before
        yield from inner(scale)
        yield after

    return parts


def packed(inner: Callable[[float], Iterable[bytes]]) -> Callable[[float], Iterable[bytes]]:
    def parts(scale: float) -> Iterable[bytes]:
        for part in inner(scale):
            yield gzip.compress(part, 9, mtime=0)  # members one after the other are one file

    return parts


def nested(scale: float) -> Iterable[bytes]:
    yield b"[" * int(DEEP * scale)


def weights(path: Path) -> None:
    """A model of one small layer."""
    from minibert.models import Bert, BertConfig
    from minibert.models.huggingface import save

    save(Bert(BertConfig(**TINY, max_position_embeddings=4), "reference"), path)


def vocabulary(path: Path) -> None:
    (path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), "utf-8")


def huge_config(**changes: Any) -> Callable[[float], Iterable[bytes]]:
    return lambda _scale: [encoded({"model_type": "bert", **TINY, "max_position_embeddings": 4, **changes})]


def rows(line: bytes, count: int) -> Callable[[float], Iterable[bytes]]:
    return within(b"text,label\n", many(line, count), b"")


QUESTION = json.dumps(
    {"id": "q", "question": "Which lake?", "answers": [{"text": "Lake", "answer_start": 16}]}
).encode()
PARAGRAPH = json.dumps(SQUAD["data"][0]["paragraphs"][0] | {"context": CONTEXT}).encode()  # type: ignore[index]
LINE = b"The new york, unaffable! And so on.\n"
JSONL_LINE = b'{"text": "The new york, unaffable! And so on."}\n'
CASES = (
    Case("text: one line of words", "a.txt", many(b"the new york ", 4_000_000), texts),
    Case("text: one line of sentences", "a.txt", many(b"The new york. ", 4_000_000), texts),
    Case("text: one word of 100 MB", "a.txt", many(b"a", 100_000_000), texts),
    Case(
        "text: one word of 30 million accents", "a.txt", within(b"a", many("\u0301".encode(), 30_000_000), b""), texts
    ),
    Case("text: 30 million full stops", "a.txt", many(b".", 30_000_000), texts),
    Case("text: 30 million spaces", "a.txt", within(b"a", many(b" ", 30_000_000), b"b"), texts),
    Case("text: ten million Chinese characters", "a.txt", many("東".encode(), 10_000_000), texts),
    Case("text: 30 million control characters", "a.txt", within(b"a", many(b"\x01", 30_000_000), b"b"), texts),
    Case("text: a million lines", "a.txt", many(LINE, 1_000_000), texts),
    Case("text: ten million lines of a letter", "a.txt", many(b"a\n", 10_000_000), texts),
    Case("text: 30 million blank lines", "a.txt", within(b"a\n", many(b"\n", 30_000_000), b"b\n"), texts),
    Case("text: a million documents", "a.txt", many(b"The new york.\n\n", 1_000_000), texts),
    Case("text: 200 MB in a small gzip file", "a.txt.gz", packed(many(LINE, 6_000_000)), texts),
    Case("text: a line of 100 MB in a small gzip file", "a.txt.gz", packed(many(b"a ", 50_000_000)), texts),
    Case("JSONL corpus: a million records", "a.jsonl", many(JSONL_LINE, 1_000_000), texts),
    Case(
        "JSONL corpus: a record of 50 MB",
        "a.jsonl",
        within(b'{"text": "', many(b"the new york ", 4_000_000), b'"}'),
        texts,
    ),
    Case("CSV corpus: a field of 50 MB", "a.csv", within(b"text\n", many(b"the new york ", 4_000_000), b"\n"), texts),
    Case("CSV corpus: a million rows", "a.csv", within(b"text\n", many(b"the new york\n", 1_000_000), b""), texts),
    Case("CSV corpus: a million columns", "a.csv", within(b"text", many(b",a", 1_000_000), b"\n"), texts, valid=False),
    Case(
        "CSV corpus: a quote that never ends",
        "a.csv",
        within(b'text\n"', many(b"a b\n", 10_000_000), b""),
        texts,
        valid=False,
        whole=True,
    ),
    Case("JSONL corpus: a line that nests", "a.jsonl", within(b'{"text": "a"}\n', nested, b"\n"), texts, valid=False),
    Case("encode: 30 MB of words", "a.txt", many(b"the new york ", 2_300_000), one_document, objects=6_900_000),
    Case("encode: a word of 100 MB", "a.txt", many(b"a", 100_000_000), one_document),
    Case(
        "vocabulary: a million pieces",
        "vocab.txt",
        lambda scale: (f"p{n}\n".encode() for n in range(int(1e6 * scale))),
        read_vocabulary,
        objects=1_000_000,
    ),
    Case("vocabulary: a piece of 100 MB", "vocab.txt", within(b"a\n", many(b"b", 100_000_000), b"\n"), read_vocabulary),
    Case("vocabulary: one piece a million times", "vocab.txt", many(b"a\n", 1_000_000), read_vocabulary, valid=False),
    Case("TSV: a million rows", "a.csv", rows(b"a fine day,1\n", 1_000_000), examples("sentence"), objects=1_000_000),
    Case(
        "TSV: a field of 50 MB",
        "a.csv",
        within(b"text,label\n", many(b"x ", 25_000_000), b",1\n"),
        examples("sentence"),
    ),
    Case(
        "CSV: a quote that never ends",
        "a.csv",
        within(b'text,label\n"', many(b"a b\n", 10_000_000), b""),
        examples("sentence"),
        valid=False,
        whole=True,
    ),
    Case(
        "JSONL: a million rows",
        "a.jsonl",
        many(b'{"text": "a fine day", "label": 1}\n', 1_000_000),
        examples("sentence"),
        objects=1_000_000,
    ),
    Case(
        "CoNLL: a sentence of a million words",
        "a.conll",
        many(b"EU B-ORG\n", 1_000_000),
        examples("tokens"),
        objects=1_000_000,
    ),
    Case(
        "CoNLL: a million sentences", "a.conll", many(b"EU B-ORG\n\n", 1_000_000), examples("tokens"), objects=1_000_000
    ),
    Case(
        "SQuAD: 50 MB of paragraphs",
        "a.json",
        within(b'{"data": [{"title": "t", "paragraphs": [' + PARAGRAPH, many(b", " + PARAGRAPH, 150_000), b"]}]}"),
        examples("squad"),
        objects=750_000,
    ),
    Case(
        "SQuAD: a context of 50 MB",
        "a.json",
        within(
            b'{"data": [{"title": "t", "paragraphs": [{"qas": [' + QUESTION + b'], "context": "' + CONTEXT.encode(),
            many(b" the town", 5_000_000),
            b'"}]}]}',
        ),
        examples("squad"),
    ),
    Case("SQuAD: nested", "a.json", nested, examples("squad"), valid=False),
    Case("config.json: nested", "config.json", nested, read_config, valid=False),
    Case(
        "config.json: 30,000 layers",
        "config.json",
        huge_config(num_hidden_layers=30_000),
        bert,
        valid=False,
        beside=weights,
    ),
    Case(
        "config.json: a vocabulary of 10^15",
        "config.json",
        huge_config(vocab_size=10**15),
        bert,
        valid=False,
        beside=weights,
    ),
    Case(
        "config.json: a number of five million digits",
        "config.json",
        within(b'{"hidden_size": ', many(b"1", DEEP), b"}"),
        read_config,
        valid=False,
    ),
    Case(
        "config.json: a billion labels",
        "config.json",
        huge_config(num_labels=10**9, architectures=["BertForSequenceClassification"]),
        read_config,
        valid=False,
    ),
    Case(
        "tokenizer_config.json: nested", "tokenizer_config.json", nested, read_tokenizer, valid=False, beside=vocabulary
    ),
    Case("tokenizer.json: nested", "tokenizer.json", nested, read_tokenizer, valid=False, beside=vocabulary),
    Case("task.json: nested", "task.json", nested, read_task, valid=False),
    Case("manifest.json: nested", "manifest.json", nested, manifest, valid=False),
    Case("manifest.json: 100 MB", "manifest.json", many(b" ", 100_000_000), manifest, valid=False),
    Case("state.json: nested", "state.json", nested, state, valid=False),
    Case(
        "metrics.jsonl: a line that nests",
        "metrics.jsonl",
        within(b'{"kind": "train", "step": 1}\n', nested, b"\n{}\n"),
        read_metrics,
        valid=False,
    ),
    Case(
        "metrics.jsonl: a million lines",
        "metrics.jsonl",
        many(b'{"kind": "train", "step": 1, "loss": 2.5}\n', 1_000_000),
        read_metrics,
        objects=1_000_000,
    ),
    Case(
        "safetensors: a header of 2^63 bytes",
        "model.safetensors",
        lambda _scale: [struct.pack("<Q", 2**63), b"{}"],
        tensors,
        valid=False,
    ),
    Case(
        "safetensors: a header of 100 MB",
        "model.safetensors",
        within(struct.pack("<Q", 100_000_000), many(b" ", 100_000_000), b""),
        tensors,
        valid=False,
    ),
    Case(
        "safetensors: a header that nests",
        "model.safetensors",
        within(struct.pack("<Q", DEEP), nested, b""),
        tensors,
        valid=False,
    ),
    Case("index.json: nested", "model.safetensors.index.json", nested, tensors, valid=False),
)
