"""DistilBERT and its losses: parity with `transformers` and PyTorch, folders in both directions, and the start."""

import json

import numpy as np
import pytest

from minibert.checks.model_cases import small_student
from minibert.checks.short_training import random_batch, small_config
from minibert.checks.task_cases import FIRST, small_task_batch, small_task_model
from minibert.data.masked_batch import masked_to_padded
from minibert.data.task_batch import TaskBatch
from minibert.models import (
    Bert,
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    DistilBertForMaskedLM,
    GptForCausalLM,
    initialise_from_teacher,
    student_config,
)
from minibert.models.distilbert import layers_to_copy
from minibert.models.huggingface import read_tensors
from minibert.models.naming import of_distilbert, to_distilbert
from minibert.objectives import (
    Distillation,
    DistillationBatch,
    MaskedLmAndNextSentence,
    TaskDistillation,
    TaskObjective,
    losses_of,
)
from minibert.ops import load_backend
from minibert.training.evaluation import evaluate

from .parity import shaken

WEIGHTS = (5, 2, 3)  # other than the defaults, and none of them 1


def pair(backend="reference", dtype="float64", **changes) -> tuple[DistilBertForMaskedLM, BertForPreTraining]:
    """A shaken student of two layers and a shaken teacher of four."""
    config = small_config(num_hidden_layers=4, **changes)
    teacher = shaken(BertForPreTraining(config, backend, dtype=dtype, seed=1), seed=2)
    return shaken(DistilBertForMaskedLM(student_config(config), backend, dtype=dtype, seed=3), seed=4), teacher


def texts(seed=0):
    return random_batch(small_config(), lengths=(1, 9, 33, 2), pairs=False, seed=seed)


def run(objective, batch, key=None):
    """The losses of a batch, and the gradients of all parameters by name."""
    objective.model.parameters.zero_gradients()
    losses, cache = losses_of(objective, batch, key)
    objective.losses_backward(cache)
    parameters = objective.model.parameters
    return losses, parameters.tensors(parameters.gradients.copy())


def numbers(model) -> dict[str, np.ndarray]:
    return model.parameters.tensors(model.parameters.values)


# ------------------------------------------------------------------------------------------ transformers


@pytest.fixture
def peers():
    return pytest.importorskip("torch"), pytest.importorskip("transformers")


def as_peers(model, folder, architecture, peers):
    """The model in `transformers`, through its folder, then with the exact float64 weights."""
    torch, transformers = peers
    model.save_pretrained(folder)
    loaded = getattr(transformers, architecture).from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True
    )
    peer, info = loaded
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    parameters = dict(peer.named_parameters())
    distilled = model.model_type == "distilbert"
    for name, value in numbers(model).items():
        parameters[to_distilbert(name) if distilled else name].data = torch.from_numpy(value.copy())
    return peer.double().eval()


