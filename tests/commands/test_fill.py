"""`minibert fill`: the likeliest words for each blank, and one line where there are none."""

import re
from dataclasses import replace

import pytest

from minibert import cli
from minibert.inference import fill_mask
from minibert.models import Bert, BertConfig, BertForPreTraining
from minibert.text import Tokenizer

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "state", "of", "union", "nation"]
CONFIG = BertConfig(
    vocab_size=len(VOCABULARY),
    hidden_size=8,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=12,
)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A model whose head always says "union", then "nation"."""
    folder = tmp_path_factory.mktemp("run")
    model = BertForPreTraining(CONFIG)
    for parameter in model.parameters.all.values():
        parameter.value[...] = 0
    bias = model.parameters.all["cls.predictions.bias"].value
    bias[VOCABULARY.index("union")], bias[VOCABULARY.index("nation")] = 10, 9
    model.save_pretrained(folder)
    Tokenizer(VOCABULARY).save(folder)
    return str(folder)


def test_it_runs_on_the_emulated_gpu(run_folder, capsys, gpu):
    assert cli.main(["fill", run_folder, "the state of the [MASK]", "--backend", "gpu", "--emulate", "--top", "1"]) == 0
    assert "73.1%  union" in capsys.readouterr().out


def test_the_likeliest_words_come_first_with_their_probabilities(run_folder, capsys):
    assert cli.main(["fill", run_folder, "the state of the [MASK]", "--top", "2"]) == 0
    # softmax of 10, 9 and eight zeros
    assert capsys.readouterr() == ("the state of the [MASK]\n   73.1%  union\n   26.9%  nation\n", "")


def test_several_blanks_and_texts_are_told_apart(run_folder, capsys):
    assert cli.main(["fill", run_folder, "the [MASK] of the [MASK]", "[MASK]", "--top", "1"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert re.findall(r"\[MASK\] \d of 2", first) == ["[MASK] 1 of 2", "[MASK] 2 of 2"]
    assert first.count("union") == 2
    assert second == "[MASK]\n   73.1%  union\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["the state"], "no [MASK] in 'the state'"),
        (["[MASK]", "the state"], "no [MASK] in 'the state'"),
        (["[MASK] " + "the " * 12], "but the model reads at most 12"),
        (["[MASK]", "--top", "0"], "--top is 0; expected at least 1"),
        ([], "missing TEXT ..."),
    ],
)
def test_texts_that_cannot_be_filled_are_told_in_one_line(run_folder, capsys, words, message):
    assert cli.main(["fill", run_folder, *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_a_missing_run_and_a_model_without_its_head_are_told_in_one_line(tmp_path, capsys):
    assert cli.main(["fill", str(tmp_path / "nothing"), "[MASK]"]) == 2
    assert f"{tmp_path / 'nothing'} is not a folder" in capsys.readouterr().err
    Bert(CONFIG).save_pretrained(tmp_path)
    Tokenizer(VOCABULARY).save(tmp_path)
    assert cli.main(["fill", str(tmp_path), "[MASK]"]) == 2
    assert capsys.readouterr().err.endswith("cannot fill in blanks: the model was saved without its masked-LM head\n")


@pytest.mark.slow
def test_a_model_with_more_rows_than_the_vocabulary(tmp_path, capsys):
    model = BertForPreTraining(replace(CONFIG, vocab_size=len(VOCABULARY) + 4), seed=3)
    model.save_pretrained(tmp_path)
    Tokenizer(VOCABULARY).save(tmp_path)
    text = "the state of the [MASK]"
    assert cli.main(["fill", str(tmp_path), text, "--top", "50"]) == 0
    assert capsys.readouterr().out.count("(not in the vocabulary)") == 4
    transformers = pytest.importorskip("transformers", reason="the same list as transformers' pipeline")
    pipeline = transformers.pipeline("fill-mask", str(tmp_path), tokenizer=str(tmp_path), top_k=14)
    ours = fill_mask(model, Tokenizer.load(tmp_path), text, top=50)[0]
    theirs = [(answer["token_str"], pytest.approx(answer["score"], abs=1e-6)) for answer in pipeline(text)]
    assert ours == theirs
