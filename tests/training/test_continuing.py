"""`--from MODEL` goes on from a model's weights; `--resume --steps N` gives a run more steps."""

import os
import shutil
import signal

import numpy as np
import pytest

from minibert import cli
from minibert.commands.options import read_options
from minibert.models import BertForPreTraining
from minibert.models.huggingface import read_tensors, save_tensors
from minibert.training import pretrain
from minibert.training.config import PretrainConfig
from minibert.training.metrics import read_metrics
from minibert.training.optimizer import learning_rate_at
from tests.training.test_pretrain import assert_same_run, stop_at
from tests.training.tiny import tiny_config, write_corpus

NO_STEP = 1e-30  # a learning rate that changes no weight


@pytest.fixture
def other_text(tmp_path):
    return write_corpus(tmp_path / "other.txt", documents=20)


def continuing(corpus, out, source, **changes) -> PretrainConfig:
    """A run from a model, with what --from takes from it."""
    return tiny_config(corpus, out, **{"from_": str(source), "vocab_size": 8192, "steps": 4, **changes})


def tensors_of(folder) -> dict[str, np.ndarray]:
    return read_tensors([folder / "model.safetensors"])


def test_it_begins_with_all_weights_of_the_model(tmp_path, other_text, whole_run, capsys):
    run = tmp_path / "run"
    pretrain(continuing(other_text, run, whole_run, learning_rate=NO_STEP))
    before, after = tensors_of(whole_run), tensors_of(run)
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)
    assert (run / "vocab.txt").read_bytes() == (whole_run / "vocab.txt").read_bytes()
    evaluations = [record for record in read_metrics(run) if record["kind"] == "evaluation"]
    assert [record["step"] for record in evaluations] == [0, 4]  # also before the first step
    assert evaluations[0]["mlm_loss"] == evaluations[1]["mlm_loss"]
    printed = capsys.readouterr().out
    assert "\nlayout     documents are separated by blank lines" in printed
    assert f"BERT from {whole_run.name}: 1 layers" in printed and "initialised afresh" not in printed
    assert f"--from {whole_run.name}" in (run / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_head_that_the_model_lacks_is_initialised_and_said(tmp_path, other_text, whole_run, capsys):
    source, run = tmp_path / "source", tmp_path / "run"
    shutil.copytree(whole_run, source)
    kept = {name: tensor for name, tensor in tensors_of(source).items() if not name.startswith("cls.")}
    save_tensors(source / "model.safetensors", kept)
    pretrain(continuing(other_text, run, source, learning_rate=NO_STEP))
    assert "not in the file, initialised afresh: cls.predictions" in capsys.readouterr().out
    after = tensors_of(run)
    assert all(np.array_equal(kept[name], after[name]) for name in kept) and len(after) > len(kept)


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_without_the_model_that_it_began_from(
    tmp_path, other_text, whole_run, monkeypatch
):
    source, whole, run = tmp_path / "source", tmp_path / "whole", tmp_path / "run"
    shutil.copytree(whole_run, source)
    pretrain(continuing(other_text, whole, source))
    with monkeypatch.context() as patch:
        stop_at(patch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        pretrain(continuing(other_text, run, source))
    shutil.rmtree(source)
    assert pretrain(continuing(other_text, run, source, resume=True)) == 0
    assert_same_run(run, whole)


def test_its_defaults_are_those_for_going_on(whole_run):
    config = read_options(PretrainConfig, ["--from", str(whole_run)], "minibert pretrain")
    assert (config.steps, config.lengths, config.learning_rate, config.max_positions) == (2000, ("128:1",), 5e-4, 40)
    config = read_options(PretrainConfig, [f"--from={whole_run}", "--steps", "7"], "minibert pretrain")
    assert (config.steps, config.random_positions) == (7, False)
    assert PretrainConfig().from_ is None


@pytest.mark.parametrize(
    "words, message",
    [
        (["--size", "mini"], "--size does not apply with --from"),
        (["--vocab", "FOLDER"], "--vocab does not apply with --from"),
        (["--cased"], "--cased does not apply with --from"),
        (["--layers", "3"], "--layers does not apply with --from"),
        (["--max-positions", "48", "--lengths", "32:1"], "--max-positions is 48, but the model of --from has 40"),
        (["--model", "gpt", "--lengths", "32:1"], "reads from left to right"),
        (["--model", "elmo", "--lengths", "32:1"], "describes a model of type 'bert'; expected 'elmo'"),
    ],
)
def test_what_the_model_decides_is_refused_in_one_line(tmp_path, other_text, whole_run, capsys, words, message):
    out = tmp_path / "run"
    assert cli.main(["pretrain", str(other_text), "--from", str(whole_run), "--out", str(out), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not out.exists()


def test_a_model_with_fewer_embeddings_than_pieces_is_refused(tmp_path, other_text, whole_run):
    source = tmp_path / "source"
    shutil.copytree(whole_run, source)
    with (source / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("another\n")
    model = BertForPreTraining.from_pretrained(whole_run)
    with pytest.raises(ValueError, match=f"pieces, the model only {model.config.vocab_size}"):
        pretrain(continuing(other_text, tmp_path / "run", source))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_more_steps_follow_the_schedule_of_a_longer_run(tmp_path, corpus, monkeypatch, capsys):
    run, again = tmp_path / "run", tmp_path / "again"
    assert pretrain(tiny_config(corpus, run)) == 0
    shutil.copytree(run, again)
    capsys.readouterr()
    assert pretrain(tiny_config(corpus, run, resume=True, steps=20)) == 0
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("steps"))
    assert "raised from 12 to 20: from step 12 on" in said
    rates = [record["learning_rate"] for record in read_metrics(run) if record["kind"] == "train"]
    config = PretrainConfig.load(run)
    expected = [
        learning_rate_at(step, steps=12 if step < 12 else 20, peak=config.learning_rate, warmup=config.warmup)
        for step in range(20)
    ]
    assert config.steps == 20 and rates == pytest.approx(expected, rel=1e-12)
    (raised,) = (record for record in read_metrics(run) if record["kind"] == "raised")
    assert (raised["step"], raised["steps_before"], raised["steps"]) == (12, 12, 20)
    with monkeypatch.context() as patch:  # raised, stopped, and resumed without repeating the number
        stop_at(patch, 15, lambda: os.kill(os.getpid(), signal.SIGTERM))
        pretrain(tiny_config(corpus, again, resume=True, steps=20))
    assert pretrain(tiny_config(corpus, again, resume=True, steps=20)) == 0
    assert_same_run(again, run)
    with pytest.raises(ValueError, match="was started with --steps 20, but this call has 12"):
        pretrain(tiny_config(corpus, run, resume=True))
