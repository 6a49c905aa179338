"""The left-to-right model: parity with `transformers`, what a token may see, and what it loads."""

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.data.batch import Batch, to_padded
from minibert.data.next_token import NextTokenBatch
from minibert.data.task_batch import TaskBatch
from minibert.models import (
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    GptForCausalLM,
)
from minibert.objectives import NextToken

from .parity import shaken


def model_and_batch(backend, dtype="float64") -> tuple[GptForCausalLM, Batch]:
    config = small_config(is_decoder=True)
    return shaken(GptForCausalLM(config, backend, dtype=dtype)), random_batch(config).tokens


def logits_of(model: GptForCausalLM, tokens: Batch, rows=None) -> np.ndarray:
    return model.backend.numpy(model.forward(model.prepare(tokens, rows).inputs, keep_cache=False)[0])


def test_a_batch_predicts_all_tokens_but_the_first_of_each_sequence():
    tokens = Batch.of_sequences([[5, 6, 7], [8], [9, 10]])
    batch = NextTokenBatch.of(tokens)
    assert (batch.count, batch.rows.tolist(), batch.labels.tolist()) == (3, [0, 1, 4], [6, 7, 10])
    assert batch.rows.dtype == batch.labels.dtype == np.int32
    parts = batch.split(3)
    assert [part.count for part in parts] == [3, 3, 3]
    assert [part.labels.tolist() for part in parts] == [[6, 7], [], [10]]


def test_no_token_sees_a_later_one(backend):
    model, tokens = model_and_batch(backend)
    before = logits_of(model, tokens)
    changed = tokens.token_ids.copy()
    start, end = tokens.cu_seqlens[:2]
    changed[end - 1] = (changed[end - 1] + 1) % model.config.vocab_size
    after = logits_of(
        model, Batch(changed, tokens.segment_ids, tokens.position_ids, tokens.cu_seqlens, tokens.sequence_numbers)
    )
    assert np.array_equal(before[start : end - 1], after[start : end - 1])
    assert np.abs(before[end - 1] - after[end - 1]).max() > 1e-3


def test_only_the_rows_that_are_asked_for_are_computed(backend):
    model, tokens = model_and_batch(backend)
    rows = np.array([0, 3, 4, len(tokens.token_ids) - 1], np.int32)
    assert np.abs(logits_of(model, tokens, rows) - logits_of(model, tokens)[rows]).max() < 1e-12


