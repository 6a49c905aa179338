"""A whole run: what it leaves behind, that it learns, and that it goes on exactly where it stopped."""

import contextlib
import dataclasses
import json
import os
import signal
from pathlib import Path

import numba
import numpy as np
import pytest

from minibert import cli
from minibert.inference import fill_mask
from minibert.models import PRESETS, BertForPreTraining
from minibert.models.huggingface import read_tensors
from minibert.objectives import MaskedLmAndNextSentence
from minibert.ops.blas import find_blas
from minibert.text import Tokenizer
from minibert.training import PretrainConfig, pretrain, pretraining
from minibert.training import step as steps
from minibert.training.checkpoints import list_checkpoints
from minibert.training.metrics import read_metrics
from minibert.training.pretraining import Pretraining
from minibert.training.runs import locked

from .tiny import losses_of, tiny_config


def weights(run):
    return read_tensors([run / "model.safetensors"])


def assert_same_run(run, other):
    assert losses_of(read_metrics(run)) == losses_of(read_metrics(other))
    for name, value in weights(run).items():
        assert np.array_equal(value, weights(other)[name]), name


def test_a_run_leaves_a_model_folder_a_record_and_a_picture(whole_run):
    names = {path.name for path in whole_run.iterdir()}
    assert names == {
        "README.md", "checkpoints", "config.json", "corpus", "loss.png", "metrics.jsonl", "model.safetensors",
        "pretrain.json", "tokenizer_config.json", "vocab.txt",
    }  # fmt: skip
    card, last = (whole_run / "README.md").read_text(encoding="utf-8"), read_metrics(whole_run)[-1]
    assert "--steps 12 " in card and "On held-out text after step 12." in card
    assert f"| masked tokens predicted correctly | {last['mlm_accuracy']:.1%} |" in card
    assert (whole_run / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in list_checkpoints(whole_run)] == ["step-00000008", "step-00000012"]
    records = read_metrics(whole_run)
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 13))
    assert [r["step"] for r in records if r["kind"] == "evaluation"] == [6, 12]
    assert [r["length"] for r in records if r["kind"] == "train"] == [8] * 6 + [32] * 6
    assert [r["nsp_loss"] is None for r in records if r["kind"] == "train"] == [True] * 6 + [False] * 6


def test_the_model_of_a_run_fills_blanks(whole_run):
    model, tokenizer = BertForPreTraining.from_pretrained(whole_run), Tokenizer.load(whole_run)
    (guesses,) = fill_mask(model, tokenizer, "the [MASK] follows the sailor", top=5)
    assert len(guesses) == 5
    probabilities = [probability for _, probability in guesses]
    assert probabilities == sorted(probabilities, reverse=True) and 0 < sum(probabilities) <= 1
    everything = fill_mask(model, tokenizer, "the [MASK] follows the [MASK]", top=len(tokenizer))
    assert len(everything) == 2
    for blank in everything:
        assert sum(probability for _, probability in blank) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_training_learns(tmp_path, corpus, monkeypatch):
    """The loss falls by far more than knowing the frequent words gives."""
    monkeypatch.setitem(PRESETS, "tiny", (1, 32, 4))
    run = tmp_path / "run"
    changes = dict(steps=300, batch_tokens=512, learning_rate=5e-3, dropout=0.0, eval_every=300, final_pairs=200)
    pretrain(tiny_config(corpus, run, lengths=("16:1",), **changes))
    first, *_, last = read_metrics(run)
    assert last["kind"] == "evaluation"
    assert first["mlm_loss"] - last["mlm_loss"] > 1.5
    assert last["mlm_accuracy"] > 0.2  # the most frequent token is right in 10 %