@pytest.mark.parametrize("soft_targets_on", ["all", "masked"])
def test_logits_losses_and_all_gradients_equal_those_of_pytorch(tmp_path, peers, soft_targets_on):
    torch, _ = peers
    functional = torch.nn.functional
    student, teacher = pair()
    batch, temperature = texts(), 3.0
    peer = as_peers(student, tmp_path / "student", "DistilBertForMaskedLM", peers)
    above = as_peers(teacher, tmp_path / "teacher", "BertForPreTraining", peers)
    inputs = {name: torch.from_numpy(array) for name, array in masked_to_padded(batch).items()}
    kept, labels, segments = inputs["attention_mask"].bool(), inputs.pop("labels"), inputs.pop("token_type_ids")
    ours = peer(**inputs, output_hidden_states=True)
    with torch.no_grad():
        theirs = above(**inputs, token_type_ids=segments, output_hidden_states=True)

    chosen = kept if soft_targets_on == "all" else labels != -100
    soft = temperature**2 * functional.kl_div(
        functional.log_softmax(ours.logits[chosen] / temperature, 1),
        functional.softmax(theirs.prediction_logits[chosen] / temperature, 1),
        reduction="batchmean",
    )
    mlm = functional.cross_entropy(ours.logits.flatten(0, 1), labels.flatten())
    hidden, target = (output.hidden_states[-1][kept] for output in (ours, theirs))
    cosine = functional.cosine_embedding_loss(hidden, target, torch.ones(len(hidden)))
    total = 5 * soft + 2 * mlm + 3 * cosine
    total.backward()

    objective = Distillation(
        student, teacher, temperature=temperature, weights=WEIGHTS, soft_targets_on=soft_targets_on
    )
    losses, gradients = run(objective, batch)
    for name, expected in dict(soft=soft, mlm=mlm, cosine=cosine, total=total).items():
        assert float(getattr(losses, name)) == pytest.approx(expected.item(), rel=1e-10), name
    logits, last, _ = student.forward(student.prepare(batch.tokens, batch.masked_positions, hidden=True).inputs)
    assert np.abs(logits - ours.logits[labels != -100].detach().numpy()).max() < 1e-10
    assert np.abs(last - hidden.detach().numpy()).max() < 1e-10
    parameters = dict(peer.named_parameters())
    assert {to_distilbert(name) for name in gradients} == set(parameters)
    steepest = max(np.abs(gradient).max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        expected = parameters[to_distilbert(name)].grad.numpy()
        assert np.abs(gradient - expected).max() <= 1e-9 * max(np.abs(expected).max(), 1e-3 * steepest), name


def test_a_student_has_as_many_parameters_as_in_transformers(peers):
    _, transformers = peers
    student, _ = pair()
    peer = transformers.DistilBertForMaskedLM(
        transformers.DistilBertConfig(
            vocab_size=103, dim=24, n_layers=2, n_heads=3, hidden_dim=56, max_position_embeddings=33
        )
    )
    assert student.parameters.count == sum(parameter.numel() for parameter in peer.parameters())


@pytest.mark.parametrize("body_alone", [False, True])
def test_what_transformers_wrote_loads(tmp_path, peers, body_alone):
    torch, transformers = peers
    config = transformers.DistilBertConfig(
        vocab_size=103, dim=24, n_layers=2, n_heads=3, hidden_dim=56, max_position_embeddings=33, initializer_range=0.2
    )
    peer = transformers.DistilBertForMaskedLM(config).eval()
    (peer.distilbert if body_alone else peer).save_pretrained(tmp_path)
    reports = []
    model = DistilBertForMaskedLM.from_pretrained(tmp_path, "reference", report=reports.append)
    batch = texts()
    inputs = {name: torch.from_numpy(array) for name, array in masked_to_padded(batch).items()}
    labels = inputs.pop("labels")
    with torch.no_grad():
        expected = peer(inputs["input_ids"], inputs["attention_mask"], output_hidden_states=True)
    logits, hidden, _ = model.forward(model.prepare(batch.tokens, batch.masked_positions, hidden=True).inputs)
    assert np.abs(hidden - expected.hidden_states[-1][inputs["attention_mask"].bool()].numpy()).max() < 1e-4
    if body_alone:
        assert len(reports) == 1 and "afresh" in reports[0] and "cls.predictions.bias" in reports[0]
    else:
        assert np.abs(logits - expected.logits[labels != -100].numpy()).max() < 1e-4
        assert not reports


# ----------------------------------------------------------------------------------------------- folders


def test_a_students_folder_loads_into_every_class_that_reads_both_ways(tmp_path):
    student, _ = pair(dtype="float32")
    student.save_pretrained(tmp_path)
    batch = texts()
    again = DistilBertForMaskedLM.from_pretrained(tmp_path, "reference", report=pytest.fail)
    assert again.config == student.config
    assert all(np.array_equal(value, numbers(student)[name]) for name, value in numbers(again).items())

    expected, hidden, _ = student.forward(student.prepare(batch.tokens, batch.masked_positions, hidden=True).inputs)
    bert = BertForPreTraining.from_pretrained(tmp_path, "reference", report=lambda line: None)
    assert np.abs(bert.forward(bert.prepare(batch.tokens, batch.masked_positions).inputs)[0] - expected).max() < 1e-5
    assert np.array_equal(Bert.from_pretrained(tmp_path, "reference").forward(batch.tokens)[0], hidden)
    lines = []
    task = BertForSequenceClassification.from_pretrained(tmp_path, "reference", labels=("a", "b"), report=lines.append)
    assert "bert.pooler.dense.weight, bert.pooler.dense.bias, classifier" in lines[0]
    assert not numbers(task)["bert.embeddings.token_type_embeddings.weight"].any()
    with pytest.raises(ValueError, match="config.json: is_decoder is False, but GptForCausalLM reads from left to"):
        GptForCausalLM.from_pretrained(tmp_path, "reference")


def test_the_folder_has_distilberts_names(tmp_path):
    student, _ = pair(dtype="float32")
    student.save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values == dict(
        architectures=["DistilBertForMaskedLM"], model_type="distilbert", vocab_size=103, dim=24, n_layers=2, n_heads=3,
        hidden_dim=56, activation="gelu", dropout=0.1, attention_dropout=0.1, max_position_embeddings=33,
        initializer_range=0.02, pad_token_id=0, sinusoidal_pos_embds=False, tie_weights_=True,
    )  # fmt: skip
    names = set(read_tensors([tmp_path / "model.safetensors"]))
    assert {"distilbert.transformer.layer.1.ffn.lin2.bias", "vocab_layer_norm.weight", "vocab_projector.bias"} < names
    assert all(name.startswith(("distilbert.", "vocab_")) for name in names)


def test_the_two_namings_are_inverse():
    student, teacher = pair()
    for name in student.parameters.all:
        back = of_distilbert(to_distilbert(name))
        assert back.replace(".decoder.bias", ".bias") == name != to_distilbert(name)
    for name in set(teacher.parameters.all) - set(student.parameters.all):
        if ".layer." not in name:
            with pytest.raises(ValueError, match=f"DistilBERT has no parameter '{name}'"):
                to_distilbert(name)


def test_a_berts_folder_is_no_distilbert(tmp_path):
    BertForPreTraining(small_config(), "reference").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="config.json describes a model of type 'bert', but DistilBertForMaskedLM"):
        DistilBertForMaskedLM.from_pretrained(tmp_path, "reference")
    with pytest.raises(ValueError, match="layer_norm_eps is 1e-05; expected 1e-12"):
        DistilBertForMaskedLM(small_config(layer_norm_eps=1e-5), "reference")


