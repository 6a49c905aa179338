"""The LSTM equals PyTorch's, and the backends each other."""

import numpy as np
import pytest

from minibert.data.batch import running_sum
from minibert.ops import load_backend
from minibert.ops.time_steps import time_steps

LENGTHS = (3, 7, 1, 7, 2)


def weights(random, inputs, width, dtype=np.float64):
    shapes = dict(weight_input=(4 * width, inputs), weight_hidden=(4 * width, width), bias=(4 * width,))
    return {name: random.standard_normal(shape).astype(dtype) * 0.4 for name, shape in shapes.items()}


def run(backend, x, own, cu_seqlens, reverse=False):
    values = {name: backend.array(value) for name, value in own.items()}
    return backend.lstm_forward(backend.array(x), **values, cu_seqlens=backend.array(cu_seqlens), reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
def test_states_and_gradients_equal_pytorchs(backend, reverse):
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    random = np.random.default_rng(2)
    cu_seqlens = running_sum(LENGTHS)
    x, own = random.standard_normal((cu_seqlens[-1], 6)), weights(random, 6, 5)
    d_h = random.standard_normal((cu_seqlens[-1], 5))

    peer = torch.nn.LSTM(6, 5, dtype=torch.float64)
    with torch.no_grad():
        peer.weight_ih_l0.copy_(torch.tensor(own["weight_input"]))
        peer.weight_hh_l0.copy_(torch.tensor(own["weight_hidden"]))
        peer.bias_ih_l0.copy_(torch.tensor(own["bias"]))
        peer.bias_hh_l0.zero_()
    theirs = torch.tensor(x, requires_grad=True)
    states = []
    for begin, end in zip(cu_seqlens, cu_seqlens[1:], strict=False):
        sequence = theirs[begin:end].flip(0) if reverse else theirs[begin:end]
        state = peer(sequence)[0]
        states.append(state.flip(0) if reverse else state)
    expected = torch.cat(states)
    expected.backward(torch.tensor(d_h))

    h, cache = run(backend, x, own, cu_seqlens, reverse)
    np.testing.assert_allclose(backend.numpy(h), expected.detach().numpy(), rtol=0, atol=1e-12)
    gradients = backend.lstm_backward(backend.array(d_h), cache)
    peers = theirs.grad, peer.weight_ih_l0.grad, peer.weight_hh_l0.grad, peer.bias_ih_l0.grad
    for ours, gradient in zip(gradients, peers, strict=True):
        np.testing.assert_allclose(backend.numpy(ours), gradient.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
@pytest.mark.parametrize("lengths", [(1,), (31, 32, 33), (127, 1, 60)])
def test_every_backend_equals_the_reference(other_backend, dtype, lengths):
    random = np.random.default_rng(3)
    cu_seqlens = running_sum(lengths)
    x, own = random.standard_normal((cu_seqlens[-1], 24)).astype(dtype), weights(random, 24, 33, dtype)
    d_h = random.standard_normal((cu_seqlens[-1], 33)).astype(dtype)
    results = []
    for backend in (load_backend("reference"), other_backend):
        h, cache = run(backend, x, own, cu_seqlens, reverse=True)
        results.append([backend.numpy(a) for a in (h, *backend.lstm_backward(backend.array(d_h), cache))])
        assert all(array.dtype == dtype for array in results[-1])
    for expected, ours in zip(*results, strict=True):
        bound = (1e-10 if dtype == np.float64 else 1e-4) * np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=bound)


def test_a_state_knows_only_its_own_sequence(backend):
    """Another sequence in front, and one behind, change nothing."""
    random = np.random.default_rng(4)
    x, own = random.standard_normal((9, 3)), weights(random, 3, 4)
    together, _ = run(backend, x, own, np.array([0, 2, 7, 9]))
    alone, _ = run(backend, x[2:7], own, np.array([0, 5]))
    np.testing.assert_allclose(backend.numpy(together)[2:7], backend.numpy(alone), rtol=0, atol=1e-14)


def test_time_steps():
    assert [rows.tolist() for rows in time_steps([0, 1, 4, 6])] == [[1, 4, 0], [2, 5], [3]]
    assert [rows.tolist() for rows in time_steps([0, 1, 4, 6], reverse=True)] == [[3, 5, 0], [2, 4], [1]]
    with pytest.raises(ValueError, match="a sequence has no tokens"):
        time_steps([0, 1, 1])
