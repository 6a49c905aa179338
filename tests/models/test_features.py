"""Small models on the vectors of a frozen BERT: all backends agree with the reference, and a GPU never waits."""

import json

import numpy as np
import pytest

from minibert.checks.model_cases import small_batch
from minibert.checks.short_training import small_config
from minibert.data.task_batch import TaskBatch
from minibert.models import Bert
from minibert.models.features import LAST_FOUR, SENTENCES, SPANS, WEIGHTED, WORDS, FeatureModel
from minibert.nn.config import BILSTM, LINEAR
from minibert.objectives import TaskObjective
from minibert.ops import load_backend

CASES = {
    "words, BiLSTM on a weighted sum": (WORDS, WEIGHTED, BILSTM),
    "words, one layer": (WORDS, "-1", LINEAR),
    "sentences, four layers": (SENTENCES, LAST_FOUR, LINEAR),
    "sentences, BiLSTM on a weighted sum": (SENTENCES, WEIGHTED, BILSTM),
    "spans, weighted sum": (SPANS, WEIGHTED, LINEAR),
}


def objective_and_batch(backend, kind, layers, head, dtype):
    encoder = Bert(small_config(num_hidden_layers=4), backend, dtype=dtype, seed=1)
    model = FeatureModel(encoder, ("a", "b", "c"), kind=kind, layers=layers, head=head, seed=2)
    tokens = small_batch(np.random.default_rng(0))
    if kind == WORDS:
        batch = TaskBatch(tokens, np.array([0, 2, 3, 7, 9], np.int32), np.array([0, 2, 1, 1, 0], np.int32), 5)
    elif kind == SPANS:
        everything, spans = np.arange(len(tokens.token_ids), dtype=np.int32), [[0, 0], [2, 5], [1, 1]]
        batch = TaskBatch(tokens, everything, np.array(spans, np.int32), 3)
    else:
        batch = TaskBatch(tokens, tokens.cls_positions, np.array([1, 0, 2], np.int32), 3)
    return TaskObjective(model), batch


def loss_and_gradients(backend, case, dtype):
    objective, batch = objective_and_batch(backend, *CASES[case], dtype)
    prepared = objective.prepare(batch)
    losses, cache = objective.losses(prepared)
    objective.losses_backward(cache)
    prepared.release()
    return float(losses.total), backend.numpy(objective.model.parameters.gradients)


@pytest.mark.parametrize(
    ("layers", "head", "inputs"), [("-1", LINEAR, 1), (LAST_FOUR, LINEAR, 4), (LAST_FOUR, BILSTM, 1)]
)
def test_the_output_layer_starts_on_the_scale_of_its_inputs(layers, head, inputs):
    encoder, labels = Bert(small_config(num_hidden_layers=4), "reference"), tuple(map(str, range(60)))

    def weights(**options):
        return FeatureModel(encoder, labels, kind=WORDS, layers=layers, head=head, **options).output.weight.value

    size = inputs * encoder.width
    assert weights().std() == pytest.approx(0.8796 / size**0.5, rel=0.1)
    assert np.allclose(weights(output_init=0.02) * 50, weights() * size**0.5)


@pytest.mark.parametrize("case", CASES)
def test_every_backend_agrees_with_the_reference(other_backend, case):
    loss, gradients = loss_and_gradients(other_backend, case, "float64")
    expected, expected_gradients = loss_and_gradients(load_backend("reference"), case, "float64")
    assert loss == pytest.approx(expected, rel=1e-12)
    assert np.abs(gradients - expected_gradients).max() <= 1e-11 * np.abs(expected_gradients).max()


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_never_waits(gpu, case, dtype):
    if not hasattr(gpu.xp, "no_synchronisation"):
        pytest.skip("only the emulator's stand-in for CuPy can tell")
    objective, batch = objective_and_batch(gpu, *CASES[case], dtype)
    with gpu.xp.no_synchronisation():
        _, cache = objective.losses(objective.prepare(batch))
        objective.losses_backward(cache)
    gradients = gpu.numpy(objective.model.parameters.gradients)
    assert gradients.dtype == np.float32 and np.isfinite(gradients).all() and np.abs(gradients).max() > 0


@pytest.mark.parametrize(("tokens", "kind"), [(True, WORDS), (False, SENTENCES)])
def test_a_folder_that_names_its_kind_in_the_earlier_way_is_loaded(tmp_path, tokens, kind):
    encoder = Bert(small_config(), "reference", seed=1)
    FeatureModel(encoder, ("a", "b"), kind=kind, layers="-1", head=LINEAR).save_pretrained(tmp_path)
    path = tmp_path / "features.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["kind"]
    path.write_text(json.dumps(values | {"tokens": tokens}), encoding="utf-8")
    model = FeatureModel.from_pretrained(tmp_path, "reference")
    assert model.kind == kind and model.encoder.backend.name == "reference"
