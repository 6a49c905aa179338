"""The parts of fine-tuning, on a model of random weights with dropout: batches, scores, the loss, its gradient."""

import numpy as np
import pytest

from minibert.checks.short_training import small_config
from minibert.models import BertForSequenceClassification, BertForTokenClassification
from minibert.objectives import TaskObjective
from minibert.tasks.examples import SentenceExample, WordsExample
from minibert.tasks.finetune import batch_of
from minibert.tasks.predict import punctuated
from minibert.tasks.task import MODELS, Task, predictions_of, scores_by_name, scores_of
from minibert.text import Tokenizer
from minibert.text.tokenizer import SPECIAL_TOKENS

TOKENIZER = Tokenizer([*SPECIAL_TOKENS, *(f"w{number}" for number in range(small_config().vocab_size - 5))])
TASK = Task("tokens", ("O", "x", "y"), max_length=8)
EXAMPLES = [  # of different lengths, two of them longer than a window
    WordsExample(
        tuple(f"w{(number * 7 + word) % 90}" for word in range(length)),
        tuple("Oxy"[word % 3] for word in range(length)),
    )
    for number, length in enumerate((3, 9, 1, 14, 6))
]


@pytest.fixture(scope="module")
def model():
    return BertForTokenClassification(
        small_config(labels=TASK.labels, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5),
        "reference",
        dtype="float64",
        seed=3,
    )


@pytest.fixture(scope="module")
def features():
    return TASK.codec(TOKENIZER).encode(EXAMPLES)


def test_scores_are_those_of_each_feature_alone_without_dropout(model, features, monkeypatch):
    """However features are batched, which is by length."""
    alone = [scores_of(model, [feature])[0] for feature in features]
    for most in (1, 12, 4096):
        monkeypatch.setattr("minibert.tasks.task.TOKENS_AT_A_TIME", most)
        for scores, expected in zip(scores_of(model, features), alone, strict=True):
            np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert [len(scores) for scores in alone] == [len(feature.rows) for feature in features]
    assert not np.allclose(
        alone[0], model.forward(model.prepare(batch_of(features[:1], 0, features)).inputs, (0, 1))[0]
    )


@pytest.mark.parametrize("cuts", [(0, 8), (0, 2, 8), (0, 1, 3, 6, 8)])
def test_the_losses_and_gradients_of_the_parts_of_a_batch_add_up(model, features, cuts):
    """Also where the parts have different numbers of labels, and with dropout, whose masks depend on the place."""
    assert len(features) == 8
    objective, parameters = TaskObjective(model), model.parameters
    results = []
    for bounds in ((0, 8), cuts):
        parameters.zero_gradients()
        losses, batches = [], []
        for first, last in zip(bounds, bounds[1:], strict=False):
            batches.append(batch_of(features[first:last], first, features))
            loss, cache = objective.losses(objective.prepare(batches[-1]), (5, 2))
            objective.losses_backward(cache)
            losses.append(loss)
        results.append((objective.figures(batches, losses)["loss"], parameters.gradients.copy()))
    (whole, gradients), (parts, of_parts) = results
    assert parts == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(of_parts, gradients, atol=1e-13)


def test_the_loss_is_the_mean_over_all_labels(model, features):
    objective = TaskObjective(model)
    batch = batch_of(features, 0, features)
    loss, _ = objective.losses(objective.prepare(batch))
    logits = np.concatenate(scores_of(model, features)).astype(np.float64)
    labels = np.concatenate([feature.labels for feature in features])
    right = logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(1))
    assert objective.figures([batch], [loss])["loss"] == pytest.approx(-right.mean(), rel=1e-6)


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0**16])
def test_the_scale_of_the_loss_multiplies_the_gradient(model, features, scale):
    objective, gradients = TaskObjective(model), []
    for factor in (1.0, scale):
        model.parameters.zero_gradients()
        _, cache = objective.losses(objective.prepare(batch_of(features, 0, features)), (5, 2))
        objective.losses_backward(cache, factor)
        gradients.append(model.parameters.gradients.copy())
    np.testing.assert_allclose(gradients[1], gradients[0] * scale, rtol=1e-12)
    assert np.abs(gradients[0]).max() > 1e-4


def test_metrics_compare_each_answer_with_its_own_example(model):
    codec = TASK.codec(TOKENIZER)
    predictions = predictions_of(model, codec, EXAMPLES)
    pairs = [
        (t, p)
        for example, one in zip(EXAMPLES, predictions, strict=True)
        for t, p in zip(example.labels, one.answer, strict=True)
    ]
    scores = scores_by_name(TASK, codec, EXAMPLES, predictions)
    assert scores["accuracy"] == sum(t == p for t, p in pairs) / len(pairs)
    examples = [SentenceExample("w1", None, label) for label in "xxy"]
    task = Task("mrpc", ("x", "y"))
    answers = predictions_of(
        BertForSequenceClassification(small_config(labels=("x", "y")), "reference"), task.codec(TOKENIZER), examples
    )
    said = [answer.answer for answer in answers]
    assert len(set(said)) == 1
    assert scores_by_name(task, task.codec(TOKENIZER), examples, answers)["accuracy"] == "xxy".count(said[0]) / 3


def test_words_and_marks_become_a_text():
    words, marks = "is it so it is he said éric too".split(), ["O", "O", "?", "O", ".", "O", ",", "O", "O"]
    assert punctuated(words, marks) == "Is it so? It is. He said, éric too"
    assert punctuated(["éric"], ["!"]) == "Éric!" and punctuated([], []) == ""


@pytest.mark.parametrize("kind", MODELS)
def test_weights_decay_and_biases_and_layer_norms_do_not(kind):
    parameters = MODELS[kind](small_config(labels=("a", "b")), "reference").parameters
    decayed = {name: bool(view.all()) for name, view in parameters.tensors(parameters.decayed).items()}
    assert decayed == {name: not name.endswith("bias") and "LayerNorm" not in name for name in parameters.all}
    assert sum(decayed.values()) > 8
