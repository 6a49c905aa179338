"""`minibert vocab`: what it writes, and that nothing is lost where it cannot."""

import os

import pytest

from minibert import cli
from minibert.text import Tokenizer

TEXT = "The state of the Union is strong.\n\nThe Union of the states is stronger than the states.\n" * 3


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_the_folder_holds_a_tokenizer_for_the_text(tmp_path, corpus, capsys):
    out = tmp_path / "vocabulary"
    assert cli.main(["vocab", str(corpus), "--size", "60", "--out", str(out)]) == 0
    assert sorted(os.listdir(out)) == ["tokenizer_config.json", "vocab.txt"]
    tokenizer = Tokenizer.load(out)
    assert tokenizer.lowercase
    assert {"the", "union", "states"} <= set(tokenizer.encode("The Union states").tokens)
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress bar where nobody looks
    assert printed.out.startswith(f"{len(tokenizer)} entries learnt in ")
    assert printed.out.endswith("for example: the state of the union is strong .\n")


def test_cased_keeps_capitals_apart(tmp_path, corpus):
    out = tmp_path / "vocabulary"
    assert cli.main(["vocab", str(corpus), "--size", "60", "--cased", "--out", str(out)]) == 0
    tokenizer = Tokenizer.load(out)
    assert not tokenizer.lowercase
    assert {"The", "the", "Union"} <= set(tokenizer.vocabulary)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json"])
def test_a_vocabulary_that_is_there_is_kept(tmp_path, corpus, capsys, name):
    (tmp_path / name).write_text("precious")
    assert cli.main(["vocab", str(corpus), "--out", str(tmp_path)]) == 2
    message = f"minibert: error: {tmp_path / name} already exists; choose another --out or delete it\n"
    assert capsys.readouterr().err == message
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", [], "is empty"),
        (b"abc\xff\n", [], "is not UTF-8: byte 0xff at offset 3"),
        (b"some words\n", ["--size", "8"], "a vocabulary of 8 is too small"),
        (b"some words\n", ["--size", "0"], "--size is 0; expected at least 1"),
        (None, [], "no such corpus"),
    ],
)
def test_bad_input_is_told_in_one_line_and_nothing_is_written(tmp_path, capsys, content, options, message):
    corpus, out = tmp_path / "corpus.txt", tmp_path / "vocabulary"
    if content is not None:
        corpus.write_bytes(content)
    assert cli.main(["vocab", str(corpus), "--out", str(out), *options]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1
    assert not out.exists()


def test_out_must_be_a_folder(tmp_path, corpus, capsys):
    assert cli.main(["vocab", str(corpus), "--out", str(corpus)]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err
    assert corpus.read_text(encoding="utf-8") == TEXT