# ------------------------------------------------------------------------------------- the student's start


def test_the_layers_are_those_of_the_release():
    assert layers_to_copy(6, 12) == [0, 2, 4, 7, 9, 11]  # extract_distilbert.py
    assert [layers_to_copy(half, 2 * half) for half in (1, 2, 3, 4)] == [[0], [0, 3], [0, 2, 5], [0, 2, 5, 7]]
    assert layers_to_copy(3, 3) == [0, 1, 2]


def test_a_student_starts_with_every_other_layer_of_its_teacher():
    student, teacher = pair()
    initialise_from_teacher(student, teacher)
    start, weights = numbers(student), numbers(teacher)
    for name, value in start.items():
        source = name.replace(".layer.1.", ".layer.3.")
        assert np.array_equal(value, weights[source]), name


@pytest.mark.parametrize("add_segment", [True, False])
def test_with_all_layers_and_the_segment_a_student_computes_what_its_teacher_does(add_segment):
    _, teacher = pair()
    student = DistilBertForMaskedLM(student_config(teacher.config, num_hidden_layers=4), "reference", dtype="float64")
    initialise_from_teacher(student, teacher, add_segment=add_segment)
    tokens = texts().tokens
    single = type(tokens)(**{**vars(tokens), "segment_ids": np.zeros_like(tokens.segment_ids)})
    rows = np.arange(5)
    ours = student.forward(student.prepare(single, rows).inputs)[0]
    theirs = teacher.forward(teacher.prepare(single, rows).inputs)[0]
    assert (np.abs(ours - theirs).max() < 1e-12) == add_segment