def stop_at(monkeypatch, step, how):
    """Make a run meet `how()` when it comes to this step."""
    honest = steps.add_gradients

    def add_gradients(objective, optimizer, part, dropout_key):
        if dropout_key[1] == step:
            how()
        return honest(objective, optimizer, part, dropout_key)

    monkeypatch.setattr(steps, "add_gradients", add_gradients)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0, 3, 4, 7, 11])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(
    tmp_path, corpus, whole_run, monkeypatch, capsys, number, step
):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda: os.kill(os.getpid(), number))
        code = pretrain(tiny_config(corpus, run))
        stopped = step + 1 < 12
        assert code == (128 + number if stopped else 0)
    if stopped:
        assert f"--out {run} --resume" in capsys.readouterr().out
        assert read_metrics(run)[-1]["step"] == step + 1
        assert pretrain(tiny_config(corpus, run, resume=True)) == 0
    assert_same_run(run, whole_run)


@pytest.mark.slow
def test_a_run_with_muon_is_the_same_run_once_resumed(tmp_path, corpus, monkeypatch):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert pretrain(tiny_config(corpus, whole, optimizer="muon")) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 6, lambda: os.kill(os.getpid(), signal.SIGTERM))
        pretrain(tiny_config(corpus, run, optimizer="muon"))
    assert pretrain(tiny_config(corpus, run, optimizer="muon", resume=True)) == 0
    assert_same_run(run, whole)
    assert "Muon, and AdamW" in (run / "README.md").read_text(encoding="utf-8")


def test_tuning_evaluates_on_documents_that_are_trained_on_otherwise(tmp_path, corpus, capsys):
    """The held-out documents stay unused, so that they can be read for the final figures only."""
    pretrain(tiny_config(corpus, tmp_path / "plain", steps=1))
    plain = capsys.readouterr().out
    pretrain(tiny_config(corpus, tmp_path / "tuned", steps=1, tune=True, layers=2))
    tuned = capsys.readouterr().out
    documents = lambda text: next(line for line in text.splitlines() if line.startswith("held out"))  # noqa: E731
    assert documents(plain) != documents(tuned)
    assert "BERT tiny with 2 layers: 2 layers" in tuned and "BERT tiny: 1 layers" not in tuned


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 5, 9])
def test_a_run_that_died_is_the_same_run_once_resumed(tmp_path, corpus, whole_run, monkeypatch, step):
    """Died without a word, as of a lost power cable: nothing after the last checkpoint counts."""

    class Dead(BaseException):
        pass

    def die():
        raise Dead

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, step, die)
        with pytest.raises(Dead):
            pretrain(tiny_config(corpus, run))
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"kind": "train", "st')  # a line cut in the middle
    pretrain(tiny_config(corpus, run, resume=True))
    assert_same_run(run, whole_run)


def test_a_finished_run_that_is_resumed_stays_what_it_is(tmp_path, corpus):
    run = tmp_path / "run"
    pretrain(tiny_config(corpus, run))
    before, records = weights(run), read_metrics(run)
    assert pretrain(tiny_config(corpus, run, resume=True)) == 0
    assert all(np.array_equal(before[name], value) for name, value in weights(run).items())
    assert losses_of(read_metrics(run)) == losses_of(records)


@pytest.mark.slow
def test_micro_batches_train_the_same_model(tmp_path, corpus, whole_run):
    """Gradients of the parts add up to those of the batch, to the rounding of float32."""
    run = tmp_path / "run"
    pretrain(tiny_config(corpus, run, accumulate=3))
    expected = losses_of(read_metrics(whole_run))
    for record, other in zip(losses_of(read_metrics(run)), expected, strict=True):
        assert record["mlm_loss"] == pytest.approx(other["mlm_loss"], rel=1e-4)


