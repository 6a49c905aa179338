"""Tokenise documents into sentences of token ids, in several processes but in the original order."""

import itertools
import multiprocessing
import os
import signal
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from minibert.base.cores import usable_cores
from minibert.base.processes import safe_path
from minibert.data.corpus import Document
from minibert.text import Tokenizer
from minibert.text.sentences import SentenceEnds, iterate_sentences
from minibert.text.slices import slices

PIECE = 64  # the largest number of tokens in a piece of a document of one sentence that is cut
SLICE = 1 << 16  # a longer sentence is tokenised in slices of about this many characters
CHUNK_CHARACTERS = 1 << 20  # the amount that a process tokenises at a time: a fraction of a second of work
DOCUMENT_CHARACTERS = 500  # what a document takes in memory beside its text, as a number of characters
FEWEST_CHUNKS = 16  # a smaller corpus is almost done before other processes have started


def tokenize_documents(
    documents: Iterable[Document], tokenizer: Tokenizer, processes: int | None = None
) -> Iterator[tuple[Document, np.ndarray, np.ndarray]]:
    """Yield each document in order, with its token ids and its sentence lengths, int64 [sentences].

    Token ids: [tokens], uint16 if the vocabulary has at most 65,536 pieces, otherwise uint32.

    processes: the number of processes; None for one per core, or for this process alone when the corpus is small.  The
    result does not depend on it.  Only a few chunks are in memory at any time.
    Documents and sentences without tokens are left out.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"tokenising needs at least 1 process, got {processes}")
    following = _chunks(documents)
    first = list(itertools.islice(following, FEWEST_CHUNKS))
    chunks = itertools.chain(first, following)
    if processes is None:
        processes = 1 if len(first) < FEWEST_CHUNKS else usable_cores()
    tokenized = (
        ((chunk, _tokenize(_texts_of(chunk), tokenizer)) for chunk in chunks)
        if processes == 1
        else _in_processes(chunks, tokenizer, processes)
    )
    for chunk, results in tokenized:
        for document, (ids, lengths) in zip(chunk, results, strict=True):
            if len(ids):
                yield document, ids, lengths


def cut_lengths(ids: np.ndarray, continuation: np.ndarray) -> np.ndarray:
    """Cut a sentence that is a whole document into nearly equal pieces of at most about 64 tokens, at least two.

    ids: token ids [tokens]; continuation: bool [V], whether a token continues a word.  Pieces begin at words, so a
    single word stays whole.  Returns their lengths, int64 [pieces].
    """
    words = np.flatnonzero(~continuation[ids[1:]]) + 1  # [words - 1], where the sentence may be cut
    if not len(words):
        return np.array([len(ids)], np.int64)
    pieces = max(2, -(-len(ids) // PIECE))
    wanted = np.arange(1, pieces) * len(ids) // pieces
    nearest = words[np.minimum(np.searchsorted(words, wanted), len(words) - 1)]
    return np.diff(np.unique(np.concatenate([[0], nearest, [len(ids)]]))).astype(np.int64)


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk, size = [], 0
    for document in documents:
        chunk.append(document)
        size += len(document.text) + DOCUMENT_CHARACTERS
        if size >= CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _texts_of(chunk: Iterable[Document]) -> list[tuple[str, SentenceEnds]]:
    return [(document.text, document.ends) for document in chunk]


def _tokenize(texts: Iterable[tuple[str, SentenceEnds]], tokenizer: Tokenizer) -> list[tuple[np.ndarray, np.ndarray]]:
    """The (ids, sentence lengths) of each text, given with what ends its sentences."""
    results = []
    small = len(tokenizer) <= 1 << 16
    for text, ends in texts:
        ids, lengths = array("H" if small else "I"), array("q")  # a few bytes per token, however long the text is
        for sentence in iterate_sentences(text, ends):
            before = len(ids)
            for part in slices(sentence, SLICE):
                ids.extend(tokenizer.tokenize_ids(part))
            if len(ids) > before:
                lengths.append(len(ids) - before)
        results.append((np.frombuffer(ids or b"", ids.typecode), np.frombuffer(lengths or b"", np.int64)))
    return results


def _in_processes(chunks: Iterable[list[Document]], tokenizer: Tokenizer, processes: int) -> Iterator:
    """Call _tokenize for each chunk, in several processes, with at most two chunks per process in flight."""
    with safe_path():
        pool = ProcessPoolExecutor(
            processes, multiprocessing.get_context("spawn"), initializer=_begin_process, initargs=(tokenizer,)
        )
    under_way = deque()
    try:
        for chunk in chunks:
            with safe_path():  # which may start a process
                under_way.append((chunk, pool.submit(_tokenize_here, _texts_of(chunk))))
            if len(under_way) == 2 * processes:
                done, future = under_way.popleft()
                yield done, future.result()
        for done, future in under_way:
            yield done, future.result()
    except BrokenProcessPool:
        raise RuntimeError(
            "a tokenising process died, perhaps from lack of memory or because the script lacks `if __name__ == "
            "'__main__':`; try again with processes=1"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_tokenizer_of_this_process: Tokenizer


def _begin_process(tokenizer: Tokenizer) -> None:
    """Initialise a worker process: keep the tokenizer, and exit when the parent process does."""
    global _tokenizer_of_this_process
    _tokenizer_of_this_process = tokenizer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and then ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(1)  # the parent was killed


def _tokenize_here(texts: Sequence[tuple[str, SentenceEnds]]) -> list[tuple[np.ndarray, np.ndarray]]:
    return _tokenize(texts, _tokenizer_of_this_process)
