"""Every system of the table is trained, stopped, resumed and loaded as BERT is (test_pretrain.py)."""

import dataclasses
import math
import os
import re
import shutil
import signal
from functools import partial
from typing import get_args, get_type_hints

import numpy as np
import pytest

from minibert import cli
from minibert.checks.short_training import small_config
from minibert.commands.distill import DistillConfig
from minibert.data.batch import Batch
from minibert.data.documents import DocumentSet
from minibert.data.masked_batch import MaskedBatch
from minibert.data.next_token import NextTokenBatch
from minibert.data.pretraining import evaluation_batches
from minibert.data.shards import Shards
from minibert.models import PRESETS, Bert, BertForPreTraining, Elmo, ElmoConfig, GptForCausalLM
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS
from minibert.training import PretrainConfig, held_out_evaluation, pretrain
from minibert.training.held_out_evaluation import HeldOut
from minibert.training.metrics import read_metrics
from minibert.training.preparation import load_teacher, prepare_model
from minibert.training.systems import SYSTEMS, next_token_baselines

from .test_pretrain import assert_same_run, stop_at
from .tiny import tiny_config

OTHERS = sorted(set(SYSTEMS) - {"bert"})


def test_the_option_names_each_system_once():
    assert get_args(get_type_hints(PretrainConfig)["model"]) == tuple(SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_only_systems_with_pairs_are_given_pairs(name):
    config = PretrainConfig(model=name, teacher="…" if name == "distilbert" else None)
    assert (config.pairs_from == config.nsp_from) == SYSTEMS[name].pairs


SMALL = {"tiny": (2, 16, 2)}  # two layers, so that a student may have half of them


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, corpus):
    """The folder of a BERT that may teach."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALL["tiny"])
        run = tmp_path_factory.mktemp("teacher") / "run"
        assert pretrain(tiny_config(corpus, run, steps=4)) == 0
    return run


def test_what_each_system_predicts_is_named():
    assert {name: system.targets[0].unit for name, system in SYSTEMS.items()} == {
        "bert": "masked tokens", "gpt": "tokens", "elmo": "tokens", "distilbert": "masked tokens"
    }  # fmt: skip


def config_of(name, corpus, run, teacher, **changes) -> PretrainConfig:
    taught = dict(teacher=str(teacher), vocab=str(teacher)) if name == "distilbert" else {}
    return tiny_config(corpus, run, model=name, **taught, **changes)


@pytest.fixture(scope="module", params=OTHERS)
def whole_run(request, tmp_path_factory, corpus, teacher):
    """The name of a system, and the folder of a run that was never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", SMALL["tiny"])
        run = tmp_path_factory.mktemp(request.param) / "run"
        assert pretrain(config_of(request.param, corpus, run, teacher)) == 0
    return request.param, run


def test_a_run_leaves_a_record_a_picture_a_card_and_a_model(whole_run):
    name, run = whole_run
    system, records = SYSTEMS[name], read_metrics(run)
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 13))
    for record in records:
        for target in system.targets:
            assert record[f"{target.key}_loss"] > 0 and 0 <= record[f"{target.key}_accuracy"] <= 1
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")
    card = (run / "README.md").read_text(encoding="utf-8")
    assert system.title in card and f"--model {name}" in card and system.command_to_try("FOLDER") in card
    assert f"| {system.targets[0].name} predicted correctly |" in card
    model = system.model.from_pretrained(run)
    assert model.initialised_afresh == ()
    guesses = system.guesses(model, Tokenizer.load(run), "the river watches the [MASK] at dawn.")
    assert len(guesses) == 5 and guesses == sorted(guesses, key=lambda guess: -guess[1])


@pytest.mark.slow
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(tmp_path, corpus, whole_run, teacher, monkeypatch):
    (name, whole), step = whole_run, 7
    monkeypatch.setitem(PRESETS, "tiny", SMALL["tiny"])
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert pretrain(config_of(name, corpus, run, teacher)) == 128 + signal.SIGTERM
    assert pretrain(config_of(name, corpus, run, teacher, resume=True)) == 0
    assert_same_run(run, whole)


