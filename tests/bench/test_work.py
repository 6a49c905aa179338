"""What an op has to compute, counted by hand; and that the timer changes nothing."""

import numpy as np
import pytest

from minibert.bench.ours import contender
from minibert.bench.profile import Profile, timed
from minibert.bench.work import arrays_in, bytes_moved, product_flops
from minibert.models import BertConfig, BertForPreTraining
from minibert.ops import load_backend
from tests.bench.helpers import tiny_training
from tests.objectives import run_backward, run_losses


def profiled(backend="reference"):
    profile = Profile()
    return timed(load_backend(backend), profile), profile


def test_a_linear_layer_is_counted_as_by_hand():
    ops, profile = profiled()
    x, weight, bias = np.ones((3, 4), np.float32), np.ones((5, 4), np.float32), np.zeros(5, np.float32)
    y, cache = ops.linear_forward(x, weight, bias)
    ops.linear_backward(y, cache)
    forward, backward = profile.ops["linear_forward"], profile.ops["linear_backward"]
    assert forward.flops == 3 * 5 * 4 * 2  # 15 results, of 4 multiplications and 4 additions each
    assert backward.flops == 2 * forward.flops
    assert forward.bytes == 4 * (3 * 4 + 5 * 4 + 5 + 3 * 5)  # x, weight, bias, y, each once
    assert (forward.calls, backward.calls) == (1, 1)
    assert forward.seconds > 0 and profile.bookkeeping > 0


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_attention_counts_the_queries_and_keys_of_each_sequence(name):
    ops, profile = profiled(name)
    query, key = np.ones((3, 8), np.float32), np.ones((7, 8), np.float32)
    ends_q, ends_k, positions = (np.array(ends, np.int32) for ends in ([0, 1, 3], [0, 4, 7], [0, 0, 2]))
    context, cache = ops.attention_forward(query, key, key, 2, ends_q, ends_k, positions_q=positions)
    ops.attention_backward(context, cache)
    pairs = 1 * 4 + 2 * 3  # of a query and a key
    assert profile.ops["attention_forward"].flops == 4 * 8 * pairs
    assert profile.ops["attention_backward"].flops == 10 * 8 * pairs


def test_the_timer_passes_on_whatever_an_op_takes_and_keeps_caches_of_several_calls_apart():
    ops, profile = profiled()
    plain = load_backend("reference")
    random = np.random.default_rng(0)
    x, other = random.standard_normal((3, 4)), random.standard_normal((2, 4))
    weight, bias = random.standard_normal((5, 4)), np.zeros(5)
    y, cache = ops.linear_forward(x, weight=weight, bias=bias)
    _, other_cache = ops.linear_forward(other, weight, bias)
    found = ops.linear_backward(y, cache=cache)
    expected = plain.linear_backward(y, plain.linear_forward(x, weight, bias)[1])
    for one, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, right)
    assert profile.ops["linear_backward"].flops == 4 * 3 * 5 * 4
    ops.linear_backward(np.ones((2, 5)), other_cache)
    assert profile.ops["linear_backward"].flops == 4 * (3 + 2) * 5 * 4


def test_a_model_on_a_timed_backend_computes_the_same():
    workload = tiny_training()
    ops, profile = profiled()
    gradients = []
    for backend in ("reference", ops):
        model = BertForPreTraining(BertConfig(**workload.model), backend)
        _, cache = run_losses(model, workload.batches[0], (0, 0))
        run_backward(model, cache)
        gradients.append(model.parameters.gradients)
    np.testing.assert_array_equal(*gradients)
    # the last layer has its queries, output and feed-forward network for 5 of 13 tokens only: 3 masked, 2 [CLS]
    width, inner, vocabulary, tokens, read = 16, 32, 60, 13, 5
    layers = (4 * tokens + 2 * tokens + 2 * read) * width * width + 2 * (tokens + read) * width * inner
    heads = 3 * (width * width + width * vocabulary) + 2 * (width * width + 2 * width)
    assert profile.ops["linear_forward"].flops == 2 * (layers + heads)
    assert profile.ops["linear_backward"].flops == 4 * (layers + heads)


def test_lookups_move_only_the_rows_that_they_read():
    table, result = np.zeros((1000, 4), np.float32), np.zeros((3, 4), np.float32)
    assert bytes_moved("gather_rows_forward", (table, np.arange(3)), (result, ())) == 2 * 3 * 4 * 4
    assert product_flops("gelu", {"x": table}) == 0
    found = arrays_in({"a": (table, [result, 3, None, np.float32(1)])})
    assert len(found) == 2 and found[0] is table and found[1] is result


def test_a_contender_has_an_input_for_each_step():
    inputs, step = contender(tiny_training(), "reference")
    assert len(inputs) == 2
    assert step(inputs[0]) > step(inputs[1])  # it learns: the same batch again
