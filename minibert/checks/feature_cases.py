"""Gradient-check cases for the small models trained on a frozen BERT's vectors, covering all their parameters."""

from collections.abc import Iterator

import numpy as np

from minibert.checks.cases import cases
from minibert.checks.gradients import Case
from minibert.checks.model_cases import TOKENS, model_case, small_batch
from minibert.data.task_batch import TaskBatch
from minibert.models import Bert, BertConfig
from minibert.models.features import SENTENCES, SPANS, WEIGHTED, WORDS, FeatureModel
from minibert.nn.config import BILSTM, LINEAR
from minibert.objectives import TaskObjective
from minibert.ops.backend import Backend
from minibert.ops.examples import normal


@cases("features")
def features(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the feature-based models, on words, sentences and spans."""
    config = BertConfig(
        vocab_size=11,
        hidden_size=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=5,
        max_position_embeddings=8,
    )
    encoder = Bert(config, backend, dtype="float64", position_init="sinusoids")
    encoder.parameters.values[...] += backend.array(0.3 * normal(random, encoder.parameters.values.size))
    tokens = small_batch(random)
    words = TaskBatch(tokens, np.array([0, 2, 3, 7, 9], np.int32), np.array([0, 2, 1, 1, 0], np.int32), 5)
    sentences = TaskBatch(tokens, tokens.cls_positions, np.array([1, 0, 2], np.int32), 3)
    spans = TaskBatch(tokens, np.arange(TOKENS, dtype=np.int32), np.array([[0, 0], [2, 5], [1, 1]], np.int32), 3)
    for label, batch, kind, layers, head in (
        ("words, BiLSTM on a weighted sum", words, WORDS, WEIGHTED, BILSTM),
        ("words, one layer", words, WORDS, "-1", LINEAR),
        ("sentences, weighted sum", sentences, SENTENCES, WEIGHTED, LINEAR),
        ("sentences, BiLSTM", sentences, SENTENCES, "0", BILSTM),
        ("spans, one layer", spans, SPANS, "-1", LINEAR),
    ):
        model = FeatureModel(encoder, ("a", "b", "c"), kind=kind, layers=layers, head=head)
        model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
        yield case_of(label, TaskObjective(model), batch)


def case_of(label: str, objective: TaskObjective, batch: TaskBatch) -> Case:
    """The case of a small model and its loss; the vectors, which depend on no checked parameter, are computed once."""
    prepared = objective.prepare(batch)

    def run():
        loss, cache = objective.losses(prepared)
        return (loss.total,), cache

    def run_backward(upstream, cache):
        objective.losses_backward(cache, float(upstream[0]))
        return {}

    return model_case("features", label, objective.model, run, run_backward)