def test_bits_per_byte_are_those_of_the_decoded_text(whole_run):
    """A text of ASCII letters: the loss of all its tokens, in bits, for each letter and space."""
    name, run = whole_run
    if SYSTEMS[name].masked:
        pytest.skip("a masked-token model predicts only some of the text")
    config, tokenizer = PretrainConfig.load(run), Tokenizer.load(run)
    documents = Shards(run / "corpus", tokenizer).all()
    held_out, system = HeldOut(config, documents, tokenizer, 32), SYSTEMS[name]
    batches = held_out.batches(4, system.batch_of)
    texts = []
    for batch in batches:
        starts = batch.tokens.cu_seqlens
        texts += [tokenizer.decode(batch.tokens.token_ids[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
    assert len(texts) == 4 and held_out.bytes_of(batches) == sum(len(text) for text in texts) > 200
    held_out.config = PretrainConfig(model=name, eval_pairs=4, final_pairs=4)
    model = system.model.from_pretrained(run)
    figures = held_out.measure(system.objective(model, None, config), 1, last=True)
    nats = figures[f"{system.targets[0].key}_loss"] * batches[0].count
    assert figures["bits_per_byte"] == pytest.approx(nats / math.log(2) / held_out.bytes_of(batches))


def test_an_evaluation_does_not_depend_on_the_parts_of_its_set(whole_run, monkeypatch):
    """The set is cut into parts of some thousand tokens; here into one and into several."""
    name, run = whole_run
    config, tokenizer, system = PretrainConfig.load(run), Tokenizer.load(run), SYSTEMS[name]
    documents, model = Shards(run / "corpus", tokenizer).all(), system.model.from_pretrained(run)
    evaluated_as = SYSTEMS[system.evaluated_as or name]
    results, counts = [], []
    for batch_tokens in (8192, 100):
        monkeypatch.setattr(
            held_out_evaluation, "evaluation_batches", partial(evaluation_batches, batch_tokens=batch_tokens)
        )
        held_out = HeldOut(config, documents, tokenizer, 32)
        counts.append(len(held_out.batches(8, evaluated_as.batch_of)))
        results.append(held_out.measure(evaluated_as.objective(model, None, config), 1, last=True))
        counts.append(held_out.counts)
    assert counts[0] == 1 < counts[2] and counts[1] == counts[3]
    one, other = ({name: value for name, value in result.items() if value is not None} for result in results)
    assert one == pytest.approx(other, rel=1e-5) and len(one) >= 2


def masked_windows() -> MaskedBatch:
    """Two windows [CLS] text [SEP], of which one token is masked."""
    tokens = Batch.of_sequences([np.array([2, 4, 11, 12, 3], np.int32), np.array([2, 20, 21, 3], np.int32)])
    return MaskedBatch(tokens, np.array([1], np.int32), np.array([10], np.int32), None, 1, 0)


def test_a_window_predicts_its_text_but_not_where_it_was_cut():
    batch = NextTokenBatch.of_windows(masked_windows())
    assert batch.tokens.token_ids[batch.rows].tolist() == [2, 10, 11, 2, 20]
    assert batch.labels.tolist() == [10, 11, 12, 20, 21] and batch.count == 5
    parts = batch.split(2)
    assert [part.labels.tolist() for part in parts] == [[10, 11, 12], [20, 21]]
    assert [part.count for part in parts] == [5, 5]


class OneDocument(DocumentSet):
    """10 11 12 10 11 13 20: after 10 always 11, after 11 either."""

    def __init__(self):
        pass

    def __len__(self):
        return 1

    def read(self, index):
        return np.array([10, 11, 12, 10, 11, 12, 11, 20, 11])


def test_the_baselines_of_next_tokens_know_no_token_on_the_right():
    found = next_token_baselines(OneDocument(), [masked_windows()])
    # predicted: 10 11 12 20 21; the most frequent is 11, right once; after [CLS] 11 is guessed, after 10 comes 11,
    # after 11 comes 12 (twice, 20 once), after 20 comes 11
    assert found == {"most frequent": 1 / 5, "left neighbour": 2 / 5}


@pytest.mark.parametrize("weights", [(5.0, 0.0, 1.0), (0.0, 2.0, 0.0), (1.0, 0.0, 0.0)])
def test_any_loss_may_be_left_out(tmp_path, corpus, teacher, weights):
    run = tmp_path / "run"
    changes = dict(steps=4, loss_weights=weights, soft_targets="masked", eval_pairs=4, final_pairs=4)
    assert pretrain(config_of("distilbert", corpus, run, teacher, **changes)) == 0
    train, evaluation = read_metrics(run)[0], read_metrics(run)[-1]
    names = "soft_loss", "mlm_loss", "cosine_loss"
    assert [train[name] is not None for name in names] == [weight > 0 for weight in weights]
    assert evaluation["mlm_loss"] > 0 and evaluation["mlm_accuracy"] is not None


def test_what_a_teacher_read_from_standard_input_cannot_be_read_again(tmp_path, teacher, capsys):
    shutil.copytree(teacher, tmp_path / "teacher")
    dataclasses.replace(PretrainConfig.load(teacher), corpus=("-",)).save(tmp_path / "teacher")
    assert cli.main(["distill", str(tmp_path / "teacher"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "cannot be read again; name the CORPUS" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_student_resumes_where_its_teacher_has_moved(tmp_path, corpus, teacher):
    run, moved = tmp_path / "run", tmp_path / "moved"
    assert pretrain(config_of("distilbert", corpus, run, teacher, steps=4, final_pairs=4)) == 0
    shutil.copytree(teacher, moved)
    assert pretrain(config_of("distilbert", corpus, run, moved, steps=4, final_pairs=4, resume=True)) == 0


def test_a_student_has_half_of_the_layers_and_starts_from_its_teacher(tmp_path, corpus, teacher, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = DistillConfig(str(teacher), out="run").pretraining()
    of_teacher = PretrainConfig.load(teacher)
    assert config.lengths == ("40:1",)  # as far as the teacher reads
    for name in ("corpus", "held_out", "mask_rate", "batch_tokens", "accumulate", "dropout", "max_positions"):
        assert getattr(config, name) == getattr(of_teacher, name), name
    assert (config.model, config.loss_weights, config.temperature) == ("distilbert", (5.0, 2.0, 1.0), 2.0)
    tokenizer, model = Tokenizer.load(teacher), load_teacher(config)
    student = prepare_model(config, tmp_path, tokenizer, model)
    assert student.config.num_hidden_layers == 1 and student.parameters.count < model.parameters.count
    word = "bert.embeddings.word_embeddings.weight"
    assert np.array_equal(student.parameters[word].value, model.parameters[word].value)
    fresh = prepare_model(dataclasses.replace(config, student_init="random"), tmp_path, tokenizer, model)
    assert not np.array_equal(fresh.parameters[word].value, model.parameters[word].value)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(teacher=None), "--model distilbert and --teacher DIR require each other"),
        (dict(model="bert"), "--model distilbert and --teacher DIR require each other"),
        (dict(loss_weights=(1.0, 2.0)), "--loss-weights are 1 2; expected three"),
        (dict(loss_weights=(0.0, 0.0, 0.0)), "not all of them 0"),
        (dict(temperature=0.0), "--temperature is 0.0"),
        (dict(vocab=None), "a student needs its teacher's vocabulary; give --vocab"),
        (dict(max_positions=80), "--max-positions is 80, but the teacher has 40"),
        (dict(teacher="nowhere/at/all"), "nowhere/at/all is not a folder"),
    ],
)
def test_a_distillation_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path, corpus, teacher, changes, message
):
    values = dict(model="distilbert", teacher=str(teacher), vocab=str(teacher)) | changes
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        pretrain(tiny_config(corpus, tmp_path / "run", **values))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "model, message",
    [
        (GptForCausalLM(small_config(is_decoder=True), "reference"), "reads in both directions"),
        (Elmo(ElmoConfig(103, 8), "reference"), "type 'elmo'; expected 'bert' or 'distilbert'"),
        (BertForPreTraining(small_config(num_hidden_layers=1), "reference"), "expected at least 2"),
        (Bert(small_config(num_hidden_layers=2), "reference"), "without its masked-LM head"),
    ],
)
def test_only_a_bert_teaches(tmp_path, corpus, model, message, capsys):
    model.save_pretrained(tmp_path / "model")
    Tokenizer([*SPECIAL_TOKENS, *(f"w{number}" for number in range(98))]).save(tmp_path / "model")
    assert cli.main(["distill", str(tmp_path / "model"), str(corpus), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
