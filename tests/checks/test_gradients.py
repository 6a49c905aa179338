"""Every gradient equals finite differences; and each of these checks can fail."""

import re

import numpy as np
import pytest

from minibert.checks import CASES, TOLERANCE, Case, cases_of, check_gradients
from minibert.nn import EncoderLayer, SelfAttention
from minibert.ops import load_backend
from minibert.ops.backend import PAIRS
from minibert.ops.reference import attention as reference_attention

LAYERS = ("embeddings", "self_attention", "feed_forward", "pooler", "mlm_head", "nsp_head")
WHOLE_MODELS = ("encoder", "pretraining")


def results(name, backend):
    return [result for case in cases_of(name, backend) for result in check_gradients(case)]


@pytest.mark.parametrize("name", CASES)
def test_gradients(backend, name):
    failed = [result for result in results(name, backend) if not result.passed]
    assert not failed


def test_every_op_and_every_layer_has_a_check_in_the_tables_order():
    assert set(list(CASES)[: len(PAIRS)]) == set(PAIRS)
    assert tuple(CASES)[len(PAIRS) :] == LAYERS + WHOLE_MODELS


def test_the_layers_together_check_every_parameter():
    def parameters(names):
        found = {argument for name in names for case in cases_of(name, load_backend()) for argument in case.inputs}
        return {re.sub(r"layer\.\d", "layer.n", name) for name in found if "." in name}

    assert parameters(LAYERS) == parameters(["pretraining"]) >= parameters(["encoder"])


# ----------------------------------------------------------------------------------------- planted bugs


def as_tuple(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


BUGS = {
    "a millionth too large": lambda gradient: gradient * (1 + 1e-6),
    "of the wrong sign": lambda gradient: -gradient,
    "zero in one element": lambda gradient: with_largest(gradient, 0.0),
}


def with_largest(gradient, factor):
    """The gradient with its largest element multiplied."""
    changed = np.array(gradient)
    changed.flat[np.abs(changed).argmax()] *= factor
    return changed


@pytest.mark.parametrize("bug", BUGS)
@pytest.mark.parametrize("op", PAIRS)
def test_a_bug_in_any_one_gradient_of_an_op_is_caught(op, bug):
    honest = getattr(load_backend(), f"{op}_backward")
    arguments = [result.argument for result in check_gradients(cases_of(op, load_backend())[0])]
    for wrong in range(len(arguments)):

        def planted(d_y, cache, wrong=wrong):
            gradients = as_tuple(honest(d_y, cache))
            return tuple(BUGS[bug](g) if i == wrong else g for i, g in enumerate(gradients))

        backend = load_backend()
        setattr(backend, f"{op}_backward", planted)
        some = cases_of(op, backend)[:2]
        caught = {result.argument for case in some for result in check_gradients(case) if not result.passed}
        assert caught == {arguments[wrong]}


def layernorm_without_its_third_term(d_y, cache):
    x_hat, rstd, weight = cache
    d_x_hat = d_y * weight
    d_x = rstd * (d_x_hat - d_x_hat.mean(axis=1, keepdims=True))
    return d_x, (d_y * x_hat).sum(axis=0), d_y.sum(axis=0)


def test_a_layer_norm_without_its_third_term_is_caught_since_the_upstream_gradient_is_random():
    backend = load_backend()
    backend.layernorm_backward = layernorm_without_its_third_term
    assert any(result.argument == "x" and not result.passed for result in results("layernorm", backend))


def test_an_upstream_gradient_of_ones_would_not_see_it():
    """Why it must be random: with ones, and a weight of one, the missing term is zero."""
    x, ones = np.random.default_rng(0).standard_normal((5, 7)), np.ones(7)
    backend = load_backend()
    _, cache = backend.layernorm_forward(x, ones, np.zeros(7), 1e-12)
    right, wrong = (
        backend.layernorm_backward(np.ones((5, 7)), cache),
        layernorm_without_its_third_term(np.ones((5, 7)), cache),
    )
    assert np.abs(right[0] - wrong[0]).max() < 1e-12


def test_an_attention_backward_that_forgets_a_step_is_caught(monkeypatch):
    """Two bugs that others shipped: the scores' scale, and the dropout mask of the backward pass."""
    honest = reference_attention.probabilities_mask
    calls = []

    def other_mask_in_backward(dropout, sequence, queries, probabilities):
        calls.append(sequence)
        mask = honest(dropout, sequence, queries, probabilities)
        return mask if len(calls) % 2 else np.ones_like(mask)

    backend = load_backend()
    backward = backend.attention_backward
    backend.attention_backward = lambda d, cache: tuple(
        g * f for g, f in zip(backward(d, cache), (3**0.5, 1, 1), strict=True)
    )
    assert {r.argument for r in results("attention", backend) if not r.passed} == {"query"}

    monkeypatch.setattr(reference_attention, "probabilities_mask", other_mask_in_backward)
    case = [case for case in cases_of("attention", load_backend()) if "dropout" in case.shape][0]
    assert not all(result.passed for result in check_gradients(case))


def forget_the_residual(self, d_y, cache):
    q_cache, k_cache, v_cache, attention_cache, output_cache, norm_cache = cache
    d_projected, _ = self.norm.add_backward(d_y, norm_cache)
    d_q, d_k, d_v = self.ops.attention_backward(self.output.backward(d_projected, output_cache), attention_cache)
    d_x = self.key.backward(d_k, k_cache) + self.value.backward(d_v, v_cache)
    return d_x, self.query.backward(d_q, q_cache)


def forget_the_keys(self, d_y, cache):
    gather_cache, attention_cache, feed_forward_cache = cache
    d_x, d_x_q = self.attention.backward(self.feed_forward.backward(d_y, feed_forward_cache), attention_cache)
    return d_x_q if gather_cache is None else self.ops.gather_rows_backward(d_x_q, gather_cache)


@pytest.mark.parametrize("name", WHOLE_MODELS)
@pytest.mark.parametrize("layer, bug", [(SelfAttention, forget_the_residual), (EncoderLayer, forget_the_keys)])
def test_a_forgotten_path_in_a_layer_is_caught(monkeypatch, name, layer, bug):
    monkeypatch.setattr(layer, "backward", bug)
    case = cases_of(name, load_backend())[0]
    first_layer = "encoder.layer.0.attention.self.value.weight"
    kept = {key: value for key, value in case.inputs.items() if key.endswith(first_layer)}

    # only one tensor is measured, the others stay as they are: quick, and enough
    def forward(values):
        return case.forward({**case.inputs, **values})

    small = Case(case.name, case.shape, kept, forward, case.backward)
    assert not all(result.passed for result in check_gradients(small))


def test_a_gradient_that_is_no_number_fails():
    case = cases_of("tanh", load_backend())[0]
    broken = Case(case.name, case.shape, case.inputs, case.forward, lambda d_y, cache: {"x": d_y * np.nan})
    assert not any(result.passed for result in check_gradients(broken))


def test_a_gradient_of_another_shape_is_an_error():
    case = cases_of("gelu", load_backend())[1]
    broken = Case(case.name, case.shape, case.inputs, case.forward, lambda d_y, cache: {"x": d_y.T})
    with pytest.raises(ValueError, match="shape"):
        check_gradients(broken)


def test_the_tolerance_is_what_the_design_says():
    assert TOLERANCE == 1e-7
