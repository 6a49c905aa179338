"""Generation: the cache of keys and values changes nothing, sampling keeps to its rules, and nonsense is refused."""

import numpy as np
import pytest

from minibert.checks.short_training import small_config
from minibert.data.batch import Batch
from minibert.inference.generate import Sampling, generate
from minibert.models import BertForPreTraining, GptForCausalLM
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS
from tests.models.parity import shaken

WORDS = [f"w{number}" for number in range(small_config().vocab_size - len(SPECIAL_TOKENS))]
LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.2, 0.25]))


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer([*SPECIAL_TOKENS, *WORDS])


def model_of(backend, seed=1) -> GptForCausalLM:
    return shaken(GptForCausalLM(small_config(is_decoder=True), backend, dtype="float64"), seed)


@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 3, 4, 5)])
def test_with_a_cache_the_logits_are_those_of_the_whole_sequence(backend, cuts):
    model, ids = model_of(backend), np.array([2, 9, 30, 7, 9, 51], np.int32)
    whole = Batch.of_sequences([ids])
    expected = model.backend.numpy(model.forward(model.prepare(whole).inputs, keep_cache=False)[0])
    caches = model.new_caches()
    for first, last in zip((0, *cuts), (*cuts, len(ids)), strict=True):
        logits = model.backend.numpy(model.extend(ids[first:last], caches))
        assert np.abs(logits - expected[last - 1]).max() < 1e-12


def test_a_token_costs_one_token(tokenizer, monkeypatch):
    model, rows = model_of("reference"), []
    forward = model.backend.linear_forward
    monkeypatch.setattr(model.backend, "linear_forward", lambda x, *rest: (rows.append(len(x)), forward(x, *rest))[1])
    generate(model, tokenizer, "w1 w2 w3", tokens=4, sampling=Sampling(temperature=0))
    assert len(rows) % 4 == 0
    assert set(rows[: len(rows) // 4]) == {4, 1}  # the text with its [CLS], and the head on its last token
    assert set(rows[len(rows) // 4 :]) == {1}


@pytest.mark.parametrize(
    "sampling, expected",
    [
        (Sampling(), [0.1, 0.4, 0.05, 0.2, 0.25]),
        (Sampling(temperature=0), [0, 1, 0, 0, 0]),
        (Sampling(top_k=2), [0, 0.4 / 0.65, 0, 0, 0.25 / 0.65]),
        (Sampling(top_p=0.64), [0, 0.4 / 0.65, 0, 0, 0.25 / 0.65]),
        (Sampling(top_p=0.66), [0, 0.4 / 0.85, 0, 0.2 / 0.85, 0.25 / 0.85]),
        (Sampling(top_p=1e-9), [0, 1, 0, 0, 0]),
        (Sampling(top_k=1, top_p=0.9), [0, 1, 0, 0, 0]),
        (Sampling(temperature=0.5, top_k=2), [0, 0.16 / 0.2225, 0, 0, 0.0625 / 0.2225]),
    ],
)
def test_probabilities(sampling, expected):
    assert sampling.probabilities(LOGITS) == pytest.approx(expected, abs=1e-12)


def test_top_p_keeps_no_token_beyond_those_that_reach_it():
    assert Sampling(top_p=0.5).probabilities(np.zeros(2)).tolist() == [1, 0]


def test_tokens_are_drawn_as_often_as_their_probabilities_say():
    random, sampling = np.random.default_rng(0), Sampling(top_k=3)
    drawn = np.bincount([sampling.choose(LOGITS, random) for _ in range(20_000)], minlength=5) / 20_000
    assert np.abs(drawn - sampling.probabilities(LOGITS)).max() < 4 * np.sqrt(0.25 / 20_000)


def test_a_seed_gives_one_text_without_special_tokens_and_ends_at_the_last_position(backend, tokenizer):
    model = model_of(backend)
    one = generate(model, tokenizer, "w1 w2", tokens=10, seed=3)
    assert one == generate(model, tokenizer, "w1 w2", tokens=10, seed=3)
    assert one != generate(model, tokenizer, "w1 w2", tokens=10, seed=4)
    assert one.startswith("w1 w2 w") and "[" not in one
    longest = model.config.max_position_embeddings
    model.lm_head.bias.value[tokenizer.sep_id] = -100
    assert len(generate(model, tokenizer, "w1", tokens=10_000).split()) == longest - 1  # without [CLS]


def test_it_ends_where_the_model_predicts_the_end(tokenizer):
    model = model_of("reference")
    model.lm_head.bias.value[tokenizer.sep_id] = 100
    assert generate(model, tokenizer, "w1 w2") == "w1 w2"


@pytest.mark.parametrize(
    "name, value", [("temperature", -1), ("temperature", float("nan")), ("top_k", 0), ("top_p", 0), ("top_p", 1.1)]
)
def test_sampling_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} is"):
        Sampling(**{name: value})


def test_models_and_texts_that_do_not_fit(tokenizer):
    with pytest.raises(ValueError, match="BertForPreTraining reads in both directions"):
        generate(BertForPreTraining(small_config(), "reference"), tokenizer, "w1")
    model = model_of("reference")
    with pytest.raises(ValueError, match="positions; shorten it"):
        generate(model, tokenizer, "w1 " * model.config.max_position_embeddings)
