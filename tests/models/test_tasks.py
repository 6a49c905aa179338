"""BERT with one output layer: logits, losses and all gradients equal those of `transformers`; and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.data.batch import to_padded
from minibert.data.task_batch import TaskBatch
from minibert.models import (
    Bert,
    BertConfig,
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.ops import load_backend
from tests.objectives import run_backward, run_forward, run_losses

from .parity import shaken

CLASSES = {
    "classes": BertForSequenceClassification,
    "number": BertForSequenceClassification,
    "tokens": BertForTokenClassification,
    "span": BertForQuestionAnswering,
    "choice": BertForMultipleChoice,
}
LABELS = {
    "classes": ("no", "maybe", "yes"),
    "number": ("similarity",),
    "tokens": ("O", "B-X", "I-X"),
    "span": (),
    "choice": (),
}


def task_batch(kind, random) -> TaskBatch:
    """Ragged sequences; of a span task all of one length, since transformers' softmax runs over the padding too."""
    lengths = {"span": (9, 9, 9), "choice": (5, 17, 1, 9)}.get(kind, (1, 9, 33, 17, 2))
    batch = random_batch(small_config(), lengths=lengths, pairs=False)
    tokens = replace(batch.tokens, token_ids=batch.original_ids)
    first, sequences = tokens.cls_positions.astype(np.int32), len(lengths)
    if kind == "classes":
        return TaskBatch(tokens, first, random.integers(0, 3, sequences).astype(np.int32), sequences)
    if kind == "number":
        return TaskBatch(tokens, first, random.standard_normal(sequences).astype(np.float32), sequences)
    if kind == "tokens":
        rows = np.sort(random.choice(len(tokens.token_ids), 20, replace=False)).astype(np.int32)
        return TaskBatch(tokens, rows, random.integers(0, 3, 20).astype(np.int32), 20)
    if kind == "span":
        spans = np.array([[0, 0], [2, 5], [8, 8]], np.int32)
        return TaskBatch(tokens, np.arange(len(tokens.token_ids), dtype=np.int32), spans, sequences)
    return TaskBatch(tokens, first, np.array([1, 0], np.int32), 2, choices=2)


def task_model(kind, backend, **changes):
    config = replace(small_config(), labels=LABELS[kind], **changes)
    model = shaken(CLASSES[kind](config, backend, dtype="float64", seed=3))
    model.parameters.values[...] = model.parameters.values.astype(np.float32)  # as a file holds them
    return model


def peer_of(model, folder):
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="parity needs the extra `peers`")
    model.save_pretrained(folder)
    peer = getattr(transformers, type(model).__name__).from_pretrained(folder, dtype=torch.float64)
    return torch, peer.eval()


def peer_arguments(torch, kind, batch: TaskBatch) -> dict:
    padded = {name: torch.tensor(array) for name, array in to_padded(batch.tokens).items() if name != "labels"}
    if kind == "choice":
        padded = {name: tensor.reshape(-1, batch.choices, tensor.shape[1]) for name, tensor in padded.items()}
    if kind == "span":
        first, last = torch.tensor(batch.labels.astype(np.int64)).T
        return padded | {"start_positions": first, "end_positions": last}
    if kind == "tokens":
        labels = np.full(len(batch.tokens.token_ids), -100)
        labels[batch.rows] = batch.labels
        kept = padded["attention_mask"].numpy().astype(bool)
        grid = np.full(kept.shape, -100)
        grid[kept] = labels
        return padded | {"labels": torch.tensor(grid)}
    labels = batch.labels.astype(np.float64 if kind == "number" else np.int64)
    return padded | {"labels": torch.tensor(labels)}


@pytest.mark.parametrize("kind", CLASSES)
def test_loss_logits_and_all_gradients_equal_autograd(tmp_path, backend, kind):
    batch, model = task_batch(kind, np.random.default_rng(5)), task_model(kind, backend)
    torch, peer = peer_of(model, tmp_path)
    arguments = peer_arguments(torch, kind, batch)
    output = peer(**arguments)
    output.loss.backward()

    loss, cache = run_losses(model, batch)
    model.parameters.zero_gradients()
    run_backward(model, cache)
    assert float(loss.total) == pytest.approx(output.loss.item(), rel=1e-10)
    if kind == "span":
        expected = torch.stack([output.start_logits, output.end_logits], dim=-1).reshape(-1, 2)
    else:
        expected = output.logits[arguments["labels"] != -100] if kind == "tokens" else output.logits
    np.testing.assert_allclose(backend.numpy(loss.logits), expected.detach().numpy(), rtol=0, atol=1e-10)
    theirs = dict(peer.named_parameters())
    largest = max(float(p.grad.abs().max()) for p in theirs.values() if p.grad is not None)
    for name, parameter in model.parameters.all.items():
        gradient = theirs[name].grad if name in theirs else None
        if gradient is None:
            assert not backend.numpy(parameter.gradient).any(), name  # the pooler, which tokens and spans do not read
            continue
        gradient = gradient.numpy()
        bound = 1e-9 * max(np.abs(gradient).max(), 1e-3 * largest)
        np.testing.assert_allclose(backend.numpy(parameter.gradient), gradient, rtol=0, atol=bound, err_msg=name)


