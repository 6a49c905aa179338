"""Every gradient equals finite differences; and each of these checks can fail."""

import re

import numpy as np
import pytest

from minibert.checks import CASES, TOLERANCE, Case, cases_of, check_gradients, numeric_gradient
from minibert.checks.gradients import ROUNDINGS, SMALL, STEP
from minibert.models.bert import BertBody
from minibert.models.heads import MaskedLMHead
from minibert.nn import Embeddings, EncoderLayer, LayerNorm, SelfAttention
from minibert.ops import load_backend, reference
from minibert.ops.reference import attention as reference_attention
from minibert.ops.table import PAIRS

LAYERS = ("embeddings", "self_attention", "feed_forward", "pooler", "mlm_head", "nsp_head")
ALIKE = "language_model", "both_directions"  # their layers are those of "pretraining"
WHOLE_MODELS = ("encoder", "pretraining", "language_model", "both_directions", "distillation")
TASKS = (
    "sequence_classification",
    "token_classification",
    "question_answering",
    "multiple_choice",
    "task_distillation",
    "features",
)


THOROUGH = *WHOLE_MODELS, *TASKS  # on the emulator; ops and layers are checked there in every run
# a whole model takes a minute and more on the emulator: the richest of its cases there, all of them elsewhere; of tasks
# the richest case everywhere, and all in the thorough run
RICHEST = {
    "encoder": "rows cut in the last layer, dropout",
    "pretraining": "MLM and NSP, dropout",
    "language_model": "part of a batch, dropout",
    "both_directions": "part of a batch, dropout",
    "sequence_classification": "3 classes, dropout",
    "token_classification": "5 of 10 tokens, dropout",
    "question_answering": "spans, dropout",
    "multiple_choice": "3 candidates, dropout",
    "distillation": "all tokens, dropout",
    "task_distillation": "2 classes, dropout",
}


def results(name, backend, all_of_them=False):
    cases = cases_of(name, backend)
    if (backend.name == "gpu" or name in TASKS) and name in RICHEST and not all_of_them:
        cases = [case for case in cases if case.shape == RICHEST[name]]
        assert cases
    return [result for case in cases for result in check_gradients(case)]


@pytest.fixture
def daily(request, backend, name):
    """What takes seconds on the reference, and longer emulated, is left to the full run."""
    left = ALIKE if backend.name == "cpu" else WHOLE_MODELS + TASKS
    if backend.name == "gpu":
        left += LAYERS + ("attention",)
    if name in left and "not slow" in request.config.option.markexpr:
        pytest.skip("in the full run only")


@pytest.mark.parametrize("name", [name for name in CASES if name != "encoder"])  # "pretraining" has it in it
def test_gradients(request, daily, backend, name):
    if backend.name == "gpu" and name in THOROUGH and "gpu" not in request.config.option.markexpr:
        pytest.skip("on the emulator: in the thorough run")
    failed = [result for result in results(name, backend) if not result.passed]
    assert not failed


@pytest.mark.thorough
@pytest.mark.parametrize("name", THOROUGH)
def test_gradients_on_the_emulator(gpu, name):
    failed = [result for result in results(name, load_backend("gpu", emulate=True)) if not result.passed]
    assert not failed


@pytest.mark.thorough
@pytest.mark.parametrize("backend_name", ["reference", "cpu"])
@pytest.mark.parametrize("name", ["encoder", *sorted(RICHEST.keys() & set(TASKS))])
def test_gradients_of_all_cases_of_a_task_and_of_an_encoder(backend_name, name):
    failed = [result for result in results(name, load_backend(backend_name), all_of_them=True) if not result.passed]
    assert not failed


def test_every_op_and_every_layer_has_a_check_in_the_tables_order():
    assert set(list(CASES)[: len(PAIRS)]) == set(PAIRS)
    assert tuple(CASES)[len(PAIRS) :] == LAYERS + WHOLE_MODELS + TASKS


