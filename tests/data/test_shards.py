"""Token shards: what is written is read, by any number of processes, complete or absent, and damage is seen."""

import json
import os
import platform
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from minibert.data import tokenizing
from minibert.data.corpus import Document
from minibert.data.shards import Shards, write_shards
from tests.data.helpers import FIRST, ToyTokenizer, numbered_documents, numbered_shards, random_lengths

LENGTHS = random_lengths(40)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return numbered_shards(tmp_path_factory.mktemp("corpus") / "shards", LENGTHS, shard_tokens=1000)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_everything_is_read_back(corpus):
    shards, _ = corpus
    total = sum(map(sum, LENGTHS))
    assert shards.manifest["counts"] == {"documents": 40, "sentences": sum(map(len, LENGTHS)), "tokens": total}
    assert len([name for name in shards.manifest["files"] if name.startswith("tokens-")]) > 3
    everything = shards.all()
    assert everything.tokens == total and everything.sentences == sum(map(len, LENGTHS))
    address = 0
    for number, lengths in enumerate(LENGTHS):
        assert np.array_equal(everything.read(number), FIRST + address + np.arange(sum(lengths)))
        first = everything.first_sentences[number]
        starts = shards.sentence_starts[first : first + len(lengths) + 1]
        assert np.array_equal(starts, address + np.cumsum([0, *lengths]))
        address += sum(lengths)
    record = list(shards.records())[7]
    assert record == {"name": "document 7", "group": "group 3", "metadata": {"number": 7}}


