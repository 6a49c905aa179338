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


def test_the_share_of_unknown_tokens_is_printed_and_too_much_is_warned_of(tmp_path, capsys):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("aaa bbb aaa\nccc aaa bbb ✓\n", encoding="utf-8")
    assert cli.main(["vocab", str(corpus), "--size", "50", "--out", str(tmp_path / "all")]) == 0
    printed = capsys.readouterr().out
    assert "\n0.00% of the corpus's tokens are [UNK], 0.00% of its characters are outside the alphabet\n" in printed
    assert "warning" not in printed
    command = ["vocab", str(corpus), "--size", "50", "--limit-alphabet", "2", "--out", str(tmp_path / "few")]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "21.05% of its characters are outside the alphabet" in printed  # 3 c and a tick of 19 characters
    assert "the vocabulary lacks 2 of the corpus's characters, above all c ✓; raise --limit-alphabet" in printed
    tokens = [
        t
        for line in corpus.read_text(encoding="utf-8").split("\n")
        for t in Tokenizer.load(tmp_path / "few").encode(line).tokens[1:-1]
    ]
    share = tokens.count("[UNK]") / len(tokens)
    assert f"\n{share:.2%} of the corpus's tokens are [UNK]" in printed


@pytest.mark.parametrize("name, content", [("a.csv", "id,body\n1,two words\n"), ("a.jsonl", '{"body": "two words"}\n')])
def test_the_text_is_read_from_the_field_that_the_option_names(tmp_path, capsys, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    command = ["vocab", str(tmp_path / name), "--out", str(tmp_path / "out"), "--size", "40"]
    assert cli.main(command) == 2
    assert "--text-field" in capsys.readouterr().err
    assert cli.main([*command, "--text-field", "body"]) == 0
    printed = capsys.readouterr().out
    assert f"documents are the records of {name[2:].upper()}" in printed


def test_what_was_recognised_is_printed(tmp_path, corpus, capsys):
    assert cli.main(["vocab", str(corpus), "--size", "60", "--out", str(tmp_path / "out")]) == 0
    assert "\ndocuments are separated by blank lines, sentences end at " in capsys.readouterr().out
    command = ["vocab", str(corpus), "--size", "60", "--out", str(tmp_path / "lines"), "--documents", "line"]
    assert cli.main(command) == 0
    assert "in 6 documents" in capsys.readouterr().out


def test_out_must_be_a_folder(tmp_path, corpus, capsys):
    assert cli.main(["vocab", str(corpus), "--out", str(corpus)]) == 2
    assert "is a file; expected a folder" in capsys.readouterr().err
    assert corpus.read_text(encoding="utf-8") == TEXT
