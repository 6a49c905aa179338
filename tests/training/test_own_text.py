"""Pre-training on text as users have it: the forms that are read, what the report says of them, and what is refused."""

import csv
import io
import json
import random

import pytest

from minibert.data.shards import Shards
from minibert.text import Tokenizer, vocabulary
from minibert.training import PretrainConfig, pretrain
from minibert.training.config import OPTIONS
from minibert.training.preparation import warn_of_unknown
from tests.training.tiny import tiny_config

ENGLISH = "rain wind roof garden river house light winter morning letter".split()
CHINESE = "雨 风 屋顶 花园 河 房子 光 冬天 早上 信".split()


def sentences(words, join, count, generator):
    return [join.join(generator.choice(words) for _ in range(generator.randint(4, 8))) for _ in range(count)]


def release_form(folder, generator):
    """google-research/bert's form: a sentence a line, blank lines between documents; here without capitals or stops."""
    texts = ["\n".join(sentences(ENGLISH, " ", 8, generator)) for _ in range(20)]
    (folder / "text.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return folder / "text.txt"


def chinese_folder(folder, generator):
    for number in range(20):
        paragraphs = ["".join(s + "。" for s in sentences(CHINESE, "", 4, generator)) for _ in range(3)]
        (folder / f"{number}.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    (folder / "._0.txt").write_bytes(b"\0\5\x16\7")
    return folder


def texts(generator):
    return [" ".join(s.capitalize() + "." for s in sentences(ENGLISH, " ", 8, generator)) for _ in range(20)]


def wikipedia_jsonl(folder, generator):
    lines = [json.dumps({"id": str(i), "title": "T", "text": f"T\n\n{t}"}) for i, t in enumerate(texts(generator))]
    (folder / "wiki.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "wiki.jsonl"


def csv_column(folder, generator):
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["year", "text"], *([1990, text] for text in texts(generator))])
    return folder / "table.csv"


def one_sentence_each(folder, generator):
    (folder / "short.txt").write_text("\n\n".join(sentences(ENGLISH, " ", 60, generator)), encoding="utf-8")
    return folder / "short.txt"


FORMS = {
    release_form: ("documents are separated by blank lines, sentences end at line ends", "20 of 20 documents"),
    chinese_folder: (
        "20 files: documents are whole files, sentences end at full stops and other",
        "20 of 20 documents",
    ),
    wikipedia_jsonl: ("documents are the records of JSONL, sentences end at full stops", "20 of 20 documents"),
    csv_column: ("documents are the records of CSV, sentences end at full stops", "20 of 20 documents"),
    one_sentence_each: (
        "documents are separated by blank lines, sentences end at full stops",
        "60 of 60 documents take part in sentence pairs, 60 of them only because their one sentence was cut",
    ),
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_one_command_trains_on_it_with_pairs(tmp_path, capsys, form):
    (tmp_path / "corpus").mkdir()
    corpus = form(tmp_path / "corpus", random.Random(0))
    assert pretrain(tiny_config(corpus, tmp_path / "run", steps=1)) == 0
    printed = capsys.readouterr().out
    layout, pairs = FORMS[form]
    assert f"\nlayout     {layout}" in printed
    assert f"\npairs      {pairs}" in printed
    assert ("\nwarning    only 0 of 60 documents have two sentences" in printed) == (form is one_sentence_each)
    assert ("1 file passed over: 1 hidden" in printed) == (form is chinese_folder)
    assert "[UNK]" not in printed.partition("step 1")[0]
    assert " pieces, uncased\n" in printed
    command, text = printed.splitlines()[-1].split('"')[:2]
    assert command.startswith("try        minibert fill") and "[MASK]" in text
    if form is not one_sentence_each:  # its sentences, cut in two, are too short to be shown
        assert set(text.replace("[MASK]", "").replace(".", "").split()) <= {*ENGLISH, *"".join(CHINESE), "。"}


def test_many_unknown_tokens_are_warned_of(tmp_path, capsys):
    corpus = chinese_folder(tmp_path, random.Random(0))
    assert pretrain(tiny_config(corpus, tmp_path / "run", steps=1, limit_alphabet=5, min_frequency=3)) == 0
    assert "of the corpus's tokens are [UNK]: characters that the vocabulary lacks; raise --limit-alphabet\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "advice"),
    [({}, "raise --limit-alphabet"), ({"vocab": "v"}, "choose another --vocab"), ({"from_": "m"}, "another model for")],
)
def test_the_advice_against_unknown_tokens_can_be_followed(capsys, options, advice):
    class Half:
        manifest = {"counts": {"tokens": 10}}

        def count(self, _):
            return 5

    warn_of_unknown(Half(), Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]), PretrainConfig(**options))
    printed = capsys.readouterr().out
    assert "50.0% of the corpus's tokens are [UNK]" in printed and advice in printed
    assert printed.count("--") == 1


