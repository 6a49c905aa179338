"""`minibert encode` and `minibert search`: vectors in the order of the lines, and the nearest lines first."""

import gzip
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from minibert import cli
from minibert.commands.encode import read_lines
from minibert.data import from_padded
from minibert.inference.encode import encode
from minibert.models import Bert, BertConfig
from minibert.text import Tokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sun", "shines", "on", "a", "cat", "sleeps"]
LINES = ["the cat sleeps", "a", "the sun shines on the cat on the sun on a cat", "sun", "the sun shines"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=0.5,
    )
    Bert(config, "reference", seed=2).save_pretrained(folder)
    Tokenizer(VOCABULARY).save(folder)
    return folder


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n\n".join(LINES) + "\n")
    return path


def states_of(folder, line):
    """All hidden states of one line, computed alone."""
    model, tokenizer = Bert.from_pretrained(folder, "reference"), Tokenizer.load(folder)
    return model.hidden_states(from_padded([tokenizer.encode(line, max_length=16).ids]))


@pytest.mark.parametrize("layer", [-1, 0, 1])
@pytest.mark.parametrize("pooling", ["mean", "cls", "tokens"])
def test_each_line_has_the_vector_that_it_has_alone(folder, backend, pooling, layer):
    model, tokenizer = Bert.from_pretrained(folder, backend), Tokenizer.load(folder)
    vectors = encode(model, tokenizer, LINES, pooling=pooling, layer=layer)
    assert len(vectors) == len(LINES)
    for line, vector in zip(LINES, vectors, strict=True):
        states = states_of(folder, line)[layer]
        expected = {"mean": states.mean(axis=0), "cls": states[0], "tokens": states}[pooling]
        np.testing.assert_allclose(vector, expected, atol=2e-5)


def test_the_first_token_of_a_left_to_right_model_stands_for_nothing(folder):
    config = replace(BertConfig.load(folder), is_decoder=True)
    model, tokenizer = Bert(config, "reference"), Tokenizer.load(folder)
    with pytest.raises(ValueError, match="has seen nothing of the text; use mean"):
        encode(model, tokenizer, LINES, pooling="cls")
    assert encode(model, tokenizer, LINES).shape == (len(LINES), 8)


def test_files_of_both_kinds(folder, lines, tmp_path, capsys):
    assert cli.main(["encode", str(folder), str(lines), "--out", str(tmp_path / "v.npy"), "--normalise"]) == 0
    assert "5 vectors of length 8 from 5 lines" in capsys.readouterr().out
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.shape == (5, 8) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    out = tmp_path / "v.safetensors"
    assert cli.main(["encode", str(folder), str(lines), "--out", str(out), "--pooling", "tokens"]) == 0
    tensors = load_file(out)
    begin, end = tensors["cu_seqlens"][3:5]
    np.testing.assert_allclose(tensors["vectors"][begin:end], states_of(folder, "sun")[-1], atol=2e-5)


def test_lines_are_read_as_those_of_other_files_and_empty_ones_are_counted(folder, tmp_path, monkeypatch, capsys):
    for data in (b"the sun\n\n \nrain\n", b"\xef\xbb\xbfthe sun\r\n\r\n\r\nrain\r\n", b"the sun\r\r\rrain"):
        (tmp_path / "a.txt.gz").write_bytes(gzip.compress(data))
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        for name in (str(tmp_path / "a.txt.gz"), "-"):
            assert cli.main(["encode", str(folder), name, "--out", str(tmp_path / "v.npy")]) == 0
            assert "from 2 lines; 2 empty ones were skipped\n" in capsys.readouterr().out


def test_longer_texts_are_counted(folder, tmp_path, caplog):
    (tmp_path / "a.txt").write_text("\n".join("the " * number for number in (14, 15, 16, 3)))
    assert cli.main(["encode", str(folder), str(tmp_path / "a.txt"), "--out", str(tmp_path / "v.npy")]) == 0
    assert "2 of 4 texts are longer than 16 tokens, and cut off" in caplog.text


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "txt", "parquet"])
def test_a_column_of_texts(folder, tmp_path, ending):
    texts = ["the sun, at last", "a longer line of rain"]
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        path.write_text('id,review\n1,"the sun, at last"\n2,a longer line of rain\n')
    elif ending == "tsv":
        path.write_text("id\treview\n1\tthe sun, at last\n2\ta longer line of rain\n")
    elif ending == "parquet":
        pytest.importorskip("pandas").DataFrame({"id": [1, 2], "review": texts}).to_parquet(path)
    else:
        path.write_text("".join(json.dumps({"id": 1, "review": text}) + "\n" for text in texts))
    assert read_lines(str(path), "review") == (texts, 0)
    out = tmp_path / "v.npy"
    assert cli.main(["encode", str(folder), str(path), "--text-column", "review", "--out", str(out)]) == 0
    (tmp_path / "lines.txt").write_text("\n".join(texts))
    assert cli.main(["encode", str(folder), str(tmp_path / "lines.txt"), "--out", str(tmp_path / "w.npy")]) == 0
    assert np.array_equal(np.load(out), np.load(tmp_path / "w.npy"))


def test_the_nearest_lines_come_first(folder, lines, capsys):
    assert cli.main(["search", str(folder), str(lines), "the sun shines", "--top", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == " 1.0000  the sun shines" and float(second.split()[0]) < 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["encode", "{model}", "none.txt"], "no such file: none.txt"),
        (["encode", "{model}", "{empty}"], "is empty; expected at least one line"),
        (["encode", "{model}", "{latin}"], "is not UTF-8: byte 0xe9 at offset 3"),
        (["encode", "{model}", "{utf16}", "--out", "v.npy"], "is UTF-16; expected text in UTF-8"),
        (["encode", "{model}", "{jsonl}", "--out", "v.npy"], "a.jsonl, line 2: 'text' is missing; the line has review"),
        (["search", "{model}", "a.csv", "sun"], "a.csv, line 1: no column 'text'; the columns are id, review"),
        (["search", "{model}", "{lines}", "sun", "--text-column", "review"], "--text-column cannot act"),
        (["encode", "{model}", "a.csv", "--text-column", "id", "--out", "v.npy"], "a.csv, line 3: "),
        (["encode", "{model}", "{lines}", "--out", "v.txt"], "expected a name that ends in .npy or .safetensors"),
        (["encode", "{model}", "{lines}", "--out", "none/v.npy"], "the folder none does not exist"),
        (
            ["encode", "{model}", "{lines}", "--layer", "5", "--out", "v.npy"],
            "layer is 5; expected 0 (the embeddings) to 2",
        ),
        (["encode", "/nowhere", "{lines}", "--out", "v.npy"], "/nowhere is not a folder"),
        (["search", "{model}", "{lines}"], "QUERY"),
        (["search", "{model}", "{lines}", "sun", "--top", "0"], "--top and --threads must be at least 1"),
    ],
)
def test_bad_input_is_one_line(folder, lines, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "utf16.txt").write_bytes("sun\n".encode("utf-16"))
    (tmp_path / "a.jsonl").write_text('\n{"review": "sun"}\n')
    (tmp_path / "a.csv").write_text("id,review\n1,sun\n,rain\n")
    names = dict(model=str(folder), lines=str(lines), empty="empty.txt", latin="latin.txt")
    names |= dict(utf16="utf16.txt", jsonl="a.jsonl")
    assert cli.main([argument.format(**names) for argument in arguments]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1
    assert not list(tmp_path.glob("v.*"))
