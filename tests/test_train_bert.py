"""train_bert.py, BERT in one file: the same losses as the package's, gradients that are right, and it learns."""

import ast
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import train_bert
from minibert.data import masked_from_padded
from minibert.models import BertConfig, BertForPreTraining
from minibert.training.optimizer import AdamW, AdamWSettings
from tests.objectives import run_backward, run_losses

ROOT = Path(__file__).parents[1]
FILE = ROOT / "train_bert.py"
TREE = ast.parse(FILE.read_text(encoding="utf-8"))


def batches(config, count):
    """Pairs of invented sentences, each batch with sequences of at least two lengths and both labels."""
    random = np.random.default_rng(3)
    documents = [
        [list(random.integers(5, config.vocabulary, random.integers(1, 9))) for _ in range(3)] for _ in range(9)
    ]
    for _ in range(count):
        batch = train_bert.make_batch(documents, 6, config, random)
        assert len(set(batch.visible.sum(axis=1))) >= 2 and set(batch.is_random) == {0, 1}
        yield batch


def as_package(batch):
    labels = np.full(batch.token_ids.shape, -100)
    labels[batch.masked] = batch.labels
    return masked_from_padded(batch.token_ids, batch.visible.astype(int), batch.segment_ids, labels, batch.is_random)


def test_its_losses_and_gradients_equal_the_packages_over_twenty_steps():
    config = train_bert.Config(vocabulary=61, hidden=24, layers=3, heads=3, inner=40, positions=20)
    parameters, moments = train_bert.new_parameters(config, np.random.default_rng(1)), {}
    shape = BertConfig(
        vocab_size=61, hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=40,
        max_position_embeddings=20, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = BertForPreTraining(shape, "reference", dtype="float64", seed=None)
    assert set(parameters) == set(model.parameters.all)
    model.parameters.assign(parameters)
    optimizer = AdamW(model.parameters, AdamWSettings(beta2=0.98, bias_correction=False))
    for step, batch in enumerate(batches(config, 20)):
        rate = train_bert.learning_rate_at(step, 20, 2e-3)
        figures, gradients = train_bert.losses_and_gradients(batch, parameters, config)
        train_bert.adamw_step(parameters, gradients, moments, rate)

        model.parameters.zero_gradients()
        losses, cache = run_losses(model, as_package(batch))
        run_backward(model, cache)
        theirs = model.parameters.tensors(model.parameters.gradients)
        optimizer.step(step + 1, rate)

        assert figures["mlm_loss"] == pytest.approx(float(losses.mlm), abs=1e-10)
        assert figures["nsp_loss"] == pytest.approx(float(losses.nsp), abs=1e-10)
        assert figures["mlm_accuracy"] * len(batch.labels) == pytest.approx(int(losses.mlm_correct))
        for name, gradient in gradients.items():
            assert np.abs(gradient - theirs[name]).max() < 1e-10, name
    for name, value in model.parameters.tensors(model.parameters.values).items():
        assert np.abs(parameters[name] - value).max() < 1e-10, name


def test_every_element_of_every_gradient_passes_the_finite_differences():
    errors = train_bert.check_gradients()
    assert set(errors) == set(train_bert.new_parameters(train_bert.Config(17), np.random.default_rng(0)))
    assert max(errors.values()) < 1e-7


def no_third_term(d_y, cache, gradients):
    """The layer norm of many blog posts."""
    x_hat, rstd, parameters, name = cache
    gradients[f"{name}.weight"] += (d_y * x_hat).sum(axis=tuple(range(d_y.ndim - 1)))
    gradients[f"{name}.bias"] += d_y.sum(axis=tuple(range(d_y.ndim - 1)))
    d_x_hat = d_y * parameters[f"{name}.weight"]
    return rstd * (d_x_hat - d_x_hat.mean(axis=-1, keepdims=True))


def no_softmax(d_context, cache):
    q, k, v, weights = cache
    d_scores = weights * (d_context @ v.T) / np.sqrt(q.shape[1])
    return d_scores @ k, d_scores.T @ q, weights.T @ d_context


@pytest.mark.slow
@pytest.mark.parametrize(
    "function, wrong",
    [
        ("layernorm_backward", no_third_term),
        ("one_head_backward", no_softmax),
        ("gelu_backward", lambda d_y, cache: d_y * cache[1]),
        ("next_sentence_backward", lambda d_logits, cache, gradients: np.zeros_like(cache[1])),
    ],
)
def test_the_check_notices_planted_bugs(monkeypatch, function, wrong):
    monkeypatch.setattr(train_bert, function, wrong)
    assert max(train_bert.check_gradients().values()) > 1e-3


@pytest.mark.slow
def test_it_learns(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_bert.py", "--steps", "100"])
    train_bert.main()
    losses = [float(loss) for loss in re.findall(r"masked tokens (\d\.\d+) nats", capsys.readouterr().out)]
    assert len(losses) == 3 and losses[0] > 4.5 and losses[1] < 4 and losses[2] < 2.9


def test_what_masking_does():
    random = np.random.default_rng(0)
    token_ids = random.integers(5, 50, (40, 100))
    token_ids[:, 0], token_ids[:, 50:53] = train_bert.CLS, train_bert.PAD
    hidden, masked, labels = train_bert.mask_tokens(token_ids, 50, random)
    assert (token_ids[masked] == labels).all() and (labels >= 5).all()
    seen = hidden[masked]
    unchanged = np.ones_like(token_ids, bool)
    unchanged[masked] = False
    assert (hidden[unchanged] == token_ids[unchanged]).all()
    assert 0.13 < len(labels) / (token_ids >= 5).sum() < 0.17
    assert 0.74 < (seen == train_bert.MASK).mean() < 0.86
    assert 0.05 < ((seen != train_bert.MASK) & (seen != labels)).mean() < 0.15


def test_words_are_cut_into_the_longest_pieces():
    ids = {piece: number for number, piece in enumerate([*train_bert.SPECIAL, "un", "u", "##n", "##known", "the", "."])}
    assert train_bert.encode("The unknown.", ids) == [ids[piece] for piece in ("the", "un", "##known", ".")]
    assert train_bert.encode("unx", ids) == [train_bert.UNK]


def test_it_has_at_most_600_lines_and_imports_numpy_and_the_standard_library_only():
    imported = {
        name.split(".")[0]
        for node in ast.walk(TREE)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 600
    assert imported <= {"numpy", *sys.stdlib_module_names}


FUNCTIONS = [node for node in TREE.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name != "main"]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_each_function_names_the_packages_that_does_the_same(function):
    text = ast.get_docstring(function)
    if function.name == "softmax":  # the package has it inside its losses and its attention
        return
    indices = re.findall(r"(?:In minibert: |and )(\w+/[\w/]+\.py), (\w+)", text)
    assert indices, "a docstring without `In minibert: FILE, NAME`"
    for file, name in indices:
        assert re.search(rf"^ *(?:def|class) {name}\b", (ROOT / "minibert" / file).read_text(), re.M), (file, name)