@pytest.mark.parametrize("size, dtype", [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_ids_take_two_bytes_where_they_fit(tmp_path, size, dtype):
    documents = [Document("a", "a", f"w5 w{size - 1}")]
    shards = write_shards(documents, ToyTokenizer(size), tmp_path / "shards", processes=1)
    assert shards.all().read(0).dtype == dtype and shards.all().read(0).tolist() == [5, size - 1]


def test_sentences_and_documents_without_tokens_are_left_out(tmp_path):
    documents = [Document("a", "a", "..."), Document("b", "b", "w5\n\n?!\n\nw6 w7"), Document("c", "c", "-")]
    shards = write_shards(documents, ToyTokenizer(), tmp_path / "shards", processes=1)
    assert shards.manifest["counts"] == {"documents": 1, "sentences": 2, "tokens": 3}
    assert shards.sentence_starts.tolist() == [0, 1, 3] and shards.document_starts.tolist() == [0, 2]


def test_several_processes_write_the_same_files(corpus, tmp_path, monkeypatch):
    shards, tokenizer = corpus
    monkeypatch.setattr(tokenizing, "CHUNK_CHARACTERS", 3000)
    write_shards(numbered_documents(LENGTHS), tokenizer, tmp_path / "two", processes=2, shard_tokens=1000)
    assert contents(tmp_path / "two") == contents(shards.folder)


def test_groups_are_held_out_whole(corpus):
    shards, _ = corpus
    train, held_out = shards.split(0.2)
    assert sorted([*train.numbers, *held_out.numbers]) == list(range(40))
    assert len(held_out.groups) >= 1 and not set(train.groups) & set(held_out.groups)
    assert [record["name"] for record in held_out.records()] == [f"document {i}" for i in held_out.numbers]
    for index, number in enumerate(held_out.numbers):
        assert np.array_equal(held_out.read(index), shards.all().read(number))


def test_documents_for_tuning_are_neither_trained_on_nor_held_out(corpus):
    shards, _ = corpus
    train, held_out = shards.split(0.2)
    less, tuning = shards.split(0.2, tune=True)
    everything = [*less.numbers, *tuning.numbers, *held_out.numbers]
    assert sorted(everything) == list(range(40)) and len(tuning) >= 1
    assert set(less.numbers) | set(tuning.numbers) == set(train.numbers)
    assert not set(less.groups) & set(tuning.groups)


def test_a_corpus_too_small_for_tuning_is_refused(tmp_path):
    shards = write_shards(list(numbered_documents([[3, 4], [5, 6]])), ToyTokenizer(), tmp_path / "shards")
    with pytest.raises(ValueError, match="too small to set documents aside for --tune"):
        shards.split(0.2, tune=True)


def test_progress_counts_characters(tmp_path):
    seen = []
    documents = list(numbered_documents([[3, 4], [5]]))
    write_shards(documents, ToyTokenizer(), tmp_path / "shards", progress=seen.append)
    assert seen == [len(document.text) for document in documents]


def test_only_a_few_chunks_are_under_way(monkeypatch):
    """A corpus larger than memory is never read far ahead of what has been written."""
    monkeypatch.setattr(tokenizing, "CHUNK_CHARACTERS", 1)
    read = []

    def documents():
        for document in numbered_documents([[2]] * 200):
            read.append(document)
            yield document

    for written, _ in enumerate(tokenizing.tokenize_documents(documents(), ToyTokenizer(), 2)):
        assert len(read) <= written + tokenizing.FEWEST_CHUNKS + 2
    assert len(read) == 200


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flipped bit":
        data[len(data) // 2] ^= 1
    elif how == "shorter":
        del data[-1:]
    elif how == "longer":
        data += b"\0"
    path.unlink()
    if how != "missing":
        path.write_bytes(data)


@pytest.mark.parametrize("how", ["flipped bit", "shorter", "longer", "missing"])
def test_damage_to_any_file_is_seen(tmp_path, how):
    shards, _ = numbered_shards(tmp_path / "shards", random_lengths(5))
    whole = contents(shards.folder)
    for name in whole:
        damage(shards.folder / name, how)
        expected = FileNotFoundError if (how, name) == ("missing", "manifest.json") else ValueError
        if (how, name) == ("longer", "manifest.json"):
            (shards.folder / name).write_bytes(whole[name] + b"}")
        with pytest.raises(expected) as error:
            Shards(shards.folder)
        assert name in str(error.value) and "\n" not in str(error.value)
        assert expected is FileNotFoundError or "write it again" in str(error.value)
        (shards.folder / name).write_bytes(whole[name])
    assert len(Shards(shards.folder).all()) == 5


def test_shards_of_another_vocabulary_are_refused(corpus):
    shards, tokenizer = corpus
    Shards(shards.folder, tokenizer)
    other = ToyTokenizer(len(tokenizer), every=8)
    cased = ToyTokenizer(len(tokenizer))
    cased.lowercase = False
    for wrong in (other, cased, ToyTokenizer(10)):
        with pytest.raises(ValueError, match="a different vocabulary"):
            Shards(shards.folder, wrong)


def test_existing_folders_are_not_touched(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "mine").write_text("precious")
    with pytest.raises(FileExistsError, match="already exists"):
        write_shards(numbered_documents([[3]]), ToyTokenizer(), tmp_path / "shards")
    assert contents(tmp_path / "shards") == {"mine": b"precious"}


def failing_documents():
    yield from numbered_documents([[3, 4]])
    raise ValueError("bad input")


@pytest.mark.parametrize("documents", [failing_documents(), [], [Document("a", "a", "...")]])
def test_a_failure_leaves_nothing(tmp_path, documents):
    with pytest.raises(ValueError, match="bad input|contains no text"):
        write_shards(documents, ToyTokenizer(), tmp_path / "shards")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: could not write .*shards") as error:
        write_shards(numbered_documents([[3, 4]]), ToyTokenizer(), tmp_path / "shards")
    assert error.value.errno == 28
    assert list(tmp_path.iterdir()) == []


SLOW_WRITER = """
import time
from minibert.data.shards import write_shards
from tests.data.helpers import ToyTokenizer, numbered_documents

def documents():
    for document in numbered_documents([[5] * 5] * 10_000):
        yield document
        time.sleep(0.001)

from minibert.data import tokenizing
tokenizing.CHUNK_CHARACTERS = 1000
write_shards(documents(), ToyTokenizer(), {folder!r}, processes={processes})
"""


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_no_shards_and_the_next_one_cleans_up(tmp_path, processes):
    folder = tmp_path / "shards"
    script = tmp_path / "writer.py"
    script.write_text(
        "if __name__ == '__main__':\n"
        + "".join(f"    {line}\n" for line in SLOW_WRITER.format(folder=str(folder), processes=processes).splitlines())
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    writer = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".shards.partial-*/tokens-00000.bin")):
        assert writer.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=30)  # its error output ends when the last process that holds it has ended
    assert not folder.exists() and list(tmp_path.glob(".shards.partial-*"))
    with pytest.raises(FileNotFoundError, match="no token shards"):
        Shards(folder)
    numbered_shards(folder, [[3, 4]])
    assert not list(tmp_path.glob(".shards.partial-*"))
    assert Shards(folder).manifest["counts"]["tokens"] == 7


def test_a_folder_that_is_being_written_is_left_alone(tmp_path):
    """Only what processes that are gone have left is removed."""
    prefix = f".shards.partial-{platform.node()}-"
    running = [tmp_path / f"{prefix}{os.getppid()}", tmp_path / ".shards.partial-elsewhere-1"]
    for folder in running:
        folder.mkdir()
    numbered_shards(tmp_path / "shards", [[3, 4]])
    assert all(folder.exists() for folder in running)


def test_the_manifest_tells_what_is_inside(corpus):
    shards, tokenizer = corpus
    manifest = json.loads((shards.folder / "manifest.json").read_text())
    assert manifest["vocabulary"]["size"] == len(tokenizer) and manifest["vocabulary"]["lowercase"] is True
    assert manifest["dtype"] == "<u2"
    on_disk = {path.name for path in shards.folder.iterdir()}
    assert on_disk == {*manifest["files"], "manifest.json"}


def test_no_process_is_refused():
    with pytest.raises(ValueError, match="at least 1 process"):
        next(tokenizing.tokenize_documents([], ToyTokenizer(), 0))


class DeadlyTokenizer(ToyTokenizer):
    """Ends its process like one that was killed for its memory."""

    def tokenize_ids(self, text):
        os._exit(1)


class FailingTokenizer(ToyTokenizer):
    def tokenize_ids(self, text):
        raise ValueError("cannot tokenise this")


@pytest.mark.parametrize(
    "tokenizer, error, message",
    [(DeadlyTokenizer(), RuntimeError, "process died"), (FailingTokenizer(), ValueError, "cannot tokenise this")],
)
def test_failures_in_other_processes_are_reported_and_leave_nothing(tmp_path, tokenizer, error, message):
    with pytest.raises(error, match=message):
        write_shards(numbered_documents([[3]] * 4), tokenizer, tmp_path / "shards", processes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words, pieces", [(1, [1]), (2, [1, 1]), (5, [2, 3]), (64, [32, 32]), (130, [43, 43, 44])])
def test_a_document_of_one_sentence_is_cut_between_words(tmp_path, words, pieces):
    tokenizer = ToyTokenizer(1000, every=10_000)
    documents = [Document("a", "a", " ".join(f"w{5 + i}" for i in range(words))), Document("b", "b", "w5\n\nw6 w7 w8")]
    shards = write_shards(documents, tokenizer, tmp_path / "shards", cut=True)
    assert np.diff(shards.sentence_starts).tolist() == [*pieces, 1, 3]
    assert shards.all().read(0).tolist() == list(range(5, 5 + words))
    assert shards.cut_documents == (words > 1)
    assert Shards(tmp_path / "shards").cut_documents == (words > 1)
    assert write_shards(documents, tokenizer, tmp_path / "whole").cut_documents == 0


def test_every_document_may_have_been_cut(tmp_path):
    documents = [Document("a", "a", "w5 w6"), Document("b", "b", "w7 w8")]
    write_shards(documents, ToyTokenizer(1000, every=10_000), tmp_path / "shards", cut=True)
    assert Shards(tmp_path / "shards").cut_documents == 2


def test_pieces_begin_at_words():
    continuation = np.zeros(200, bool)
    continuation[100:] = True  # token 100 and above continue a word
    generator = np.random.default_rng(0)
    for _ in range(200):
        ids = generator.integers(0, 200, generator.integers(1, 300)).astype(np.uint32)
        lengths = tokenizing.cut_lengths(ids, continuation)
        assert lengths.sum() == len(ids) and lengths.min() >= 1
        assert not continuation[ids[np.cumsum(lengths)[:-1]]].any()
    assert tokenizing.cut_lengths(np.array([1, 150, 151], np.uint32), continuation).tolist() == [3]


def test_what_ends_a_sentence_goes_along_with_the_document(tmp_path):
    text = "w5 w6? W w7\nw8"
    for ends, lengths in (("marks", [2, 2]), ("lines", [3, 1]), ("both", [2, 1, 1])):
        shards = write_shards([Document("a", "a", text, ends=ends)], ToyTokenizer(), tmp_path / ends)
        assert np.diff(shards.sentence_starts).tolist() == lengths, ends


def test_a_very_long_sentence_takes_little_memory(monkeypatch):
    """Tokens of a sentence are kept as numbers of four bytes, and its words are never all in memory."""
    import tracemalloc

    tokenizer = ToyTokenizer()
    text = "w5 w6 w7 w8 " * 100_000  # 1.2 MB
    monkeypatch.setattr(tokenizing, "SLICE", 10_000)
    tracemalloc.start()
    ((ids, lengths),) = tokenizing._tokenize([(text, "marks")], tokenizer)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(ids) == lengths[0] == 400_000
    assert peak < 6 * len(text)  # a list of its words alone takes 20 times as much
