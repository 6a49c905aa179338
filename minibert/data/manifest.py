"""The manifest of a folder of token shards, which describes its files; everything in it is checked before it is used.

Its checksums find damage.  They are no protection from somebody who alters a file and computes them again, so names,
sizes, counts, the sentences' and documents' addresses and the token ids are checked as well.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.field_types import shown
from minibert.base.files import sha256_of
from minibert.base.numbers import is_count

FORMAT = "minibert token shards, version 1"
MANIFEST = "manifest.json"
SENTENCES, DOCUMENTS, HASHES, RECORDS = "sentences.bin", "documents.bin", "hashes.bin", "documents.jsonl"
TOKENS = "tokens-{:05d}.bin"
MOST_BYTES = 1 << 24  # of a manifest: enough for 100,000 files
AT_A_TIME = 1 << 20  # numbers checked at a time


def dtype_of(vocabulary_size: int) -> np.dtype:
    """The dtype of token ids on disk."""
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of shards; its names, sizes and counts fit together.

    Raises FileNotFoundError if there is no manifest, ValueError, naming the file, for one that is damaged or altered.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no token shards in {folder}: {MANIFEST} is missing")
    cure = f"delete the folder {folder} and write it again"
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("too large")
        manifest = json.loads(path.read_bytes().decode("utf-8"))
        if manifest["format"] != FORMAT or manifest["sha256"] != manifest_sha256(manifest):
            raise ValueError("altered")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged or of another version (expected {FORMAT}); {cure}") from None
    if problem := problem_of(manifest):
        raise ValueError(f"{path}: {problem}; {cure}")
    return manifest


def manifest_sha256(manifest: dict[str, Any]) -> str:
    """The SHA-256 of everything in the manifest except this checksum."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def token_files(manifest: dict[str, Any]) -> list[str]:
    """The names of the files of token ids, in order."""
    return [TOKENS.format(number) for number in range(len(manifest["files"]) - 4)]


def problem_of(manifest: dict[str, Any]) -> str | None:
    """The first thing in a manifest that does not fit, in words; None if everything does."""
    vocabulary, counts, files = (manifest.get(key) for key in ("vocabulary", "counts", "files"))
    if (
        not isinstance(vocabulary, dict)
        or not is_count(vocabulary.get("size"))
        or not 0 < vocabulary["size"] <= 1 << 32
    ):
        return "vocabulary has no size"
    dtype = dtype_of(vocabulary["size"])
    if manifest.get("dtype") != dtype.str:
        return f"dtype is {shown(manifest.get('dtype'))}; expected {dtype.str!r} for {vocabulary['size']:,} pieces"
    names = ("documents", "sentences", "tokens")
    if not isinstance(counts, dict) or not all(
        is_count(counts.get(name)) for name in (*names, *({"cut"} & set(counts)))
    ):
        return f"counts is {shown(counts)}; expected numbers of documents, sentences and tokens"
    if (
        not 1 <= counts["documents"] <= counts["sentences"] <= counts["tokens"]
        or counts.get("cut", 0) > counts["documents"]
    ):
        return f"counts is {shown(counts)}, but each document has a sentence, and each sentence a token"
    if not isinstance(files, dict) or len(files) < 5:
        return "files is not a list of files"
    sizes = {SENTENCES: 8 * (counts["sentences"] + 1), DOCUMENTS: 8 * (counts["documents"] + 1)}
    sizes[HASHES] = 16 * counts["documents"]
    expected = [*sizes, RECORDS, *token_files(manifest)]
    if unknown := sorted(set(files) - set(expected)):
        return f"the file {shown(unknown[0])} is none of {', '.join(expected[:5])} and so on"
    for name, entry in files.items():
        known = isinstance(entry, dict) and is_count(entry.get("bytes")) and isinstance(entry.get("sha256"), str)
        if not known or not re.fullmatch("[0-9a-f]{64}", entry["sha256"]):
            return f"{name} is {shown(entry)}; expected its number of bytes and its SHA-256"
        if entry["bytes"] != sizes.get(name, entry["bytes"]):
            return f"{name} has {entry['bytes']:,} bytes, but the counts require {sizes[name]:,}"
        if name in token_files(manifest) and (entry["bytes"] == 0 or entry["bytes"] % dtype.itemsize):
            return f"{name} has {entry['bytes']:,} bytes; expected numbers of {dtype.itemsize} bytes"
    if sum(files[name]["bytes"] for name in token_files(manifest)) != dtype.itemsize * counts["tokens"]:
        return f"the files of tokens do not have {counts['tokens']:,} tokens"
    return None


def check_files(folder: Path, manifest: dict[str, Any], verify: bool) -> None:
    """Raise ValueError if a file of the manifest is missing, leads out of the folder, or has another size or content.

    verify: whether to compare the checksums.
    """
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            problem = "is missing"
        elif path.resolve().parent != folder.resolve():
            problem = "is a link to another folder"
        elif path.stat().st_size != expected["bytes"]:
            problem = f"has {path.stat().st_size:,} bytes instead of {expected['bytes']:,}"
        elif verify and sha256_of(path) != expected["sha256"]:
            problem = "does not match its SHA-256 in the manifest"
        else:
            continue
        raise damaged(path, problem)


def check_addresses(folder: Path, documents: np.ndarray, sentences: np.ndarray, shards: np.ndarray) -> None:
    """Raise ValueError unless the addresses ascend from 0 to the number of what they count.

    documents: int64 [documents + 1], each document's first sentence; sentences: int64 [sentences + 1], each sentence's
    first token; shards: int64 [shards + 1], each file's first token.  A document lies within one file.
    """
    for name, starts, count in ((SENTENCES, sentences, shards[-1]), (DOCUMENTS, documents, len(sentences) - 1)):
        if starts[0] != 0 or starts[-1] != count or not all(ascends(part) for part in parts_of(starts)):
            raise damaged(folder / name, f"does not ascend from 0 to {count:,}")
    first = np.searchsorted(sentences, shards)  # the sentence with which each file begins
    if not np.array_equal(sentences[first], shards) or not np.isin(first, documents).all():
        raise damaged(folder / DOCUMENTS, "has a document that lies in two files of tokens")


def check_tokens(path: Path, ids: np.ndarray, vocabulary_size: int) -> None:
    """Raise ValueError if a file's token ids [tokens] are not all below the vocabulary's size."""
    for part in parts_of(ids):
        if part.max() >= vocabulary_size:
            raise damaged(path, f"has the token id {part.max()}, but the vocabulary only {vocabulary_size:,} pieces")


def parts_of(numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array, each of which begins with the last number of the part before."""
    for begin in range(0, len(numbers), AT_A_TIME):
        yield numbers[max(begin - 1, 0) : begin + AT_A_TIME]


def ascends(numbers: np.ndarray) -> bool:
    return bool((numbers[1:] > numbers[:-1]).all())


def damaged(path: Path, problem: str) -> ValueError:
    return ValueError(f"damaged token shard: {path} {problem}; delete the folder {path.parent} and write it again")
