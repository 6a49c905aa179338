"""Token shards: a tokenised corpus on disk, memory-mapped, so that it may be larger than memory.

    manifest.json         a description of the folder: vocabulary, counts, size and SHA-256 of each other file
    tokens-00000.bin ...  the token ids of all sentences of all documents, concatenated; uint16, or uint32
                          when the vocabulary has more than 65,536 entries; a document lies within one shard
    sentences.bin         int64, the index of each sentence's first token among all tokens; then the number of tokens
    documents.bin         int64, the number of each document's first sentence; then the number of sentences
    hashes.bin            uint64 [documents, 2], the hashes of group and name that decide what is held out
    documents.jsonl       name, group and metadata of each document

All numbers are little-endian.  A folder is complete or absent, because it is written under another name and renamed
once every byte is on disk.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from minibert.base.arrays import DTypeLike
from minibert.base.folders import new_folder
from minibert.data.corpus import Document
from minibert.data.documents import DocumentSet
from minibert.data.held_out import HELD_OUT_SHARE, split_documents, stable_hash
from minibert.data.manifest import (
    DOCUMENTS,
    FORMAT,
    HASHES,
    MANIFEST,
    RECORDS,
    SENTENCES,
    TOKENS,
    check_addresses,
    check_files,
    check_tokens,
    damaged,
    dtype_of,
    manifest_sha256,
    read_manifest,
    token_files,
)
from minibert.data.tokenizing import cut_lengths, tokenize_documents
from minibert.text import Tokenizer

SHARD_TOKENS = 1 << 26  # number of tokens after which a new shard begins


class Shards:
    """A folder of token shards, opened for reading.  Data is read on demand."""

    def __init__(self, folder: str | Path, tokenizer: Tokenizer | None = None, *, verify: bool = True) -> None:
        """Open the shards in a folder.

        folder: made by write_shards; tokenizer: if given, the shards must have been made with it; verify: whether to
        compare the files' checksums, and the token ids with the vocabulary's size.
        Raises FileNotFoundError when there are no shards, ValueError when they are damaged or made with
        another tokenizer.
        """
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        if tokenizer is not None:
            self.check_vocabulary(tokenizer)
        check_files(self.folder, self.manifest, verify)
        self.sentence_starts = self._map(SENTENCES, np.dtype("<i8"))
        self.document_starts = self._map(DOCUMENTS, np.dtype("<i8"))
        size = self.manifest["vocabulary"]["size"]
        names = token_files(self.manifest)
        self._shards = [self._map(name, dtype_of(size)) for name in names]
        self._shard_starts = np.cumsum([0] + [len(shard) for shard in self._shards])
        check_addresses(self.folder, self.document_starts, self.sentence_starts, self._shard_starts)
        for name, shard in zip(names, self._shards, strict=True) if verify else ():
            check_tokens(self.folder / name, shard, size)

    def __repr__(self) -> str:
        counts = self.manifest["counts"]
        return f"<Shards {self.folder}: {counts['documents']:,} documents, {counts['tokens']:,} tokens>"

    def read(self, start: int, stop: int) -> np.ndarray:
        """A view of the tokens with addresses start to stop - 1, which must lie within one document."""
        shard = np.searchsorted(self._shard_starts, start, side="right") - 1
        offset = self._shard_starts[shard]
        return self._shards[shard][start - offset : stop - offset]

    @property
    def cut_documents(self) -> int:
        """The number of documents of one sentence that were cut; 0 in shards of earlier versions, which cut none."""
        return self.manifest["counts"].get("cut", 0)

    def count(self, token_id: int) -> int:
        """The number of times that a token occurs."""
        return sum(int(np.count_nonzero(shard == token_id)) for shard in self._shards)

    def all(self) -> DocumentSet:
        """The set of all documents."""
        return DocumentSet(self, np.arange(self.manifest["counts"]["documents"]))

    def split(self, share: float = HELD_OUT_SHARE, tune: bool = False) -> tuple[DocumentSet, DocumentSet]:
        """The documents to train on and the held-out documents; see minibert.data.held_out.

        tune: evaluate on documents that would otherwise be trained on, about as many as are held out, and use the
        held-out ones for nothing.  Raises ValueError if the corpus is too small for that.
        """
        hashes = self._map(HASHES, np.dtype("<u8")).reshape(-1, 2)
        counts = self.all().token_counts
        rest, evaluated_on = split_documents(hashes, counts, share, tune)
        return DocumentSet(self, rest), DocumentSet(self, evaluated_on)

    def records(self) -> Iterator[dict]:
        """The name, group and metadata of each document, in order.  Raises ValueError, naming the line, for others."""
        path, count, number = self.folder / RECORDS, self.manifest["counts"]["documents"], 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    record = json.loads(line.decode("utf-8"))
                    good = isinstance(record["name"], str) and isinstance(record["group"], str)
                except (ValueError, KeyError, TypeError, RecursionError):
                    good = False
                if not good or number > count:
                    raise damaged(path, f"has in line {number} no document with name and group, or one too many")
                yield record
        if number < count:
            raise damaged(path, f"has {number:,} documents instead of {count:,}")

    def _map(self, name: str, dtype: DTypeLike) -> np.ndarray:
        return np.asarray(np.memmap(self.folder / name, dtype, mode="r"))

    def check_vocabulary(self, tokenizer: Tokenizer) -> None:
        """Raise ValueError unless `tokenizer` gives the same ids as the tokenizer that made the shards."""
        if self.manifest["vocabulary"] != describe_vocabulary(tokenizer):
            raise ValueError(
                f"the token shards in {self.folder} were made with a different vocabulary or tokenizer options; "
                "write them again with this tokenizer, to another folder"
            )


def write_shards(
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    processes: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    progress: Callable | None = None,
    cut: bool = False,
) -> Shards:
    """Tokenise documents into a new folder of shards, and open it.

    processes: the number of processes (None: one per core, or one for a small corpus); the files do not depend on it.
    progress: called after each document with the document's number of characters.
    cut: whether to cut documents of one sentence, so that they have pairs; see cut_lengths.
    Raises FileExistsError when the folder exists, ValueError when the documents hold no text, OSError when the
    disk is full.  Whatever happens, the folder is complete or absent.
    """
    folder = Path(folder)
    dtype = dtype_of(len(tokenizer))
    with new_folder(folder) as partial, _Files(partial) as files:
        tokenized = tokenize_documents(documents, tokenizer, processes)
        counts = _write(tokenized, files, dtype, shard_tokens, progress, tokenizer.continuation if cut else None)
        manifest = {
            "format": FORMAT,
            "vocabulary": describe_vocabulary(tokenizer),
            "dtype": dtype.str,
            "counts": counts,
            "files": files.finish(),
        }
        manifest["sha256"] = manifest_sha256(manifest)
        files.append(MANIFEST, json.dumps(manifest, indent=2).encode())
        files.finish()
    return Shards(folder, verify=False)


def describe_vocabulary(tokenizer: Tokenizer) -> dict:
    """A description of the vocabulary and its options; shards require a tokenizer with the same description."""
    text = "\n".join(tokenizer.vocabulary).encode("utf-8", "surrogatepass")
    options = ("lowercase", "strip_accents", "tokenize_chinese_chars")
    return {
        "size": len(tokenizer),
        "sha256": hashlib.sha256(text).hexdigest(),
        **{option: getattr(tokenizer, option, None) for option in options},
    }


def _write(
    tokenized: Iterator,
    files: "_Files",
    dtype: DTypeLike,
    shard_tokens: int,
    progress: Callable | None,
    continuation: np.ndarray | None,
) -> dict[str, int]:
    """Write the documents one after the other, and return the counts of documents, sentences and tokens.

    continuation: bool [V], whether a token continues a word, to cut documents of one sentence; None to cut none.
    """
    tokens = sentences = number = shard = in_shard = cut = 0
    for document, ids, lengths in tokenized:
        if continuation is not None and len(lengths) == 1:
            lengths = cut_lengths(ids, continuation)
            cut += len(lengths) > 1
        if in_shard >= shard_tokens:
            shard, in_shard = shard + 1, 0
        files.append(TOKENS.format(shard), ids.astype(dtype))
        files.append(SENTENCES, (tokens + np.cumsum(lengths) - lengths).astype("<i8"))
        files.append(DOCUMENTS, np.array([sentences], "<i8"))
        files.append(HASHES, np.array([stable_hash(document.group), stable_hash(document.name)], "<u8"))
        record = {"name": document.name, "group": document.group, "metadata": document.metadata}
        files.append(RECORDS, (json.dumps(record) + "\n").encode())
        in_shard += len(ids)
        tokens += len(ids)
        sentences += len(lengths)
        number += 1
        if progress is not None:
            progress(len(document.text))
    if not number:
        raise ValueError("the corpus contains no text, so there is nothing to write")
    files.append(SENTENCES, np.array([tokens], "<i8"))
    files.append(DOCUMENTS, np.array([sentences], "<i8"))
    counts = {"documents": number, "sentences": sentences, "tokens": tokens}
    return counts if continuation is None else {**counts, "cut": cut}


class _Files:
    """The files of one folder, opened when first written to; sizes and checksums are computed during writing."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._open, self._hashes = folder, {}, {}

    def append(self, name: str, data: Any) -> None:
        if name not in self._open:
            self._open[name], self._hashes[name] = (self.folder / name).open("wb"), hashlib.sha256()
        self._open[name].write(data)
        self._hashes[name].update(data)

    def finish(self) -> dict[str, dict[str, Any]]:
        """Flush every byte to disk, and return the files' entries in the manifest."""
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())
        return {
            name: {"bytes": file.tell(), "sha256": self._hashes[name].hexdigest()} for name, file in self._open.items()
        }

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            with suppress(OSError):  # a full disk has already been reported
                file.close()