def test_the_layers_together_check_every_parameter():
    def parameters(names):
        found = {
            argument for name in names for case in cases_of(name, load_backend("reference")) for argument in case.inputs
        }
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
    honest = getattr(load_backend("reference"), f"{op}_backward")
    arguments = [result.argument for result in check_gradients(cases_of(op, load_backend("reference"))[0])]
    for wrong in range(len(arguments)):

        def planted(d_y, cache, wrong=wrong):
            gradients = as_tuple(honest(d_y, cache))
            return tuple(BUGS[bug](g) if i == wrong else g for i, g in enumerate(gradients))

        backend = load_backend("reference")
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
    backend = load_backend("reference")
    backend.layernorm_backward = layernorm_without_its_third_term
    assert any(result.argument == "x" and not result.passed for result in results("layernorm", backend))


def test_an_upstream_gradient_of_ones_would_not_see_it():
    """Why it must be random: with ones, and a weight of one, the missing term is zero."""
    x, ones = np.random.default_rng(0).standard_normal((5, 7)), np.ones(7)
    backend = load_backend("reference")
    _, cache = backend.layernorm_forward(x, ones, np.zeros(7), 1e-12)
    right, wrong = (
        backend.layernorm_backward(np.ones((5, 7)), cache),
        layernorm_without_its_third_term(np.ones((5, 7)), cache),
    )
    assert np.abs(right[0] - wrong[0]).max() < 1e-12


@pytest.mark.slow
def test_an_attention_backward_that_forgets_a_step_is_caught(monkeypatch):
    """Two bugs that others shipped: the scores' scale, and the dropout mask of the backward pass."""
    honest = reference_attention.probabilities_mask
    calls = []

    def other_mask_in_backward(dropout, sequence, queries, probabilities):
        calls.append(sequence)
        mask = honest(dropout, sequence, queries, probabilities)
        return mask if len(calls) % 2 else np.ones_like(mask)

    backend = load_backend("reference")
    backward = backend.attention_backward
    backend.attention_backward = lambda d, cache: tuple(
        g * f for g, f in zip(backward(d, cache), (3**0.5, 1, 1), strict=True)
    )
    assert {r.argument for r in results("attention", backend) if not r.passed} == {"query"}

    monkeypatch.setattr(reference_attention, "probabilities_mask", other_mask_in_backward)
    case = [case for case in cases_of("attention", load_backend("reference")) if "dropout" in case.shape][0]
    assert not all(result.passed for result in check_gradients(case))


# ------------------------------------------------------------------- planted bugs in layers and models


def wrong_tensors(name, shape, *tensors):
    """Those of some tensors of one case whose gradients are wrong; the others stay as they are: quick, and enough."""
    (case,) = (case for case in cases_of(name, load_backend("reference")) if case.shape == shape)
    kept = {tensor: case.inputs[tensor] for tensor in tensors}

    def forward(values):
        return case.forward({**case.inputs, **values})

    small = Case(case.name, case.shape, kept, forward, case.backward)
    return {result.argument for result in check_gradients(small) if not result.passed}


def forget(monkeypatch, layer, *names):
    """Plant a bug: the layer's backward no longer adds to the gradients of these parameters, such as "segment"."""
    honest = layer.backward

    def planted(self, d_y, cache):
        parameters = [getattr(self, name) for name in names]
        before = [parameter.gradient.copy() for parameter in parameters]
        result = honest(self, d_y, cache)
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.gradient[...] = gradient
        return result

    monkeypatch.setattr(layer, "backward", planted)


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


@pytest.mark.parametrize("name, shape", [("encoder", "all rows"), ("pretraining", "MLM and NSP")])
@pytest.mark.parametrize("layer, bug", [(SelfAttention, forget_the_residual), (EncoderLayer, forget_the_keys)])
def test_a_forgotten_path_in_a_layer_is_caught(monkeypatch, name, shape, layer, bug):
    first_layer = "bert.encoder.layer.0.attention.self.value.weight"
    monkeypatch.setattr(layer, "backward", bug)
    assert wrong_tensors(name, shape, first_layer) == {first_layer}


