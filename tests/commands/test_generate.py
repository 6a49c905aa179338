"""`minibert generate`: what it prints, and what it refuses."""

import pytest

from minibert import cli
from minibert.checks.short_training import small_config
from minibert.inference.generate import Sampling, generate
from minibert.models import Bert, BertForPreTraining, GptForCausalLM
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS
from tests.models.parity import shaken

WORDS = [f"w{number}" for number in range(small_config().vocab_size - len(SPECIAL_TOKENS))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt")
    shaken(GptForCausalLM(small_config(is_decoder=True), "reference", seed=1)).save_pretrained(folder)
    Tokenizer([*SPECIAL_TOKENS, *WORDS]).save(folder)
    return folder


def test_it_prints_the_text_with_each_continuation(folder, capsys):
    options = ["--tokens", "6", "--temperature", "0.7", "--top-k", "9", "--top-p", "0.9"]
    assert cli.main(["generate", str(folder), "w1 w2", *options, "--samples", "2", "--seed", "3"]) == 0
    printed = capsys.readouterr().out.rstrip("\n").split("\n\n")
    model, tokenizer = GptForCausalLM.from_pretrained(folder), Tokenizer.load(folder)
    sampling = Sampling(0.7, 9, 0.9)
    assert printed == [generate(model, tokenizer, "w1 w2", tokens=6, sampling=sampling, seed=seed) for seed in (3, 4)]
    assert printed[0] != printed[1] and all(text.startswith("w1 w2 ") for text in printed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tokens", "0"], "--tokens is 0; expected at least 1"),
        (["--samples", "0"], "--samples is 0; expected at least 1"),
        (["--temperature", "-1"], "--temperature is -1.0; expected 0 or more"),
        (["--top-k", "0"], "--top-k is 0; expected at least 1"),
        (["--top-p", "0"], "--top-p is 0.0; expected above 0"),
        (["--seed", "-1"], "--seed is -1"),
    ],
)
def test_options_that_mean_nothing_are_refused(folder, capsys, words, message):
    assert cli.main(["generate", str(folder), "w1", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (BertForPreTraining(small_config(), "reference"), "GptForCausalLM reads from left to right"),
        (Bert(small_config(is_decoder=True), "reference"), "saved without its next-token head"),
    ],
)
def test_a_model_that_cannot_continue_a_text_is_refused(tmp_path, capsys, model, message):
    model.save_pretrained(tmp_path)
    Tokenizer([*SPECIAL_TOKENS, *WORDS]).save(tmp_path)
    assert cli.main(["generate", str(tmp_path), "w1"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_a_text_without_room_for_more_is_refused(folder, capsys):
    assert cli.main(["generate", str(folder), "w1 " * 40]) == 2
    assert "positions; shorten it" in capsys.readouterr().err