@pytest.mark.slow
def test_the_number_of_threads_may_change_when_a_run_is_resumed(tmp_path, corpus):
    """It is how a run is computed, not what it is: the run's options do not remember it."""
    before = numba.get_num_threads(), find_blas().threads()
    run = tmp_path / "run"
    try:
        pretrain(tiny_config(corpus, run, threads=1))
        assert numba.get_num_threads() == 1
        assert "threads" not in json.loads((run / "pretrain.json").read_text())
        assert pretrain(tiny_config(corpus, run, threads=before[0], resume=True)) == 0
        assert numba.get_num_threads() == before[0]
        with pytest.raises(ValueError, match="--threads is 9999; expected 1 to"):
            pretrain(tiny_config(corpus, tmp_path / "other", threads=9999))
        assert not (tmp_path / "other").exists()
    finally:
        numba.set_num_threads(before[0])
        find_blas().threads(before[1])


@pytest.mark.slow
def test_a_model_with_few_positions_gets_blanks_that_fit(tmp_path, corpus):
    config = tiny_config(corpus, tmp_path / "run", lengths=("12:1",), max_positions=12, nsp_from=12)
    assert pretrain(config) == 0


@pytest.mark.slow
def test_another_seed_is_another_run(tmp_path, corpus, whole_run):
    pretrain(tiny_config(corpus, tmp_path / "run", seed=1))
    assert losses_of(read_metrics(tmp_path / "run")) != losses_of(read_metrics(whole_run))


def test_a_loss_that_is_no_number_stops_the_run_with_advice(tmp_path, corpus, monkeypatch):
    run = tmp_path / "run"
    honest = MaskedLmAndNextSentence.losses

    def spoilt(self, batch, dropout_key=None, keep_cache=True):
        losses, cache = honest(self, batch, dropout_key, keep_cache)
        return (losses._replace(mlm=np.float32("nan")) if dropout_key == (0, 6) else losses), cache

    monkeypatch.setattr(MaskedLmAndNextSentence, "losses", spoilt)
    with pytest.raises(FloatingPointError, match=r"step 7; the last good checkpoint is .*step-00000004\. Try"):
        pretrain(tiny_config(corpus, run))
    assert [path.name for path in list_checkpoints(run)] == ["step-00000004"]


def test_parameters_that_are_no_numbers_are_not_saved(tmp_path, corpus, monkeypatch):
    """The loss and the gradient of the last step are finite; the step is not."""
    rate = pretraining.learning_rate_at

    def spoilt(step, **schedule):
        return 1e39 if step == 11 else rate(step, **schedule)

    monkeypatch.setattr(pretraining, "learning_rate_at", spoilt)
    run = tmp_path / "run"
    with pytest.raises(FloatingPointError, match=r"a parameter became NaN or infinite at step 12; the last good"):
        pretrain(tiny_config(corpus, run))
    assert [path.name for path in list_checkpoints(run)][-1] == "step-00000008"
    BertForPreTraining.from_pretrained(run)
    assert read_metrics(run)[-1]["kind"] == "diverged"