@pytest.mark.parametrize(
    "student, teacher, words",
    [
        ({}, dict(num_hidden_layers=1), "the teacher has 1 layer; expected at least 2"),
        (dict(num_hidden_layers=3), dict(num_hidden_layers=2), "3 layers, but the teacher only 2"),
        ({}, dict(vocab_size=104), "vocab_size is 103, but the teacher's is 104"),
        ({}, dict(hidden_size=27), "hidden_size is 24, but the teacher's is 27"),
        ({}, dict(num_attention_heads=4), "num_attention_heads is 3, but the teacher's is 4"),
        ({}, dict(hidden_act="gelu_new"), "hidden_act is gelu, but the teacher's is gelu_new"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(student, teacher, words):
    ours = DistilBertForMaskedLM(small_config(**{"num_hidden_layers": 1, **student}), "reference")
    theirs = BertForPreTraining(small_config(**{"num_hidden_layers": 2, **teacher}), "reference")
    with pytest.raises(ValueError, match=words) as caught:
        initialise_from_teacher(ours, theirs)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------- the losses


def test_a_student_like_its_teacher_has_nothing_to_learn_from_it():
    _, teacher = pair()
    student = DistilBertForMaskedLM(student_config(teacher.config, num_hidden_layers=4), "reference", dtype="float64")
    initialise_from_teacher(student, teacher, add_segment=True)
    batch = texts()
    vars(batch.tokens)["segment_ids"][:] = 0
    losses, gradients = run(Distillation(student, teacher, weights=(5, 0, 1)), batch)
    assert abs(losses.total) < 1e-12 and losses.mlm is None and losses.mlm_correct is None
    assert max(np.abs(gradient).max() for gradient in gradients.values()) < 1e-12


@pytest.mark.parametrize("soft_targets_on", ["all", "masked"])
def test_a_weight_multiplies_its_loss_and_zero_leaves_it_out(soft_targets_on, monkeypatch):
    student, teacher = pair()
    batch = texts()
    names = "soft", "mlm", "cosine"

    def made(weights):
        return run(Distillation(student, teacher, weights=weights, soft_targets_on=soft_targets_on), batch)

    whole, gradients = made(WEIGHTS)
    total, sums = 0.0, {name: 0.0 for name in gradients}
    ops = ("kl_divergence_forward", "cross_entropy_forward", "cosine_forward")
    for index, name in enumerate(names):
        with monkeypatch.context() as patch:
            for other in set(ops) - {ops[index]}:
                patch.setattr(student.backend, other, None)  # calling it would fail
            if name == "mlm":
                patch.setattr(teacher.bert, "forward", None)
            if name == "cosine":
                patch.setattr(teacher.mlm_head, "forward", None)
            alone, own = made([1 if i == index else 0 for i in range(3)])
        assert [getattr(alone, other) is None for other in names] == [other != name for other in names]
        assert float(getattr(alone, name)) == pytest.approx(float(getattr(whole, name)), rel=1e-12)
        total += WEIGHTS[index] * float(alone.total)
        sums = {key: value + WEIGHTS[index] * own[key] for key, value in sums.items()}
    assert float(whole.total) == pytest.approx(total, rel=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, sums[name], rtol=0, atol=1e-11)


@pytest.mark.parametrize("soft_targets_on", ["all", "masked"])
def test_the_parts_of_a_batch_add_up(backend, soft_targets_on):
    student, teacher = small_student(backend, np.random.default_rng(0), 0.2)
    objective = Distillation(student, teacher, soft_targets_on=soft_targets_on)
    whole = random_batch(student.config, lengths=(1, 7, 8, 8), pairs=False)
    losses, gradients = run(objective, whole, (1, 2))
    parts = DistillationBatch.of(DistillationBatch.of(whole)).split(4)
    assert {part.token_count for part in parts} == {24}
    assert [len(part.masked_positions) for part in parts] == [0, 1, 2, 1]  # also a part without any
    found = [run(objective, part, (1, 2)) for part in parts]
    figures = objective.figures(parts, [part for part, _ in found])
    assert list(figures) == ["mlm_loss", "mlm_accuracy", "soft_loss", "cosine_loss"]
    assert figures == pytest.approx(objective.figures([whole], [losses]), rel=1e-12)
    for name, gradient in gradients.items():
        assert np.abs(sum(own[name] for _, own in found) - gradient).max() < 1e-12, name


def test_a_part_whose_global_batch_is_unknown_is_refused_and_so_are_pairs():
    objective = Distillation(*pair())
    part = texts().take(0, 2)
    with pytest.raises(ValueError, match=f"has {len(part.masked_positions)} of 9 masked tokens of its global batch"):
        objective.prepare(part)
    with pytest.raises(ValueError, match="has sentence pairs, but DistilBERT has no next-sentence head"):
        objective.prepare(random_batch(small_config()))
    batch = texts()
    batch.masked_labels[0] = 103
    with pytest.raises(ValueError, match="masked label 103"):
        objective.prepare(batch)


def test_the_teacher_is_frozen_and_reads_without_dropout(monkeypatch):
    student, teacher = pair(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    before = teacher.parameters.values.copy()
    objective, batch = Distillation(student, teacher), texts()
    run(objective, batch, (1, 2))
    assert np.array_equal(teacher.parameters.values, before) and not teacher.parameters.gradients.any()
    seen, honest = [], student.backend.cosine_forward

    def watched(x, target, count):
        seen.append((x, target))
        return honest(x, target, count)

    monkeypatch.setattr(student.backend, "cosine_forward", watched)
    for key in ((1, 2), None, (1, 3)):
        run(objective, batch, key)
    assert np.array_equal(seen[0][1], seen[1][1]) and np.array_equal(seen[1][1], seen[2][1])
    assert not np.array_equal(seen[0][0], seen[2][0])


def test_the_segments_of_a_text_change_the_teacher_and_not_the_student():
    student, teacher = pair()
    tokens = texts().tokens
    other = type(tokens)(**{**vars(tokens), "segment_ids": 1 - tokens.segment_ids})
    rows = np.arange(5)
    ours, theirs = ([m.forward(m.prepare(t, rows).inputs)[0] for t in (tokens, other)] for m in (student, teacher))
    assert np.array_equal(*ours) and not np.allclose(*theirs)


def test_a_student_is_evaluated_as_a_bert_is():
    student, _ = pair()
    batch = texts()
    result = evaluate(MaskedLmAndNextSentence(student), [batch])
    assert result["nsp_loss"] is None and result["nsp_accuracy"] is None
    losses, _ = losses_of(Distillation(*pair()), batch)
    assert result["mlm_loss"] == pytest.approx(float(losses.mlm), rel=1e-12)
    assert result["mlm_accuracy"] == int(losses.mlm_correct) / len(batch.masked_positions)


@pytest.mark.parametrize(
    "changes, settings, words",
    [
        (dict(vocab_size=104), {}, "the teacher's vocabulary size is 104, but the student's is 103"),
        (dict(hidden_size=27), {}, "the student's hidden states have 24 numbers, the teacher's 27"),
        ({}, dict(temperature=0), "temperature is 0; expected a number above 0"),
        ({}, dict(weights=(1, 2)), r"weights are \(1, 2\); expected 3 numbers"),
        ({}, dict(weights=(0, 0, 0)), "not all of them 0"),
        ({}, dict(weights=(1, -1, 0)), "at least 0"),
        ({}, dict(soft_targets_on="some"), "soft_targets_on is 'some'; expected 'all' or 'masked'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, settings, words):
    student, _ = pair()
    teacher = BertForPreTraining(small_config(**changes), "reference", dtype="float64")
    with pytest.raises(ValueError, match=words):
        Distillation(student, teacher, **settings)
    with pytest.raises(ValueError, match="the teacher's dtype is float32, but the student's is float64"):
        Distillation(student, BertForPreTraining(small_config(), "reference"))


# --------------------------------------------------------------------------------- fine-tuning with a teacher


def test_a_tasks_losses_are_those_of_pytorch(peers):
    torch, _ = peers
    functional = torch.nn.functional
    random = np.random.default_rng(0)
    names = ("a", "b", "c")
    made = (BertForSequenceClassification, load_backend("reference"), random, names)
    student, teacher = (small_task_model(*made) for _ in range(2))
    batch = small_task_batch(random, FIRST, np.array([2, 0, 1], np.int32))
    objective = TaskDistillation(student, teacher, temperature=3.0, weights=(0.7, 0.3))
    logits, targets = (torch.from_numpy(model.forward(model.prepare(batch).inputs)[0]) for model in (student, teacher))
    soft = 9 * functional.kl_div(
        functional.log_softmax(logits / 3, 1), functional.softmax(targets / 3, 1), reduction="sum"
    )
    hard = functional.cross_entropy(logits, torch.from_numpy(batch.labels).long(), reduction="sum")
    losses, _ = run(objective, batch)
    assert float(losses.total) == pytest.approx(float(0.7 * soft + 0.3 * hard) / batch.count, rel=1e-12)
    assert objective.figures([batch], [losses]) == {"loss": float(losses.total)}

    ones, gradients = run(TaskDistillation(student, teacher, weights=(0, 1)), batch)
    plain, expected = run(TaskObjective(student), batch)
    assert float(ones.total) == float(plain.total)
    assert all(np.array_equal(gradients[name], expected[name]) for name in expected)


def test_a_number_is_compared_with_the_teachers():
    random = np.random.default_rng(0)
    made = (BertForSequenceClassification, load_backend("reference"), random, ("score",))
    student, teacher = (small_task_model(*made) for _ in range(2))
    batch = small_task_batch(random, FIRST, np.array([0.3, -1.2, 2], np.float32))
    ours, theirs = (model.forward(model.prepare(batch).inputs)[0] for model in (student, teacher))
    losses, _ = run(TaskDistillation(student, teacher, temperature=4.0, weights=(1, 0)), batch)
    assert float(losses.total) == pytest.approx(((ours - theirs) ** 2).sum() / batch.count, rel=1e-12)


def test_a_teacher_of_another_task_is_refused():
    random = np.random.default_rng(0)
    made = (BertForSequenceClassification, load_backend("reference"), random)
    student, teacher = small_task_model(*made, ("a", "b")), small_task_model(*made, ("b", "a"))
    with pytest.raises(ValueError, match="the teacher is a BertForSequenceClassification of b, a, but the student a"):
        TaskDistillation(student, teacher)
    for changes in ({"is_decoder": True}, {"head": "bilstm"}):
        with pytest.raises(ValueError, match="reads its input in another way than the student"):
            TaskDistillation(student, small_task_model(*made, ("a", "b"), **changes))
    batch = TaskBatch(texts().tokens, FIRST[:0], None, count=1)
    with pytest.raises(ValueError):
        TaskDistillation(student, student).prepare(batch)


def test_the_default_temperature_and_weights_are_those_of_the_release():
    student, teacher = pair()
    objective = Distillation(student, teacher)
    assert (objective.temperature, objective.weights, objective.on_all) == (2.0, (5.0, 2.0, 1.0), True)
    assert BertConfig.preset("base", 30522).num_hidden_layers // 2 == 6
