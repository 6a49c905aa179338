"""Task data and corpora: valid files, entry points and oracles."""

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fuzz import mutators as m
from benchmarks.fuzz.reader import ANY

ROWS = [("text", "label"), ("a fine day", "1"), ("no, not so", "0"), ('she said "no"', "1"), ("Zürich\u2028 東", "0")]


def csv_of(rows: list[tuple[str, ...]], delimiter: str = ",") -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


TSV = "".join("\t".join(row) + "\n" for row in ROWS).encode()
JSONL = "".join(json.dumps(dict(zip(ROWS[0], row, strict=True))) + "\n" for row in ROWS[1:]).encode()
CONLL = b"EU B-ORG\nrejects O\nGerman B-MISC\n\nPeter B-PER\nBlackburn I-PER\n\n1996 O\n"
CONTEXT = "The Aare leaves Lake Thun near the town and turns north."
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "q1", "question": "Which lake?", "answers": [{"text": "Lake Thun", "answer_start": 16}]},
                        {"id": "q2", "question": "Which way?", "answers": [{"text": "north", "answer_start": 50}]},
                    ],
                }
            ],
        }
    ],
}


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
            rows = [
                row
                for row in csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter, strict=True)
                if row
            ]
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
    """Blocks of lines with spaces or tabs between a word and its label, as `datasets` reads conll2003."""
    text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
    lines = (text.replace("\r", "\n") if "\n" not in text else text).split("\n")
    tabs = any("\t" in line for line in lines)
    blocks: list[list[list[str]]] = [[]]
    for line in lines:
        parts = line.split("\t") if "\t" in line and tabs else [part for part in line.split(" ") if part]
        if not line.strip():
            blocks.append([])
        elif not (line.startswith("#") and not blocks[-1] and len(parts) != 2):
            blocks[-1].append([part.strip() for part in parts])
    from minibert.tasks.readers.labels import canonical

    return [
        json.dumps({"words": [row[0] for row in b], "labels": [canonical(row[-1]) for row in b]}) for b in blocks if b
    ]


def squad_rows(folder: Path, file: str) -> Any:
    document = json.loads((folder / file).read_bytes().decode().removeprefix("\ufeff"))
    found = []
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for entry in paragraph["qas"]:
                answers = [{"text": a["text"], "start": int(a["answer_start"])} for a in entry["answers"]]
                found.append(
                    json.dumps(
                        {
                            "identity": None if entry.get("id") is None else str(entry["id"]),
                            "question": str(entry["question"]),
                            "context": paragraph["context"],
                            "answers": answers,
                        }
                    )
                )
    return found


PROSE = "The first line. And more.\nSecond line, ü 東.\n\nA new document begins here.\nIt ends.\n\nThe last one.\n"
RECORDS = [
    {"text": "The first. And more.", "id": "a"},
    {"text": "Second\nline ü", "id": "b"},
    {"text": "third", "id": "c"},
]


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
    packed = {
        "a.txt.gz": gzip.compress(data, mtime=0),
        "a.txt.bz2": bz2.compress(data),
        "a.txt.xz": lzma.compress(data),
    }
    packed["a.txt.zst"] = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    return [({name: content}, name) for name, content in packed.items()]


def inside(mutate: m.Mutator) -> m.Mutator:
    """A mutator that changes what a compressed file contains."""

    def change(random_of: random.Random, data: bytes) -> bytes:
        import bz2
        import lzma

        import zstandard

        if data.startswith(b"BZh"):
            return bz2.compress(mutate(random_of, bz2.decompress(data)), random_of.randint(1, 9))
        if data.startswith(b"\xfd7z"):
            return lzma.compress(mutate(random_of, lzma.decompress(data)), preset=random_of.randint(0, 2))
        if data.startswith(b"\x1f\x8b"):
            return gzip.compress(mutate(random_of, gzip.decompress(data)), random_of.randint(0, 9), mtime=0)
        return zstandard.ZstdCompressor(random_of.randint(1, 9)).compress(mutate(random_of, zstandard.decompress(data)))

    return change


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
    return [text for text in texts if text is not None and text.strip()]


def table_texts(folder: Path, file: str) -> Any:
    text = (folder / file).read_bytes().decode().removeprefix("\ufeff")
    rows = [
        r
        for r in csv.reader(io.StringIO(text, newline=""), delimiter="\t" if file.endswith("tsv") else ",", strict=True)
        if r
    ]
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return [record["text"] for record in records if record["text"].strip()]


def pandas_texts(folder: Path, file: str) -> Any:
    import pandas

    return [text for text in pandas.read_parquet(folder / file)["text"].tolist() if text and text.strip()]