@pytest.mark.parametrize("kind", CLASSES)
def test_parts_of_a_batch_add_up(kind):
    """Gradients of two halves are those of the whole, dropout included: counts and numbers are the global batch's."""
    model = task_model(kind, "cpu", hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.2)
    batch = task_batch(kind, np.random.default_rng(6))
    middle = 2
    edge = batch.tokens.cu_seqlens[middle]
    halves = []
    for first, last, inside in (
        (0, middle, batch.rows < edge),
        (middle, len(batch.tokens.sequence_numbers), batch.rows >= edge),
    ):
        rows = batch.rows[inside] - batch.tokens.cu_seqlens[first]
        if kind == "tokens":
            labels = batch.labels[inside]
        else:
            labels = batch.labels[first // batch.choices : last // batch.choices]
        halves.append(TaskBatch(batch.tokens.take(first, last), rows, labels, batch.count, batch.choices))
    gradients, losses = [], []
    for parts in ([batch], halves):
        model.parameters.zero_gradients()
        total = 0.0
        for part in parts:
            loss, cache = run_losses(model, part, (3, 1))
            run_backward(model, cache)
            total += float(loss.total)
        gradients.append(model.parameters.gradients.copy())
        losses.append(total)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=0, atol=1e-12 * np.abs(gradients[0]).max())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", pytest.param("bfloat16", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_precision_of_the_gpu_gives_about_the_same(gpu, kind, dtype):
    batch = task_batch(kind, np.random.default_rng(7))
    exact = float(run_losses(task_model(kind, "reference"), batch)[0].total)
    model = CLASSES[kind](replace(small_config(), labels=LABELS[kind]), gpu, dtype=dtype, seed=None)
    source = task_model(kind, "reference").parameters
    model.parameters.assign(source.tensors(source.masters))
    loss, cache = run_losses(model, batch)
    run_backward(model, cache)
    assert float(loss.total) == pytest.approx(exact, rel=1e-5 if dtype == "float32" else 0.03)
    assert np.isfinite(gpu.numpy(model.parameters.gradients)).all()


def test_hidden_states_are_those_of_transformers(tmp_path, backend):
    batch = task_batch("classes", np.random.default_rng(8)).tokens
    model = shaken(Bert(small_config(), backend, dtype="float64", seed=3))
    model.parameters.values[...] = model.parameters.values.astype(np.float32)
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="parity needs the extra `peers`")
    model.save_pretrained(tmp_path)
    peer = transformers.BertModel.from_pretrained(tmp_path, dtype=torch.float64).eval()
    padded = {name: torch.tensor(array) for name, array in to_padded(batch).items() if name != "labels"}
    expected = peer(**padded, output_hidden_states=True).hidden_states
    states = model.hidden_states(batch)
    assert len(states) == len(expected) == small_config().num_hidden_layers + 1
    kept = padded["attention_mask"].bool()
    for ours, theirs in zip(states, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(ours), theirs[kept].detach().numpy(), rtol=0, atol=1e-10)
    last, _ = model.forward(batch)
    assert np.array_equal(backend.numpy(states[-1]), backend.numpy(last))


def test_names_of_classes_come_back_from_the_file(tmp_path):
    model = task_model("classes", "reference")
    model.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path, "reference")
    assert again.config == model.config and again.config.labels == ("no", "maybe", "yes")
    assert np.array_equal(again.parameters.values, model.parameters.values.astype(np.float32))


def test_a_pretrained_body_gets_a_fresh_output_layer(tmp_path):
    BertForPreTraining(small_config(), "reference", seed=4).save_pretrained(tmp_path)
    reports = []
    one, other = (
        BertForTokenClassification.from_pretrained(
            tmp_path, "reference", labels=("O", "B-X"), seed=seed, report=reports.append
        )
        for seed in (0, 1)
    )
    weight = "classifier.weight"
    assert not np.array_equal(one.parameters[weight].value, other.parameters[weight].value)
    body = "bert.encoder.layer.0.output.dense.weight"
    assert np.array_equal(one.parameters[body].value, other.parameters[body].value)
    assert "initialised afresh" in reports[0] and "classifier.weight" in reports[0]