TOKEN, POSITION, SEGMENT = (f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type"))
BOTH_LOSSES = "MLM and NSP"


@pytest.mark.parametrize("name, shape", [("mlm_head", "M=4, gelu"), ("pretraining", BOTH_LOSSES)])
def test_a_tied_decoder_that_forgets_its_share_of_the_table_is_caught(monkeypatch, name, shape):
    others = "cls.predictions.bias", "cls.predictions.transform.LayerNorm.bias"
    forget(monkeypatch, MaskedLMHead, "embedding")
    assert wrong_tensors(name, shape, TOKEN, *others) == {TOKEN}


def test_a_decoder_that_overwrites_what_the_table_has_is_caught(monkeypatch):
    """The other way round: `=` in the place of `+=` in the embeddings, which come last."""
    honest = Embeddings.backward

    def overwrite(self, d_y, cache):
        self.token.gradient[...] = 0
        honest(self, d_y, cache)

    monkeypatch.setattr(Embeddings, "backward", overwrite)
    assert wrong_tensors("pretraining", BOTH_LOSSES, TOKEN, SEGMENT) == {TOKEN}


def test_a_path_from_the_next_sentence_loss_that_ends_at_the_pooler_is_caught(monkeypatch):
    monkeypatch.setattr(BertBody, "pool_backward", without_d_first)
    below, above = "bert.encoder.layer.1.output.LayerNorm.bias", "cls.seq_relationship.bias"
    assert wrong_tensors("pretraining", BOTH_LOSSES, below, SEGMENT, above) == {below, SEGMENT}
    assert wrong_tensors("pretraining", "MLM alone", below) == set()  # only pairs take that path
    assert wrong_tensors("pooler", "B=3", "x", "bert.pooler.dense.weight") == {"x"}


def without_d_first(self, d_pooled, cache, honest=BertBody.pool_backward):
    return 0 * honest(self, d_pooled, cache)


@pytest.mark.parametrize("table, tensor", [("segment", SEGMENT), ("position", POSITION), ("token", TOKEN)])
@pytest.mark.parametrize("name, shape", [("embeddings", "ids repeated"), ("pretraining", BOTH_LOSSES)])
def test_a_forgotten_table_of_the_embeddings_is_caught(monkeypatch, name, shape, table, tensor):
    forget(monkeypatch, Embeddings, table)
    assert wrong_tensors(name, shape, SEGMENT, POSITION, TOKEN) == {tensor}


NORMS = {
    "embeddings": ("ids repeated", "bert.embeddings.LayerNorm"),
    "self_attention": ("all rows", "bert.encoder.layer.1.attention.output.LayerNorm"),
    "feed_forward": ("gelu, dropout", "bert.encoder.layer.0.output.LayerNorm"),
    "mlm_head": ("M=4, gelu", "cls.predictions.transform.LayerNorm"),
}


@pytest.mark.parametrize("parameter", ["weight", "bias"])
@pytest.mark.parametrize("name", NORMS)
def test_a_forgotten_parameter_of_a_layer_norm_is_caught(monkeypatch, name, parameter):
    shape, norm = NORMS[name]
    forget(monkeypatch, LayerNorm, parameter)  # alone
    honest = LayerNorm.add_backward

    def add_backward(self, d_y, cache):  # and after a residual connection
        before = getattr(self, parameter).gradient.copy()
        result = honest(self, d_y, cache)
        getattr(self, parameter).gradient[...] = before
        return result

    monkeypatch.setattr(LayerNorm, "add_backward", add_backward)
    tensors = f"{norm}.weight", f"{norm}.bias"
    assert wrong_tensors(name, shape, *tensors) == {f"{norm}.{parameter}"}
    kept = "bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias"
    assert wrong_tensors("pretraining", BOTH_LOSSES, *kept) == {f"bert.embeddings.LayerNorm.{parameter}"}


VALUE, QUERY = (f"bert.encoder.layer.1.attention.self.{name}.bias" for name in ("value", "query"))


def test_an_attention_backward_that_ignores_causal_is_caught(monkeypatch):
    honest = reference_attention.attention_backward

    def sees_everything(d_context, cache):
        *arguments, _causal, dropout, log_sums = cache
        return honest(d_context, (*arguments, False, dropout, log_sums))

    monkeypatch.setattr(reference, "attention_backward", sees_everything)
    assert wrong_tensors("self_attention", "all rows", VALUE, QUERY) == set()
    assert wrong_tensors("self_attention", "all rows, causal, dropout", VALUE, QUERY) == {VALUE, QUERY}
    assert wrong_tensors("encoder", "causal, dropout", VALUE, QUERY) == {VALUE, QUERY}
    assert "value" in wrong_tensors("attention", "causal", "value")


def test_an_attention_backward_that_forgets_dropout_on_the_way_to_the_values_is_caught(monkeypatch):
    """d_value comes from a pass without dropout, the other two from the right one."""
    honest = reference_attention.attention_backward

    def undropped_values(d_context, cache):
        *arguments, _dropout, log_sums = cache
        d_query, d_key, _ = honest(d_context, cache)
        return d_query, d_key, honest(d_context, (*arguments, None, log_sums))[2]

    monkeypatch.setattr(reference, "attention_backward", undropped_values)
    assert wrong_tensors("self_attention", "all rows", VALUE, QUERY) == set()
    assert wrong_tensors("self_attention", "few rows ask, dropout", VALUE, QUERY) == {VALUE}
    assert wrong_tensors("pretraining", "MLM and NSP, dropout", VALUE, QUERY) == {VALUE}
    assert wrong_tensors("attention", "dropout", "value") == {"value"}


# ------------------------------------------------------------------------------------ the check itself


def test_a_gradient_that_is_no_number_fails():
    case = cases_of("tanh", load_backend("reference"))[0]
    broken = Case(case.name, case.shape, case.inputs, case.forward, lambda d_y, cache: {"x": d_y * np.nan})
    assert not any(result.passed for result in check_gradients(broken))


def test_a_gradient_of_another_shape_is_an_error():
    case = cases_of("gelu", load_backend("reference"))[1]
    broken = Case(case.name, case.shape, case.inputs, case.forward, lambda d_y, cache: {"x": d_y.T})
    with pytest.raises(ValueError, match="shape"):
        check_gradients(broken)


def shifted_case(d_shift):
    """The loss of a label whose score is 700 below the others; a shift of all scores changes nothing.

    d_shift: what the backward pass returns as the gradient of the shift.
    """
    inputs = {"score": np.array([0.3, -700.1, 0.7]), "shift": np.ones(1)}

    def forward(values):
        scores = values["score"] + values["shift"]
        log_p = scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())
        return -log_p[1], np.exp(log_p)

    def backward(upstream, p):
        return {"score": upstream * (p - np.eye(3)[1]), "shift": np.array([d_shift])}

    return Case("shifted", "", inputs, forward, backward)


