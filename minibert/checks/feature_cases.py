"""Gradient-check cases for the small models trained on a frozen BERT's vectors, covering all their parameters."""

from collections.abc import Iterator

import numpy as np

from minibert.checks.cases import cases
from minibert.checks.gradients import Case
from minibert.checks.model_cases import loss_case, small_batch
from minibert.data.task_batch import TaskBatch
from minibert.models import Bert, BertConfig
from minibert.models.features import WEIGHTED, FeatureModel
from minibert.nn.config import BILSTM, LINEAR
from minibert.objectives import TaskObjective
from minibert.ops.backend import Backend
from minibert.ops.examples import normal


@cases("features")
def features(backend: Backend, random: np.random.Generator) -> Iterator[Case]:
    """The cases of the feature-based models; none for a backend without the lstm op, such as gpu."""
    if not backend.has("lstm"):
        return
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
    for label, batch, layers, head in (
        ("words, BiLSTM on a weighted sum", words, WEIGHTED, BILSTM),
        ("words, one layer", words, "-1", LINEAR),
        ("sentences, weighted sum", sentences, WEIGHTED, LINEAR),
    ):
        model = FeatureModel(encoder, ("a", "b", "c"), tokens=batch is words, layers=layers, head=head)
        model.parameters.values[...] += backend.array(0.3 * normal(random, model.parameters.values.size))
        yield loss_case("features", label, TaskObjective(model), batch, None)
