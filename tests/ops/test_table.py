"""The table of ops: what other packages read from it, and that no row lacks what they need."""

import numpy as np
import pytest

from minibert.checks import cases_of
from minibert.ops import load_backend
from minibert.ops.table import BY_NAME, OPS, PAIRS, TABLE, row_of


def test_each_pair_has_examples_and_they_are_its_gradient_cases():
    for name in PAIRS:
        examples = list(BY_NAME[name].examples(np.random.default_rng(0)))
        cases = cases_of(name, load_backend("reference"))
        assert examples and [case.shape for case in cases] == [example.label for example in examples]


def test_names_lead_to_their_rows():
    assert row_of("linear_forward") == (BY_NAME["linear"], 0) and row_of("linear_backward") == (BY_NAME["linear"], 1)
    assert row_of("adamw") == (BY_NAME["adamw"], 0) and row_of("sort_backward") == (None, 0)
    assert len(BY_NAME) == len(TABLE) and {row_of(name)[0] for name in OPS} == set(TABLE)


@pytest.mark.parametrize("op", [op for op in TABLE if op.warm_up], ids=lambda op: op.name)
def test_the_arguments_of_warm_up_calls_fit(op):
    """The cpu backend is called with them when it is compiled; here the reference is."""
    reference = load_backend("reference")
    if op.pair:
        y, cache = getattr(reference, f"{op.name}_forward")(*op.warm_up())
        gradients = getattr(reference, f"{op.name}_backward")(y, cache)
        for array in gradients if isinstance(gradients, tuple) else (gradients,):
            assert array.dtype == np.float32
    else:
        getattr(reference, op.name)(*op.warm_up())


def test_products_are_counted():
    arguments = {"x": np.empty((5, 3)), "weight": np.empty((7, 3))}
    assert BY_NAME["linear"].products(arguments) == 2 * 5 * 3 * 7
    lstm = {"x": np.empty((7, 3)), "weight_input": np.empty((8, 3)), "cu_seqlens": np.array([0, 2, 7])}
    assert BY_NAME["lstm"].products(lstm) == 2 * (7 * 8 * 3 + 5 * 8 * 2)  # two tokens have no state before them
    attention = {"cu_seqlens_q": np.array([0, 2, 3]), "cu_seqlens_k": np.array([0, 4, 9]), "key": np.empty((9, 6))}
    assert BY_NAME["attention"].products(attention) == 4 * 6 * (2 * 4 + 1 * 5)