def test_rounding_of_a_large_loss_is_no_wrong_gradient_and_what_exceeds_it_is():
    case = shifted_case(0.0)
    upstream = abs(np.random.default_rng(0).standard_normal())
    rounding = ROUNDINGS * np.finfo(float).eps * upstream * 700 / STEP
    moved = numeric_gradient(lambda values: float(case.forward(values)[0]), case.inputs, "shift")
    assert TOLERANCE * SMALL * upstream < upstream * abs(moved[0]) < rounding
    assert all(result.passed for result in check_gradients(case))
    for wrong in (2 * rounding, -2 * rounding):
        assert [result.argument for result in check_gradients(shifted_case(wrong)) if not result.passed] == ["shift"]


@pytest.mark.parametrize("seed", range(4))
def test_the_bias_of_the_keys_has_no_gradient(seed):
    """Its differences consist of rounding errors only, of one unit in the loss's last place or two."""
    name = "bert.encoder.layer.0.attention.self.key.bias"
    case = next(case for case in cases_of("pretraining", load_backend("reference"), seed) if case.shape == BOTH_LOSSES)
    alone = Case(
        case.name,
        case.shape,
        {name: case.inputs[name]},
        lambda values: case.forward({**case.inputs, **values}),
        case.backward,
    )
    assert all(result.passed for result in check_gradients(alone, seed))
    wrong = Case(*list(vars(alone).values())[:4], lambda u, cache: {name: case.backward(u, cache)[name] + 1e-8})
    assert not any(result.passed for result in check_gradients(wrong, seed))


def test_the_tolerance_is_what_the_design_says():
    assert TOLERANCE == 1e-7