CUT = 0.8796  # standard deviation of a standard normal distribution that is cut off at 2


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("width", [48, 192, 768])
def test_a_fresh_output_layer_gives_scores_of_one_at_every_width(tmp_path, width, kind):
    shape = small_config(hidden_size=width, num_attention_heads=2, intermediate_size=8, num_hidden_layers=1)
    BertForPreTraining(shape, "reference", seed=4).save_pretrained(tmp_path)

    def weights(seed, **changes):
        changes |= {"labels": LABELS[kind]} if LABELS[kind] else {}
        model = CLASSES[kind].from_pretrained(tmp_path, "reference", seed=seed, report=lambda line: None, **changes)
        return model.head.weight.value

    many = np.stack([weights(seed) for seed in range(16)])
    assert many.std() == pytest.approx(CUT / width**0.5, rel=0.1)
    assert np.allclose(weights(3, output_init=0.02) * 50, weights(3) * width**0.5)  # the same draw on another scale


def test_a_fresh_output_layer_on_a_bilstm_has_the_same_scale():
    labels = tuple(map(str, range(40)))
    model = BertForTokenClassification(small_config(labels=labels, head="bilstm"), "reference")
    assert model.head.weight.value.std() == pytest.approx(CUT / model.config.hidden_size**0.5, rel=0.1)


def test_the_scale_of_the_output_layer_is_in_the_file_only_if_it_was_chosen(tmp_path):
    task_model("classes", "reference").save_pretrained(tmp_path)
    assert "output_init" not in json.loads((tmp_path / "config.json").read_text())
    task_model("classes", "reference", output_init=0.02).save_pretrained(tmp_path)
    assert BertConfig.load(tmp_path).output_init == 0.02
    for wrong in (-1.0, float("inf"), "0.02", True):
        with pytest.raises(ValueError, match="output_init is .*; expected None or a number of at least 0"):
            small_config(output_init=wrong)


def test_an_output_layer_of_another_task_is_replaced_only_where_labels_are_given(tmp_path):
    task_model("classes", "reference").save_pretrained(tmp_path)
    labels = ("bad", "good")
    model = BertForSequenceClassification.from_pretrained(tmp_path, "reference", labels=labels)
    assert model.config.labels == labels and model.parameters["classifier.weight"].shape == (2, 24)
    (tmp_path / "config.json").write_text(
        (tmp_path / "config.json").read_text().replace('"2": "yes"', '"2": "yes", "3": "x"')
    )
    with pytest.raises(ValueError, match="classifier.weight has shape"):
        BertForSequenceClassification.from_pretrained(tmp_path, "reference")


def test_what_does_not_fit_is_refused():
    batch = task_batch("classes", np.random.default_rng(5))
    with pytest.raises(ValueError, match="names of the classes"):
        BertForSequenceClassification(small_config(), "reference")
    model = task_model("classes", "reference")
    with pytest.raises(ValueError, match="label 3 is outside the model's table of 3"):
        run_losses(model, replace(batch, labels=np.full(5, 3, np.int32)))
    with pytest.raises(ValueError, match="expected int32, the classes"):
        run_losses(model, replace(batch, labels=np.zeros(5, np.float32)))
    with pytest.raises(ValueError, match="4 labels for 5 rows"):
        run_losses(model, replace(batch, labels=np.zeros(4, np.int32)))
    with pytest.raises(ValueError, match="has no labels"):
        run_losses(model, batch.without_labels())
    span, choice = (task_batch(kind, np.random.default_rng(5)) for kind in ("span", "choice"))
    with pytest.raises(ValueError, match="first and last token"):
        run_losses(task_model("span", "reference"), replace(span, labels=np.full((3, 2), 9, np.int32)))
    with pytest.raises(ValueError, match="label 2 is outside"):
        run_losses(task_model("choice", "reference"), replace(choice, labels=np.array([2, 0], np.int32)))
    with pytest.raises(ValueError, match="expected a multiple"):
        replace(choice, choices=3)
    with pytest.raises(ValueError, match="expected 0, 1, 2"):
        from minibert.nn.config import read_labels

        read_labels({"id2label": {"1": "yes"}})


def test_the_last_layer_computes_only_what_the_output_layer_reads(monkeypatch):
    """Of a sentence task one row for each sequence: counted where the feed-forward network of the last layer runs."""
    backend = load_backend("reference")
    rows = []
    honest = backend.gelu_forward
    monkeypatch.setattr(backend, "gelu_forward", lambda x: (rows.append(len(x)), honest(x))[1])
    model = task_model("classes", backend)
    run_forward(model, task_batch("classes", np.random.default_rng(5)))
    assert rows[-1] == 5 and rows[0] == 62


def test_a_configuration_without_classes_is_as_before():
    assert BertConfig(vocab_size=10).labels == ()
