"""Gradient-check cases for each fine-tuning model and its loss, covering all parameters of the whole model."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibert.checks.cases import cases
from minibert.checks.gradients import Case
from minibert.checks.model_cases import LENGTHS, TOKENS, loss_case, small_batch
from minibert.data.task_batch import TaskBatch
from minibert.models import (
    BertConfig,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.tasks import TaskModel
from minibert.nn.config import BILSTM
from minibert.objectives import TaskDistillation, TaskObjective
from minibert.ops.backend import Backend
from minibert.ops.examples import KEY, normal

FIRST = np.array([0, 1, 8], np.int32)  # the index of the first token of each of the three sequences


def small_task_model(
    model_class: type[TaskModel],
    backend: Backend,
    random: np.random.Generator,
    labels: tuple[str, ...] = (),
    dropout: float = 0.0,
    hidden_size: int = 6,
    **changes: Any,
) -> TaskModel:
    """A BERT with a task's output layer and about four hundred parameters, perturbed so that none is exactly 0 or 1.

    changes: other fields of its configuration.
    """
    config = BertConfig(
        vocab_size=11,
        hidden_size=hidden_size,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=hidden_size - 1,
        max_position_embeddings=8,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        labels=labels,
        **changes,
    )
    model = model_class(config, backend, dtype="float64")
    model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
    return model


def small_task_batch(
    random: np.random.Generator, rows: np.ndarray | list[int], labels: np.ndarray, choices: int = 1
) -> TaskBatch:
    """A task batch of sequences of 1, 7 and 2 tokens; rows: the tokens that the output layer reads."""
    return TaskBatch(small_batch(random), np.asarray(rows, np.int32), labels, count=4, choices=choices)


@cases("sequence_classification")
def sequence_classification(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    three, two = ("no", "maybe", "yes"), ("no", "yes")
    versions: Any = [
        ("3 classes, dropout", three, np.array([2, 0, 2], np.int32), 0.3, {}),
        ("2 classes", two, np.array([1, 0, 1], np.int32), 0, {}),
        ("a number, dropout", ("similarity",), np.array([0.3, -1.2, 2.0], np.float32), 0.3, {}),
        ("left to right, dropout", three, np.array([2, 0, 2], np.int32), 0.3, {"is_decoder": True}),
        ("BiLSTM, dropout", two, np.array([1, 0, 1], np.int32), 0.3, {"head": BILSTM}),
    ]
    for label, names, values, rate, changes in versions:
        model = small_task_model(BertForSequenceClassification, backend, random, names, rate, **changes)
        yield loss_case(
            "sequence_classification",
            label,
            TaskObjective(model),
            small_task_batch(random, FIRST, values),
            KEY if rate else None,
        )


@cases("token_classification")
def token_classification(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    rows = [0, 2, 3, 7, 9]
    versions: Any = [
        ("5 of 10 tokens", 0, {}),
        ("5 of 10 tokens, dropout", 0.3, {}),
        ("left to right, BiLSTM, dropout", 0.3, {"is_decoder": True, "head": BILSTM}),
    ]
    for label, rate, changes in versions:
        model = small_task_model(BertForTokenClassification, backend, random, ("O", "B-X", "I-X"), rate, **changes)
        batch = small_task_batch(random, rows, np.array([0, 2, 1, 1, 0], np.int32))
        yield loss_case("token_classification", label, TaskObjective(model), batch, KEY if rate else None)


@cases("question_answering")
def question_answering(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of question answering, on sequences of 1, 7 and 2 tokens.

    The softmax over a one-token sequence has a zero gradient, and no gradient may leak from one sequence to another.
    """
    assert LENGTHS == (1, 7, 2)
    versions: Any = [
        ("spans", 0, {}),
        ("spans, dropout", 0.3, {}),
        ("left to right, spans", 0, {"is_decoder": True}),
    ]
    for label, rate, changes in versions:
        model = small_task_model(BertForQuestionAnswering, backend, random, dropout=rate, **changes)
        batch = small_task_batch(random, np.arange(TOKENS), np.array([[0, 0], [2, 5], [1, 1]], np.int32))
        yield loss_case("question_answering", label, TaskObjective(model), batch, KEY if rate else None)


@cases("multiple_choice")
def multiple_choice(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    versions: Any = [
        ("3 candidates", 0, {}),
        ("3 candidates, dropout", 0.3, {}),
        ("left to right, 3 candidates", 0, {"is_decoder": True}),
    ]
    for label, rate, changes in versions:
        model = small_task_model(BertForMultipleChoice, backend, random, dropout=rate, **changes)
        batch = small_task_batch(random, FIRST, np.array([1], np.int32), choices=3)
        yield loss_case("multiple_choice", label, TaskObjective(model), batch, KEY if rate else None)


@cases("task_distillation")
def task_distillation(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of fine-tuning with a teacher: the soft loss over classes, over tokens, and of a number."""
    spans = np.array([[0, 0], [2, 5], [1, 1]], np.int32)
    for label, model_class, names, rows, labels, rate in (
        ("2 classes, dropout", BertForSequenceClassification, ("no", "yes"), FIRST, np.array([1, 0, 1], np.int32), 0.3),
        ("spans", BertForQuestionAnswering, (), np.arange(TOKENS), spans, 0),
        ("a number", BertForSequenceClassification, ("score",), FIRST, np.array([0.3, -1.2, 2], np.float32), 0),
    ):
        student, teacher = (small_task_model(model_class, backend, random, names, rate, 4) for _ in range(2))
        objective = TaskDistillation(student, teacher, temperature=2.0, weights=(0.7, 0.3))
        batch = small_task_batch(random, rows, labels)
        yield loss_case("task_distillation", label, objective, batch, KEY if rate else None)
