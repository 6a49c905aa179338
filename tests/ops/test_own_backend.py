"""A backend of one's own with a few ops: the others are the reference's.  So a student writes a backend op by op."""

from types import SimpleNamespace

import numpy as np
import pytest

from minibert.checks import cases_of, check_gradients
from minibert.checks.short_training import random_batch, small_config
from minibert.models import BertForPreTraining
from minibert.ops import OPS, Backend, load_backend
from minibert.ops.backend import BACKENDS, lacking_ops
from tests.objectives import run_backward, run_losses


def linear_forward(x, weight, bias):
    return np.einsum("ni,oi->no", x, weight) + bias, (x, weight)


def linear_backward(d_y, cache, accumulate_into=(None, None, None)):
    x, weight = cache
    parts = np.einsum("no,oi->ni", d_y, weight), np.einsum("no,ni->oi", d_y, x), d_y.sum(axis=0)
    for total, part in zip(accumulate_into, parts, strict=True):
        if total is not None:
            total += part
    return tuple(part if total is None else total for total, part in zip(accumulate_into, parts, strict=True))


def count_correct(logits, labels):
    return sum(int(row.argmax() == label) for row, label in zip(logits, labels, strict=True))


@pytest.fixture
def mine():
    """Three ops of one's own, which note that they were called."""
    called = []

    def noting(function):
        def call(*arguments, **options):
            called.append(function.__name__)
            return function(*arguments, **options)

        return call

    functions = linear_forward, linear_backward, count_correct
    return Backend("mine", SimpleNamespace(**{f.__name__: noting(f) for f in functions})), called


def test_three_ops_of_ones_own_and_the_reference_train_a_bert(mine):
    backend, called = mine
    config, batch = small_config(), random_batch(small_config())
    totals, gradients = [], []
    for each in (backend, load_backend("reference")):
        model = BertForPreTraining(config, each, dtype="float64", seed=1)
        losses, cache = run_losses(model, batch)
        run_backward(model, cache)
        totals.append(float(losses.total))
        gradients.append(model.parameters.gradients)
    assert totals[0] == pytest.approx(totals[1], rel=1e-12)
    assert np.abs(gradients[0] - gradients[1]).max() < 1e-12
    assert set(called) == {"linear_forward", "linear_backward", "count_correct"}
    assert set(backend.borrowed) == set(OPS) - set(called)


@pytest.mark.parametrize("name", ["linear", "lstm", "attention"])
def test_its_gradients_are_checked_like_any_other(mine, name):
    backend, _ = mine
    for case in cases_of(name, backend):
        assert all(result.passed for result in check_gradients(case))


def test_half_a_pair_is_refused():
    with pytest.raises(ValueError, match="only one of linear_forward"):
        Backend("mine", SimpleNamespace(linear_forward=linear_forward))


def test_where_arrays_are_not_numpys_nothing_is_borrowed(gpu):
    with pytest.raises(NotImplementedError, match="lacks the ops embedding_forward"):
        Backend("mine", SimpleNamespace(xp=gpu.xp, linear_forward=linear_forward, linear_backward=linear_backward))


def test_every_backend_of_ours_has_every_op(backend):
    assert {name: lacking_ops(name) for name in BACKENDS} == {"reference": [], "cpu": [], "gpu": []}
    assert backend.borrowed == ()
