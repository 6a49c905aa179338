"""Tokenise documents into sentences of token ids, in several processes but in the original order."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from minibert.base.cores import usable_cores
from minibert.data.corpus import Document
from minibert.text import Tokenizer, split_sentences

CHUNK_CHARACTERS = 1 << 20  # the amount that a process tokenises at a time: a fraction of a second of work
FEWEST_CHUNKS = 16  # a smaller corpus is almost done before other processes have started


def tokenize_documents(
    documents: Iterable[Document], tokenizer: Tokenizer, processes: int | None = None
) -> Iterator[tuple[Document, np.ndarray, np.ndarray]]:
    """Yield each document in order, with its token ids, uint32 [tokens], and its sentence lengths, int64 [sentences].

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
        ((chunk, _tokenize([document.text for document in chunk], tokenizer)) for chunk in chunks)
        if processes == 1
        else _in_processes(chunks, tokenizer, processes)
    )
    for chunk, results in tokenized:
        for document, (ids, lengths) in zip(chunk, results, strict=True):
            if len(ids):
                yield document, ids, lengths


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk, size = [], 0
    for document in documents:
        chunk.append(document)
        size += len(document.text)
        if size >= CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _tokenize(texts: Iterable[str], tokenizer: Tokenizer) -> list[tuple[np.ndarray, np.ndarray]]:
    """The (ids, sentence lengths) of each text."""
    results = []
    for text in texts:
        sentences = [tokenizer.tokenize_ids(sentence) for sentence in split_sentences(text)]
        sentences = [sentence for sentence in sentences if sentence]
        ids = np.array(list(itertools.chain.from_iterable(sentences)), np.uint32)
        results.append((ids, np.array([len(sentence) for sentence in sentences], np.int64)))
    return results


def _in_processes(chunks: Iterable[list[Document]], tokenizer: Tokenizer, processes: int) -> Iterator:
    """Call _tokenize for each chunk, in several processes, with at most two chunks per process in flight."""
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_begin_process, initargs=(tokenizer,)
    )
    under_way = deque()
    try:
        for chunk in chunks:
            under_way.append((chunk, pool.submit(_tokenize_here, [document.text for document in chunk])))
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


def _tokenize_here(texts: Iterable[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    return _tokenize(texts, _tokenizer_of_this_process)