def test_loss_logits_and_all_gradients_equal_those_of_transformers(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model, tokens = model_and_batch("reference")
    model.save_pretrained(tmp_path)
    peer = transformers.BertLMHeadModel.from_pretrained(tmp_path, attn_implementation="eager").double().eval()
    assert peer.config.is_decoder
    for parameter, value in ((dict(peer.named_parameters())[name], value) for name, value in values(model).items()):
        parameter.data.copy_(torch.from_numpy(value))  # the file has float32
    padded = {name: torch.from_numpy(array) for name, array in to_padded(tokens, 0).items()}
    kept = padded["attention_mask"].bool()
    labels = padded["input_ids"].masked_fill(~kept, -100)
    theirs = peer(**padded).logits  # its own loss is computed in float32
    their_loss = torch.nn.functional.cross_entropy(theirs[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    their_loss.backward()

    objective, batch = NextToken(model), NextTokenBatch.of(tokens)
    model.parameters.zero_gradients()
    losses, cache = objective.losses(objective.prepare(batch))
    objective.losses_backward(cache)
    assert float(losses.total) == pytest.approx(float(their_loss.detach()), rel=1e-12)
    assert np.abs(logits_of(model, tokens) - theirs.detach().numpy()[kept.numpy()]).max() < 1e-9
    gradients = {name: parameter.grad for name, parameter in peer.named_parameters()}
    for name, parameter in model.parameters.all.items():
        theirs_of_it = gradients[name].numpy()
        assert np.abs(parameter.gradient - theirs_of_it).max() <= 1e-9 * max(np.abs(theirs_of_it).max(), 1e-3), name


def values(model) -> dict[str, np.ndarray]:
    return {name: np.array(parameter.value) for name, parameter in model.parameters.all.items()}


def test_a_folder_is_loaded_as_what_it_is(tmp_path):
    model, tokens = model_and_batch("reference", "float32")
    model.save_pretrained(tmp_path / "gpt")
    again = GptForCausalLM.from_pretrained(tmp_path / "gpt", "reference")
    assert np.array_equal(logits_of(again, tokens), logits_of(model, tokens))
    with pytest.raises(
        ValueError,
        match="is_decoder is True, but BertForPreTraining reads in both directions",
    ):
        BertForPreTraining.from_pretrained(tmp_path / "gpt", "reference")
    with pytest.raises(ValueError, match="is_decoder is False"):
        GptForCausalLM(small_config(), "reference")
    BertForPreTraining(small_config(), "reference").save_pretrained(tmp_path / "bert")
    with pytest.raises(
        ValueError,
        match="config.json: is_decoder is False, but GptForCausalLM reads from left to right",
    ):
        GptForCausalLM.from_pretrained(tmp_path / "bert", "reference")


def task_model_and_peer(model_class, folder, labels=()):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config = small_config(is_decoder=True, labels=labels)
    model = shaken(model_class(config, "reference", dtype="float64", seed=3))
    model.parameters.values[...] = model.parameters.values.astype(np.float32)  # as a file holds them
    model.save_pretrained(folder)
    eager = dict(attn_implementation="eager", dtype=torch.float64)
    return torch, transformers, eager, model


@pytest.mark.parametrize("model_class", [BertForTokenClassification, BertForQuestionAnswering])
def test_on_tokens_and_spans_a_fine_tuned_gpt_is_that_of_transformers(tmp_path, model_class):
    labels = ("a", "b") if model_class is BertForTokenClassification else ()
    torch, transformers, eager, model = task_model_and_peer(model_class, tmp_path, labels)
    peer = getattr(transformers, model_class.__name__).from_pretrained(tmp_path, **eager).eval()
    tokens = random_batch(small_config()).tokens
    everything = TaskBatch(tokens, np.arange(len(tokens.token_ids), dtype=np.int32), None, 1)
    ours = model.forward(model.prepare(everything).inputs)[0]
    output = peer(**{name: torch.from_numpy(array) for name, array in to_padded(tokens, 0).items()})
    theirs = output.logits if labels else torch.stack([output.start_logits, output.end_logits], dim=-1)
    kept = to_padded(tokens, 0)["attention_mask"].astype(bool)
    assert np.abs(ours - theirs.detach().numpy()[kept]).max() < 1e-10


def test_on_sentences_a_fine_tuned_gpt_reads_the_last_token(tmp_path):
    torch, transformers, eager, model = task_model_and_peer(BertForSequenceClassification, tmp_path, ("a", "b"))
    assert not any("pooler" in name for name in model.parameters.all)
    body = transformers.BertModel.from_pretrained(tmp_path, add_pooling_layer=False, **eager).eval()
    tokens = random_batch(small_config()).tokens
    ours = model.forward(model.prepare(TaskBatch(tokens, tokens.cls_positions, None, 1)).inputs)[0]
    padded = {name: torch.from_numpy(array) for name, array in to_padded(tokens, 0).items()}
    hidden = body(**padded).last_hidden_state.detach().numpy()
    last = hidden[np.arange(len(hidden)), padded["attention_mask"].sum(1).numpy() - 1]  # [B, H]
    weight, bias = (model.parameters[f"classifier.{name}"].value for name in ("weight", "bias"))
    assert np.abs(ours - (last @ weight.T + bias)).max() < 1e-10


def test_a_bilstm_on_top_is_saved_and_loaded(tmp_path):
    config = small_config(is_decoder=True, labels=("a", "b"), head="bilstm")
    model = shaken(BertForTokenClassification(config, "reference", seed=3))
    model.save_pretrained(tmp_path)
    again = BertForTokenClassification.from_pretrained(tmp_path, "reference")
    assert again.config == config and again.initialised_afresh == ()
    tokens = random_batch(small_config()).tokens
    batch = TaskBatch(tokens, np.array([0, 3, 5], np.int32), None, 1)
    one, other = (each.forward(each.prepare(batch).inputs)[0] for each in (model, again))
    assert np.array_equal(one, other) and one.shape == (3, 2)
    GptForCausalLM(small_config(is_decoder=True), "reference").save_pretrained(tmp_path / "gpt")
    fresh = BertForTokenClassification.from_pretrained(tmp_path / "gpt", "reference", labels=("a",), head="bilstm")
    assert {name.partition(".")[0] for name in fresh.initialised_afresh} == {"classifier", "lstm"}