@pytest.mark.parametrize(
    "text, changes, message",
    [
        ("Only one document. It has two sentences.\n", {}, "the corpus has 1 document"),
        ("One. Two.\n\nThree. Four.\n", dict(lengths=("32:1",)), "sentence pairs need at least two documents"),
        ("One. Two.\n\n" * 5, {}, "the corpus is too small: a batch of 128 tokens needs 16"),
        ('{"text": "one. two."}\n' * 50 + "{\n", {}, "text.txt, line 51: not valid JSON"),
        ("Word word. Word word.\n\n" * 50 + "\xff", dict(encoding="latin-1"), "not UTF-8: byte 0xff at offset 1150"),
    ],
    ids=["one document", "no pairs", "too small", "a broken line", "another encoding"],
)
def test_what_is_wrong_with_a_corpus_is_said_before_a_vocabulary_is_learnt(
    tmp_path, monkeypatch, text, changes, message
):
    changes = dict(changes)
    encoding = changes.pop("encoding", "utf-8")
    (tmp_path / "text.txt").write_text(text, encoding=encoding)
    monkeypatch.setattr(vocabulary, "merge_pairs", lambda *_: pytest.fail("the vocabulary was learnt"))
    with pytest.raises(ValueError, match=message):
        pretrain(tiny_config(tmp_path / "text.txt", tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "data, message",
    [
        (b'{"text": "one. two."}\n{\n', "^standard input, line 2: not valid JSON"),
        (b"\x1f\x8b\x08\0", "^standard input is not UTF-8 text: it is compressed with gzip"),
        (b"ab\xff\n", "^standard input is not UTF-8: byte 0xff at offset 2"),
        (b"\n", "^standard input is empty"),
    ],
)
def test_what_is_wrong_with_standard_input_is_not_said_of_its_copy(tmp_path, monkeypatch, data, message):
    """The copy is deleted with the run's folder."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(ValueError, match=message):
        pretrain(tiny_config("-", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_options_of_the_corpus_act(tmp_path, capsys):
    lines = [json.dumps({"body": text}) for text in texts(random.Random(0))]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    config = tiny_config(tmp_path / "a.jsonl", tmp_path / "run", steps=1, text_field="body", sentences="lines")
    assert pretrain(config) == 0
    assert "sentences end at line ends" in capsys.readouterr().out
    assert Shards(tmp_path / "run" / "corpus").cut_documents == 20
    with pytest.raises(ValueError, match="--document-per-file contradicts --documents line"):
        PretrainConfig(documents="line", document_per_file=True)


@pytest.mark.parametrize(
    "stored, documents, sentences",
    [
        (dict(corpus=["a.txt"], document_per_file=False), "blank", "marks"),
        (dict(corpus=["a.txt"], document_per_file=True), "auto", "marks"),
        (dict(corpus=[], document_per_file=False), "auto", "auto"),  # the default corpus has one layout
        (dict(corpus=["a.txt"], documents="line", sentences="both"), "line", "both"),
    ],
)
def test_a_run_without_these_options_means_what_it_meant(tmp_path, stored, documents, sentences):
    (tmp_path / OPTIONS).write_text(json.dumps(stored))
    config = PretrainConfig.load(tmp_path)
    assert (config.documents, config.sentences, config.text_field) == (documents, sentences, None)
    assert (config.min_frequency, config.limit_alphabet) == (2, 1000)
