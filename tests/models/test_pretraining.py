"""What must not matter to the losses, does not; what must, does.  One body for all backends."""

import dataclasses

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.data.batch import Batch, running_sum
from minibert.data.masked_batch import MaskedBatch
from minibert.inference import fill_mask
from minibert.models import BertForPreTraining
from minibert.training.optimizer import AdamW, AdamWSettings
from tests.objectives import run_backward, run_forward, run_losses

from .parity import shaken

KEY = (11, 5)


def model_and_batch(backend, dropout=0.2, dtype="float64", **batch):
    config = small_config(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    return shaken(BertForPreTraining(config, backend, dtype=dtype)), random_batch(config, **batch)


def gradients(model, *batches, key=KEY):
    """The sum of the batches' losses, and the gradients they leave, with dropout."""
    model.parameters.zero_gradients()
    total = 0.0
    for batch in batches:
        losses, cache = run_losses(model, batch, key)
        run_backward(model, cache)
        total += float(losses.total)
    return total, model.backend.numpy(model.parameters.gradients).copy()


def assert_close(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-12)
    assert np.abs(one[1] - other[1]).max() <= 1e-12 * np.abs(one[1]).max()


@pytest.mark.parametrize("parts", [2, 3, 5])
def test_a_batch_that_is_split_gives_the_same_gradient(backend, parts):
    model, batch = model_and_batch(backend)
    assert_close(gradients(model, batch), gradients(model, *batch.split(parts)))


def reordered(batch: MaskedBatch, order) -> MaskedBatch:
    """The same sequences in another order; each keeps its number, and so its dropout."""
    parts = [batch.take(i, i + 1) for i in order]
    starts = running_sum([len(part.tokens.token_ids) for part in parts])

    def join(name, of=lambda part: part):
        return np.concatenate([getattr(of(part), name) for part in parts])

    names = "token_ids", "segment_ids", "position_ids", "sequence_numbers"
    joined = {name: join(name, lambda part: part.tokens) for name in names}
    shifted = [part.masked_positions + start for part, start in zip(parts, starts[:-1], strict=True)]
    return dataclasses.replace(
        batch,
        tokens=Batch(**joined, cu_seqlens=starts),
        masked_positions=np.concatenate(shifted).astype(np.int32),
        masked_labels=join("masked_labels"),
        nsp_labels=join("nsp_labels"),
    )


def test_the_order_of_the_sequences_changes_nothing(backend):
    model, batch = model_and_batch(backend)
    assert_close(gradients(model, batch), gradients(model, reordered(batch, [3, 0, 4, 2, 1])))


def test_what_other_sequences_hold_changes_nothing(backend):
    """No token looks beyond its own sequence."""
    model, batch = model_and_batch(backend)
    tokens, body = batch.tokens, model.bert
    others = tokens.token_ids.copy()
    start, stop = tokens.cu_seqlens[2:4]
    others[:start] = 1 + (others[:start] + 7) % 90
    others[stop:] = 1 + (others[stop:] + 7) % 90
    before, _ = body.forward(body.prepare(tokens))
    after, _ = body.forward(body.prepare(dataclasses.replace(tokens, token_ids=others)))
    assert np.array_equal(model.backend.numpy(before)[start:stop], model.backend.numpy(after)[start:stop])
    assert not np.array_equal(model.backend.numpy(before)[:start], model.backend.numpy(after)[:start])


def test_positions_that_are_not_masked_have_no_say_in_the_mlm_loss(backend):
    """One masked position fewer: the others' logits stay as they are."""
    model, batch = model_and_batch(backend)
    fewer = dataclasses.replace(
        batch, masked_positions=batch.masked_positions[1:], masked_labels=batch.masked_labels[1:]
    )
    logits, _, _ = run_forward(model, batch, KEY)
    fewer_logits, _, _ = run_forward(model, fewer, KEY)
    assert np.allclose(model.backend.numpy(logits)[1:], model.backend.numpy(fewer_logits), rtol=0, atol=1e-12)


def test_a_last_layer_cut_to_the_rows_that_are_read_is_exact(backend):
    model, batch = model_and_batch(backend)
    rows = np.array([0, 1, 9, 10, 30, 61])
    everything, _ = model.bert.forward(model.bert.prepare(batch.tokens), KEY)
    cut, _ = model.bert.forward(model.bert.prepare(batch.tokens, rows), KEY)
    assert np.allclose(model.backend.numpy(everything)[rows], model.backend.numpy(cut), rtol=0, atol=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_nsp_examples_of_both_labels_give_gradient(backend, label):
    model, batch = model_and_batch(backend, lengths=(9,))
    batch = dataclasses.replace(batch, nsp_labels=np.array([label], np.int32))
    gradients(model, batch)
    assert np.abs(model.backend.numpy(model.nsp_head.weight.gradient)).max() > 1e-3


def test_a_batch_without_pairs_leaves_the_pooler_alone(backend):
    model, batch = model_and_batch(backend, pairs=False)
    gradients(model, batch)
    for part in (model.nsp_head, model.bert.pooler):
        assert not model.backend.numpy(part.weight.gradient).any()


def test_a_batch_with_nothing_masked_has_an_mlm_loss_of_zero(backend):
    model, batch = model_and_batch(backend)
    nothing = np.empty(0, np.int32)
    batch = dataclasses.replace(batch, masked_positions=nothing, masked_labels=nothing, mlm_count=0)
    losses, cache = run_losses(model, batch)
    assert float(losses.mlm) == 0 and float(losses.nsp) > 0
    run_backward(model, cache)


def test_dropout_changes_with_the_step_and_stays_with_the_key(backend):
    model, batch = model_and_batch(backend)
    first, again, other = (float(run_losses(model, batch, key)[0].total) for key in (KEY, KEY, (11, 6)))
    assert first == again != other
    assert float(run_losses(model, batch)[0].total) == float(run_losses(model, batch)[0].total)


@pytest.mark.thorough
def test_a_model_can_learn_one_batch_by_heart(backend):
    """Both heads, all layers: if any gradient were missing, something would stay unlearnt."""
    model, batch = model_and_batch(backend, dropout=0.0, dtype="float32")
    optimizer = AdamW(model.parameters, AdamWSettings(beta2=0.98))
    for step in range(1, 121):
        model.parameters.zero_gradients()
        losses, cache = run_losses(model, batch)
        run_backward(model, cache)
        optimizer.step(step, 5e-3)
    assert float(losses.mlm) < 0.05 and float(losses.nsp) < 0.05
    assert int(losses.mlm_correct) == batch.mlm_count and int(losses.nsp_correct) == batch.nsp_count


def test_initialisation_follows_the_seed_and_the_config(backend):
    config = small_config(vocab_size=4000, initializer_range=0.05)
    model = BertForPreTraining(config, backend, seed=1)
    table = backend.numpy(model.bert.embeddings.token.value)
    assert abs(table.std() / (0.05 * 0.8796) - 1) < 0.02  # a normal distribution cut at two deviations is narrower
    assert np.abs(table).max() <= 0.1
    again, other = (BertForPreTraining(config, backend, seed=seed).parameters.values for seed in (1, 2))
    assert np.array_equal(backend.numpy(model.parameters.values), backend.numpy(again))
    assert not np.array_equal(backend.numpy(again), backend.numpy(other))
    for name, parameter in model.parameters.all.items():
        expected = "LayerNorm" not in name and not name.endswith("bias")
        assert parameter.decayed == expected, name


def test_sinusoids_make_neighbours_alike(backend):
    model = BertForPreTraining(small_config(hidden_size=48), backend, position_init="sinusoids")
    table = backend.numpy(model.bert.embeddings.position.value)
    likeness = table @ table.T
    assert np.all(likeness[10, [9, 11]] > likeness[10, [5, 15]])
    assert np.sqrt((table**2).mean()) == pytest.approx(0.02, rel=1e-3)  # as wide as the normal ones
    with pytest.raises(ValueError, match="sinusoids"):
        BertForPreTraining(small_config(), backend, position_init="random")


class TestRefusals:
    def test_ids_outside_the_tables(self, backend):
        model, batch = model_and_batch(backend)
        for name, value, word in (("token_ids", 103, "103"), ("token_ids", -1, "-1"), ("position_ids", 33, "33")):
            array = getattr(batch.tokens, name).copy()
            array[3] = value
            tokens = dataclasses.replace(batch.tokens, **{name: array})
            with pytest.raises(ValueError, match=word):
                run_losses(model, dataclasses.replace(batch, tokens=tokens))

    def test_a_fill_without_a_blank_or_beyond_the_positions(self, backend):
        from minibert.text import Tokenizer
        from minibert.text.tokenizer import SPECIAL_TOKENS

        tokenizer = Tokenizer([*SPECIAL_TOKENS, "a", "b"])
        model = BertForPreTraining(small_config(vocab_size=7), backend)
        with pytest.raises(ValueError, match=r"\[MASK\]"):
            fill_mask(model, tokenizer, "a b")
        with pytest.raises(ValueError, match="43 tokens.*at most 33"):
            fill_mask(model, tokenizer, "[MASK]" + " a" * 40)
