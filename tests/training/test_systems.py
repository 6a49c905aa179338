"""Every system of the table is trained, stopped, resumed and loaded as BERT is (test_pretrain.py)."""

import math
import os
import signal
from typing import get_args, get_type_hints

import numpy as np
import pytest

from minibert.data.batch import Batch
from minibert.data.documents import DocumentSet
from minibert.data.masked_batch import MaskedBatch
from minibert.data.next_token import NextTokenBatch
from minibert.data.shards import Shards
from minibert.models import PRESETS
from minibert.text import Tokenizer
from minibert.training import PretrainConfig, pretrain
from minibert.training.held_out_evaluation import HeldOut
from minibert.training.metrics import read_metrics
from minibert.training.systems import SYSTEMS, next_token_baselines

from .test_pretrain import assert_same_run, stop_at
from .tiny import PRESET, tiny_config

OTHERS = sorted(set(SYSTEMS) - {"bert"})


def test_the_option_names_each_system_once():
    assert get_args(get_type_hints(PretrainConfig)["model"]) == tuple(SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_only_systems_with_pairs_are_given_pairs(name):
    config = PretrainConfig(model=name)
    assert (config.pairs_from == config.nsp_from) == SYSTEMS[name].pairs


@pytest.fixture(scope="module", params=OTHERS)
def whole_run(request, tmp_path_factory, corpus):
    """The name of a system, and the folder of a run that was never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", PRESET)
        run = tmp_path_factory.mktemp(request.param) / "run"
        assert pretrain(tiny_config(corpus, run, model=request.param)) == 0
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
    assert system.title in card and f"--model {name}" in card and system.how_to_try.format("FOLDER") in card
    assert f"| {system.targets[0].name} predicted correctly |" in card
    model = system.model.from_pretrained(run)
    assert model.initialised_afresh == ()
    guesses = system.guesses(model, Tokenizer.load(run), "the river watches the [MASK] at dawn.")
    assert len(guesses) == 5 and guesses == sorted(guesses, key=lambda guess: -guess[1])


@pytest.mark.slow
@pytest.mark.parametrize("step", [3, 7])
def test_a_run_that_is_stopped_and_resumed_is_the_same_run(tmp_path, corpus, whole_run, monkeypatch, step):
    name, whole = whole_run
    monkeypatch.setitem(PRESETS, "tiny", PRESET)
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert pretrain(tiny_config(corpus, run, model=name)) == 128 + signal.SIGTERM
    assert pretrain(tiny_config(corpus, run, model=name, resume=True)) == 0
    assert_same_run(run, whole)


def test_bits_per_byte_are_those_of_the_decoded_text(whole_run):
    """A text of ASCII letters: the loss of all its tokens, in bits, for each letter and space."""
    name, run = whole_run
    config, tokenizer = PretrainConfig.load(run), Tokenizer.load(run)
    documents = Shards(run / "corpus", tokenizer).all()
    held_out, system = HeldOut(config, documents, tokenizer, 32), SYSTEMS[name]
    batches = [system.batch_of(batch) for batch in held_out.masked(4)]
    texts = []
    for batch in batches:
        starts = batch.tokens.cu_seqlens
        texts += [tokenizer.decode(batch.tokens.token_ids[a:b]) for a, b in zip(starts, starts[1:], strict=False)]
    assert len(texts) == 4 and held_out.bytes_of(batches) == sum(len(text) for text in texts) > 200
    held_out.config = PretrainConfig(model=name, eval_pairs=4, final_pairs=4)
    figures = held_out.measure(system.objective(system.model.from_pretrained(run)), 1, last=True)
    nats = figures[f"{system.targets[0].key}_loss"] * batches[0].count
    assert figures["bits_per_byte"] == pytest.approx(nats / math.log(2) / held_out.bytes_of(batches))


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
