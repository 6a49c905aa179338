"""Logits, loss and every gradient equal those of `transformers` with PyTorch's autograd."""

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.models import BertConfig, BertForPreTraining
from tests.objectives import run_backward, run_forward, run_losses

from .parity import as_transformers, peer_inputs, shaken

torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
pytest.importorskip("transformers", reason="parity needs the extra `peers`: transformers is not installed")


CONFIGS = {
    "small, gelu": small_config(),
    "small, tanh gelu": small_config(hidden_act="gelu_new"),
    "mini": BertConfig.preset("mini", 1000, max_position_embeddings=64),
}


@pytest.mark.parametrize("name", ["small, gelu", "small, tanh gelu", pytest.param("mini", marks=pytest.mark.slow)])
def test_loss_logits_and_all_gradients_equal_autograd(tmp_path, backend, name):
    config = CONFIGS[name]
    model = shaken(BertForPreTraining(config, backend, dtype="float64", seed=3))
    # float32 files carry 24 bits: round the weights first, so that both sides hold the same numbers
    model.parameters.values[...] = model.parameters.values.astype(np.float32)
    batch = random_batch(config)
    peer = as_transformers(model, tmp_path, torch.float64)
    output = peer(**peer_inputs(batch))
    output.loss.backward()

    losses, cache = run_losses(model, batch)
    model.parameters.zero_gradients()
    run_backward(model, cache)
    assert float(losses.total) == pytest.approx(output.loss.item(), rel=1e-10)

    mlm_logits, nsp_logits = (backend.numpy(logits) for logits in run_forward(model, batch)[:2])
    labels = peer_inputs(batch)["labels"]
    expected = output.prediction_logits[labels != -100].detach().numpy()
    assert np.abs(mlm_logits - expected).max() < 1e-10
    assert np.abs(nsp_logits - output.seq_relationship_logits.detach().numpy()).max() < 1e-10

    gradients = {name: parameter.grad for name, parameter in peer.named_parameters()}
    assert set(gradients) == set(model.parameters.all)
    ours = model.parameters.tensors(model.parameters.gradients)
    steepest = max(np.abs(gradient).max() for gradient in ours.values())
    for name, gradient in ours.items():
        expected = gradients[name].numpy()
        largest = max(np.abs(expected).max(), 1e-3 * steepest)
        assert np.abs(gradient - expected).max() <= 1e-9 * largest, name


def test_the_file_gives_the_same_logits_in_float32(tmp_path, backend):
    config = small_config()
    model = shaken(BertForPreTraining(config, backend, seed=3))
    batch = random_batch(config)
    peer = as_transformers(model, tmp_path, torch.float32)
    with torch.no_grad():
        output = peer(**peer_inputs(batch))
    mlm_logits, nsp_logits = (backend.numpy(logits) for logits in run_forward(model, batch)[:2])
    expected = output.prediction_logits[peer_inputs(batch)["labels"] != -100].numpy()
    assert np.abs(mlm_logits - expected).max() < 1e-4
    assert np.abs(nsp_logits - output.seq_relationship_logits.numpy()).max() < 1e-4
