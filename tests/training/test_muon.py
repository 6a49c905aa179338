"""Muon: matrices inside the layers move in orthogonalised directions, everything else as AdamW moves it."""

import numpy as np
import pytest

from minibert.checks.short_training import small_config
from minibert.models import BertForPreTraining, Elmo, ElmoConfig
from minibert.ops import load_backend
from minibert.training.muon import Muon, is_inside_layers, update_scale
from minibert.training.optimizer import AdamW, AdamWSettings

SETTINGS = AdamWSettings(beta1=0.9, beta2=0.98, weight_decay=0.1, bias_correction=False, max_norm=0.5)
STEPS = 3


def own_names(model) -> set[str]:
    return {name for name, parameter in model.parameters.all.items() if is_inside_layers(parameter)}


def set_gradients(model, number) -> dict[str, np.ndarray]:
    """Random gradients, which depend on the step's number."""
    random = np.random.default_rng(number)
    tensors = {name: random.standard_normal(each.shape) for name, each in model.parameters.all.items()}
    for name, tensor in tensors.items():
        model.parameters.all[name].gradient[...] = model.parameters.backend.array(tensor)
    return tensors


def stepped(kind, rate=lambda number: 0.01 * number):
    """A small model before and after some steps with random gradients, and those gradients."""
    model = BertForPreTraining(small_config(), dtype="float64")
    optimizer, gradients = kind(model.parameters, SETTINGS), []
    before = model.parameters.tensors(model.parameters.masters.copy())
    for number in range(1, STEPS + 1):
        gradients.append(set_gradients(model, number))
        optimizer.step(number, rate(number))
    return model, before, model.parameters.tensors(model.parameters.masters), gradients


def test_the_matrices_inside_the_layers_are_its_own():
    model = BertForPreTraining(small_config())
    matrices = {name for name, parameter in model.parameters.all.items() if len(parameter.shape) == 2}
    outside = {name for name in matrices if "embeddings" in name or "pooler" in name or name.startswith("cls.")}
    assert own_names(model) == matrices - outside
    assert len(own_names(model)) == 6 * model.config.num_hidden_layers
    elmo = Elmo(ElmoConfig(50, 8, 2))
    assert own_names(elmo) == {name for name in elmo.parameters.all if "weight_" in name} != set()


def test_steps_follow_the_formula():
    model, before, after, gradients = stepped(Muon)
    as_adamw, reference = stepped(AdamW)[2], load_backend("reference")
    norms = [np.sqrt(sum((tensor**2).sum() for tensor in tensors.values())) for tensors in gradients]
    for name, value in before.items():
        if name not in own_names(model):
            assert np.array_equal(after[name], as_adamw[name])
            continue
        moment = 0.0
        for number, (tensors, norm) in enumerate(zip(gradients, norms, strict=True), 1):
            moment = 0.9 * moment + 0.1 * tensors[name] * (0.5 / norm)  # clipped to a norm of 0.5
            (direction,) = reference.orthogonalise([moment])
            value = value * (1 - 0.01 * number * 0.1) - 0.01 * number * 0.2 * max(value.shape) ** 0.5 * direction
        assert np.abs(after[name] - value).max() < 1e-12


def test_an_update_has_the_scale_of_adamws():
    """The root mean square of an orthogonal matrix, times the scale, is 0.2 for every shape."""
    for shape in ((8, 32), (32, 8), (16, 16)):
        orthogonal = np.linalg.svd(np.random.default_rng(0).standard_normal(shape), full_matrices=False)
        update = update_scale(shape) * orthogonal[0] @ orthogonal[2]
        assert np.sqrt((update**2).mean()) == pytest.approx(0.2, rel=1e-12)


def test_its_steps_are_pytorchs():
    """PyTorch iterates in bfloat16, which has 8 bits; a step's error is far below the step."""
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    rate = lambda number: 0.01  # noqa: E731
    model, before, after, gradients = stepped(Muon, rate)
    norms = [np.sqrt(sum((tensor**2).sum() for tensor in tensors.values())) for tensors in gradients]
    names = sorted(own_names(model))
    parts = {name: torch.nn.Parameter(torch.from_numpy(before[name].copy())) for name in names}
    peer = torch.optim.Muon(
        list(parts.values()), lr=0.01, momentum=0.9, weight_decay=0.1, nesterov=False, adjust_lr_fn="match_rms_adamw"
    )
    for tensors, norm in zip(gradients, norms, strict=True):
        for name, part in parts.items():
            part.grad = torch.from_numpy(tensors[name] * (0.5 / norm))
        peer.step()
    for name, part in parts.items():
        ours, theirs = after[name] - before[name], part.detach().numpy() - before[name]
        assert np.linalg.norm(ours - theirs) < 0.02 * np.linalg.norm(ours), name


def test_a_float16_step_that_overflows_changes_nothing(gpu):
    backend = load_backend("gpu", emulate=True)
    model = BertForPreTraining(small_config(), backend, dtype="float16")
    optimizer = Muon(model.parameters, SETTINGS)
    set_gradients(model, 1)
    optimizer.step(1, 0.01)
    before = model.parameters.tensors(model.parameters.masters.copy())
    set_gradients(model, 2)
    model.parameters.gradients[3:4] = np.inf
    optimizer.step(2, 0.01)
    after = model.parameters.tensors(model.parameters.masters)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    set_gradients(model, 3)
    optimizer.step(3, 0.01)
    changed = model.parameters.tensors(model.parameters.masters)
    assert all(not np.array_equal(changed[name], after[name]) for name in own_names(model))
    rounded = model.parameters.tensors(model.parameters.values)
    assert all(np.array_equal(rounded[name], changed[name].astype(np.float16)) for name in changed)
