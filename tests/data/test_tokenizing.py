"""minibert.data.tokenizing: when several processes tokenise a corpus."""

import pytest

from minibert.data import tokenizing
from minibert.data.document import Document
from minibert.text import Tokenizer
from tests.text.random_text import telling_vocabulary


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_only_a_corpus_of_enough_chunks_is_split_among_processes(more, monkeypatch):
    asked = []

    def in_processes(chunks, tokenizer, processes):
        asked.append(processes)
        return ((chunk, tokenizing._tokenize(tokenizing._texts_of(chunk), tokenizer)) for chunk in chunks)

    monkeypatch.setattr(tokenizing, "CHUNK_CHARACTERS", 1)  # one document a chunk
    monkeypatch.setattr(tokenizing, "usable_cores", lambda: 3)
    monkeypatch.setattr(tokenizing, "_in_processes", in_processes)
    documents = [Document("one", "one", "one .")] * (tokenizing.FEWEST_CHUNKS + more)
    done = list(tokenizing.tokenize_documents(documents, Tokenizer(telling_vocabulary())))
    assert len(done) == len(documents)
    assert asked == ([] if more < 0 else [3])


def test_a_chunk_ends_with_the_document_that_fills_it(monkeypatch):
    monkeypatch.setattr(tokenizing, "CHUNK_CHARACTERS", 5)
    monkeypatch.setattr(tokenizing, "DOCUMENT_CHARACTERS", 0)
    lengths = [5, 5, 2, 2, 1, 4]
    chunks = tokenizing._chunks(Document("one", "one", "x" * length) for length in lengths)
    assert [[len(document.text) for document in chunk] for chunk in chunks] == [[5], [5], [2, 2, 1], [4]]


def test_short_documents_fill_a_chunk_too(monkeypatch):
    monkeypatch.setattr(tokenizing, "CHUNK_CHARACTERS", 2 * tokenizing.DOCUMENT_CHARACTERS)
    chunks = tokenizing._chunks(Document("one", "one", "x") for _ in range(5))
    assert list(map(len, chunks)) == [2, 2, 1]