class TestRefusals:
    def refused(self, config, error, *words):
        """The error says all of it in one line, and a new run leaves nothing behind."""
        was_there = Path(config.out).exists()
        with pytest.raises(error) as caught:
            pretrain(config)
        assert Path(config.out).exists() == was_there
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)

    def test_an_out_that_holds_a_run(self, corpus, whole_run):
        self.refused(tiny_config(corpus, whole_run), FileExistsError, "contains a run", "--resume")

    def test_an_out_that_holds_something_else(self, tmp_path, corpus):
        (tmp_path / "thesis.tex").write_text("!")
        self.refused(tiny_config(corpus, tmp_path), FileExistsError, "not empty")
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_a_run_that_another_process_is_training(self, corpus, whole_run):
        with locked(whole_run):
            self.refused(tiny_config(corpus, whole_run, resume=True), RuntimeError, "another process")

    def test_an_empty_folder_of_the_users_stays(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "latin.txt").write_bytes(b"Caf\xe9 au lait.\n")
        self.refused(tiny_config(tmp_path / "latin.txt", tmp_path / "run"), ValueError, "latin.txt")
        assert not list((tmp_path / "run").iterdir())

    def test_nothing_to_resume(self, tmp_path, corpus):
        self.refused(tiny_config(corpus, tmp_path, resume=True), FileNotFoundError, "no pre-training run")

    @pytest.mark.parametrize(
        "change, option", [(dict(seed=5), "--seed 0"), (dict(learning_rate=1.0), "--learning-rate")]
    )
    def test_a_resume_with_other_options(self, corpus, whole_run, change, option):
        self.refused(tiny_config(corpus, whole_run, resume=True, **change), ValueError, option)

    def test_a_damaged_checkpoint(self, tmp_path, corpus, monkeypatch):
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            stop_at(patch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
            pretrain(tiny_config(corpus, run))
        newest = list_checkpoints(run)[-1]
        path = newest / "optimizer.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        self.refused(tiny_config(corpus, run, resume=True), ValueError, str(newest), "checksum", "delete")

    def test_a_damaged_shard(self, tmp_path, corpus, monkeypatch):
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            stop_at(patch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
            pretrain(tiny_config(corpus, run))
        path = next((run / "corpus").glob("tokens-*.bin"))
        path.write_bytes(path.read_bytes()[:-2] + b"\x07\x00")
        self.refused(tiny_config(corpus, run, resume=True), ValueError, path.name)

    def test_lengths_beyond_the_models_positions(self, tmp_path, corpus):
        self.refused(tiny_config(corpus, tmp_path / "run", lengths=("64:1",)), ValueError, "64", "--max-positions 40")

    @pytest.mark.parametrize("length", [0, 3])
    def test_lengths_too_short_for_a_token(self, tmp_path, corpus, length):
        self.refused(tiny_config(corpus, tmp_path / "run", lengths=(f"{length}:1",)), ValueError, f"{length} tokens")

    def test_batches_shorter_than_a_sequence(self, tmp_path, corpus):
        self.refused(tiny_config(corpus, tmp_path / "run", batch_tokens=16), ValueError, "--batch-tokens 16", "32")

    def test_shares_that_do_not_sum_to_one(self, tmp_path, corpus):
        self.refused(tiny_config(corpus, tmp_path / "run", lengths=("8:0.5", "32:0.2")), ValueError, "sum")

    def test_more_micro_batches_than_sequences(self, tmp_path, corpus):
        self.refused(tiny_config(corpus, tmp_path / "run", accumulate=5), ValueError, "--accumulate", "--batch-tokens")

    def test_a_backend_that_is_not_there(self, tmp_path, corpus, monkeypatch):
        from minibert.ops import backend

        monkeypatch.setattr(backend, "why_not", lambda name: "no driver")
        self.refused(tiny_config(corpus, tmp_path / "run", backend="gpu"), RuntimeError, "no driver")

    def test_a_missing_corpus(self, tmp_path):
        self.refused(tiny_config(tmp_path / "none.txt", tmp_path / "run"), FileNotFoundError, "none.txt")

    def test_a_corpus_that_is_not_utf8(self, tmp_path):
        (tmp_path / "latin.txt").write_bytes(b"Caf\xe9 au lait.\n")
        self.refused(tiny_config(tmp_path / "latin.txt", tmp_path / "run"), ValueError, "latin.txt", "offset 3")

    def test_a_missing_vocabulary(self, tmp_path, corpus):
        self.refused(tiny_config(corpus, tmp_path / "run", vocab=str(tmp_path)), FileNotFoundError, "vocab.txt")

    def test_a_corpus_too_small_for_a_batch(self, tmp_path):
        (tmp_path / "small.txt").write_text("One sentence. And two.\n\nOne more. And two more.\n\nA third. The end.\n")
        config = tiny_config(tmp_path / "small.txt", tmp_path / "run", batch_tokens=4096)
        self.refused(config, ValueError, "too small")

    @pytest.mark.parametrize(
        "change",
        [dict(steps=0), dict(seed=-1), dict(learning_rate=0.0), dict(dropout=1.0), dict(mask_rate=0.0),
         dict(warmup=1.0), dict(weight_decay=float("nan")), dict(learning_rate=float("inf")), dict(vocab_size=5),
         dict(held_out=1.0), dict(weight_decay=-1.0), dict(init_std=0.0),
         dict(learning_rate=float("nan"))],
    )  # fmt: skip
    def test_nonsense_numbers(self, tmp_path, corpus, change):
        with pytest.raises(ValueError, match=next(iter(change)).replace("_", "[-_]")):
            tiny_config(corpus, tmp_path / "run", **change)


@pytest.mark.slow
def test_a_full_disk_keeps_the_checkpoints_that_were_there(tmp_path, corpus, whole_run, monkeypatch, full_disk):
    run = tmp_path / "run"
    with contextlib.ExitStack() as stack, monkeypatch.context() as patch:
        # from step 6 on, nothing larger than the record so far can be written
        stop_at(patch, 6, lambda: stack.enter_context(full_disk(scratch=8000)))
        with pytest.raises(OSError):
            pretrain(tiny_config(corpus, run))
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000004"]
    assert not list(run.glob(".*.tmp"))
    assert pretrain(tiny_config(corpus, run, resume=True)) == 0
    assert_same_run(run, whole_run)


def test_options_come_back_from_the_runs_folder(tmp_path):
    config = PretrainConfig(corpus=("a", "b"), seed=3, init_std=0.1)
    config.save(tmp_path)
    assert PretrainConfig.load(tmp_path) == config
    assert PretrainConfig.defaults(["--out", str(tmp_path), "--resume"]) == dataclasses.replace(
        config, out=str(tmp_path)
    )
    assert PretrainConfig.defaults([f"--out={tmp_path}"]) == PretrainConfig()
    (tmp_path / "pretrain.json").write_text(json.dumps({"no": "option"}))
    with pytest.raises(ValueError, match="damaged"):
        PretrainConfig.load(tmp_path)


def test_runs_without_a_name_are_numbered(tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(tmp_path)
    config = tiny_config(corpus, "", steps=1, eval_pairs=1, final_pairs=1, lengths=("32:1",))
    for _ in range(2):
        pretrain(dataclasses.replace(config, out=None))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["001", "002"]


@pytest.mark.slow
def test_standard_input_is_a_corpus(tmp_path, corpus, whole_run, monkeypatch):
    with open(corpus, "rb") as file, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", type("Stdin", (), {"buffer": file}))
        assert pretrain(tiny_config("-", tmp_path / "run")) == 0
    assert not (tmp_path / "run" / "stdin.txt").exists()
    assert (tmp_path / "run" / "vocab.txt").read_bytes() == (whole_run / "vocab.txt").read_bytes()


def test_the_evaluation_set_is_the_same_for_every_seed(tmp_path, corpus):
    runs = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        runs.append(Pretraining(tiny_config(corpus, tmp_path / str(seed), seed=seed), tmp_path / str(seed)))
    for one, other in zip(*(run.held_out.masked(8) for run in runs), strict=True):
        assert np.array_equal(one.tokens.token_ids, other.tokens.token_ids)
        assert np.array_equal(one.masked_positions, other.masked_positions)
    assert runs[0].held_out.blanks == runs[1].held_out.blanks


@pytest.mark.parametrize(
    "words, message",
    [
        (["--heads", "3"], "--heads 3 does not divide the width 16 of --size tiny"),
        (["--heads", "2", "--model", "elmo"], "--heads does not apply to ELMo"),
        (["--layers", "0"], "--layers is 0; expected at least 1"),
        (["--layers", "3", "--model", "distilbert", "--teacher", "RUN"], "--layers does not apply to a student"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(tmp_path, corpus, capsys, words, message):
    assert cli.main(["pretrain", str(corpus), "--out", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "run").exists()
