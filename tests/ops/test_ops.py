"""What the ops compute, beyond what the gradient checks see.  One body for all backends."""

import math

import numpy as np
import pytest

from minibert.checks import CASES, cases_of
from minibert.checks.gradients import SMALL
from minibert.data.batch import running_sum
from minibert.ops import AdamWStep
from minibert.ops.table import PAIRS

LATER = "lstm", "kl_divergence", "cosine", "mse"  # not needed to pre-train: the daily run leaves them out in float32


def layout(lengths):
    """cu_seqlens and positions of whole sequences."""
    return running_sum(lengths), np.concatenate([np.arange(length) for length in lengths]).astype(np.int32)


@pytest.mark.parametrize("name", CASES)
def test_ops_change_none_of_their_inputs(backend, name):
    for case in cases_of(name, backend):
        before = {key: value.copy() for key, value in case.inputs.items()}
        outputs, cache = case.forward(case.inputs)
        several = isinstance(outputs, tuple)
        upstream = tuple(np.ones(np.shape(y)) for y in (outputs if several else (outputs,)))
        upstream = upstream if several else upstream[0]
        first, again = case.backward(upstream, cache), case.backward(upstream, cache)
        for key in case.inputs:
            assert np.array_equal(case.inputs[key], before[key]), f"{case.shape}: {key} was changed"
            assert np.array_equal(first[key], again[key]), f"{case.shape}: the cache was changed, {key} differs"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LATER else ()) for name in PAIRS]
)
def test_float32_stays_float32_and_close_to_float64(backend, name):
    for case in cases_of(name, backend):
        exact, exact_cache = case.forward(case.inputs)
        rounded, cache = case.forward({key: value.astype(np.float32) for key, value in case.inputs.items()})
        assert rounded.dtype == np.float32
        assert np.abs(rounded - exact).max(initial=0) <= 2e-6 * np.abs(exact).max(initial=0)
        upstream = np.random.default_rng(0).standard_normal(np.shape(exact)).astype(np.float32)
        expected = case.backward(upstream.astype(np.float64), exact_cache)
        largest = max(np.abs(gradient).max(initial=0) for gradient in expected.values())
        for key, gradient in case.backward(upstream, cache).items():
            assert gradient.dtype == np.float32, key
            scale = max(np.abs(expected[key]).max(initial=0), SMALL * largest)  # as in the gradient check
            assert np.abs(gradient - expected[key]).max(initial=0) <= 5e-6 * scale, f"{case.shape}: {key}"


def gelu_in_full(x):
    return np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x])


def test_gelu_is_exact(backend):
    x = np.concatenate([np.linspace(-9, 9, 4001), [0.0, -0.0, 1e-300, -1e-300, 40, -40]])
    y, _ = backend.gelu_forward(backend.array(x))
    assert np.all(np.abs(backend.numpy(y) - gelu_in_full(x)) <= 1e-15 * np.maximum(np.abs(x), 1))
    x32 = x.astype(np.float32)
    y32, _ = backend.gelu_forward(backend.array(x32))
    assert np.all(np.abs(backend.numpy(y32) - gelu_in_full(x32)) <= 2e-7 * np.maximum(np.abs(x), 1))


def test_gelu_at_infinity_and_nan(backend):
    with np.errstate(invalid="ignore"):
        y, _ = backend.gelu_forward(backend.array([np.inf, np.nan, 100.0, -100.0]))
    y = backend.numpy(y)
    assert y[0] == np.inf and np.isnan(y[1]) and y[2] == 100 and abs(y[3]) < 1e-300


def test_attention_equals_the_textbook_formula(backend):
    """One sequence at a time, with whole matrices and no tricks."""
    random = np.random.default_rng(0)
    lengths, heads, width = (5, 1, 8), 2, 6
    cu_seqlens, positions = layout(lengths)
    q, k, v = (random.standard_normal((14, width)) for _ in range(3))
    for causal in (False, True):
        inputs = [backend.array(x) for x in (q, k, v)]
        sequences = [backend.array(x) for x in (cu_seqlens, cu_seqlens, positions)]
        context, _ = backend.attention_forward(*inputs, heads, *sequences, causal)
        for b, length in enumerate(lengths):
            rows = slice(cu_seqlens[b], cu_seqlens[b + 1])
            for head in range(heads):
                columns = slice(head * 3, head * 3 + 3)
                scores = q[rows, columns] @ k[rows, columns].T / math.sqrt(3)
                if causal:
                    scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
                weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
                assert np.allclose(
                    backend.numpy(context)[rows, columns], weights @ v[rows, columns], rtol=0, atol=1e-14
                )


def test_attention_survives_huge_scores(backend):
    cu_seqlens, positions = (backend.array(x) for x in layout((3,)))
    q = backend.array(np.full((3, 2), 1e4, np.float32))
    context, _ = backend.attention_forward(q, q, q, 1, cu_seqlens, cu_seqlens, positions)
    assert np.allclose(backend.numpy(context), 1e4)


def test_cross_entropy_survives_huge_logits(backend):
    logits = backend.array(np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], np.float32))
    loss, cache = backend.cross_entropy_forward(logits, backend.array(np.array([1, 2], np.int32)), 2)
    assert float(loss) == pytest.approx((1e4 + math.log(3)) / 2, rel=1e-6)
    assert np.isfinite(backend.numpy(backend.cross_entropy_backward(1.0, cache))).all()


def test_cross_entropy_of_nothing_is_zero(backend):
    loss, cache = backend.cross_entropy_forward(
        backend.array(np.zeros((0, 5))), backend.array(np.zeros(0, np.int32)), 1
    )
    assert float(loss) == 0
    assert backend.cross_entropy_backward(1.0, cache).shape == (0, 5)


class TestAdamW:
    OPTIONS = dict(learning_rate=1e-2, beta1=0.9, beta2=0.98, eps=1e-6, weight_decay=0.1)

    def state(self, backend, size=300_007):  # several slices, the last one short
        random = np.random.default_rng(0)
        values, gradients = random.standard_normal(size), random.standard_normal(size)
        arrays = [values, gradients, np.zeros(size), np.zeros(size), random.random(size) < 0.5]
        return [backend.array(array) for array in arrays], [array.copy() for array in arrays]

    def test_two_steps_of_the_formula(self, backend):
        arrays, (values, gradients, first, second, decayed) = self.state(backend)
        for _ in range(2):
            backend.adamw(*arrays, AdamWStep(**self.OPTIONS))
            first = 0.9 * first + 0.1 * gradients
            second = 0.98 * second + 0.02 * gradients**2
            values = values - 1e-2 * (first / (np.sqrt(second) + 1e-6) + 0.1 * decayed * values)
        assert np.abs(backend.numpy(arrays[0]) - values).max() < 1e-12
        assert np.array_equal(backend.numpy(arrays[1]), gradients)  # gradients are read, not changed

    def test_clipping_scales_long_gradients_only(self, backend):
        for norm, scale in ((4.0, 0.25), (0.5, 1.0)):
            clipped, _ = self.state(backend, 100)
            backend.adamw(*clipped, AdamWStep(**self.OPTIONS, max_norm=1.0), backend.array(norm))
            by_hand, _ = self.state(backend, 100)
            by_hand[1] = by_hand[1] * scale
            backend.adamw(*by_hand, AdamWStep(**self.OPTIONS))
            assert np.allclose(backend.numpy(clipped[0]), backend.numpy(by_hand[0]), rtol=0, atol=1e-13)

    def test_with_bias_correction_it_is_pytorchs(self, backend):
        torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
        arrays, (values, gradients, *_, decayed) = self.state(backend, 100)
        parts = [torch.nn.Parameter(torch.from_numpy(values[decayed == flag])) for flag in (True, False)]
        peer = torch.optim.AdamW(
            [dict(params=[part], weight_decay=decay) for part, decay in zip(parts, (0.1, 0.0), strict=True)],
            lr=1e-2, betas=(0.9, 0.98), eps=1e-6,
        )  # fmt: skip
        for step in (1, 2, 3):
            backend.adamw(*arrays, AdamWStep(**self.OPTIONS, correction1=1 - 0.9**step, correction2=1 - 0.98**step))
            for part, flag in zip(parts, (True, False), strict=True):
                part.grad = torch.from_numpy(gradients[decayed == flag])
            peer.step()
        ours = backend.numpy(arrays[0])
        for part, flag in zip(parts, (True, False), strict=True):
            assert np.abs(ours[decayed == flag] - part.detach().numpy()).max() < 1e-12

    def test_global_norm(self, backend):
        assert float(backend.global_norm(backend.array([3.0, 0.0, -4.0]))) == pytest.approx(5.0, rel=1e-15)


def test_mean_pool_of_an_empty_sequence(backend):
    """Refused; on a GPU, where the host would have to wait to see the lengths, no number."""
    x, cu_seqlens = backend.array(np.ones((3, 2))), backend.array(np.array([0, 3, 3], np.int32))
    if backend.name == "gpu":
        means = backend.numpy(backend.mean_pool_forward(x, cu_seqlens)[0])
        assert means[0].tolist() == [1, 1] and np.isnan(means[1]).all()
        return
    with pytest.raises(ValueError, match="has no tokens"):
        backend.mean_pool_forward(x, cu_seqlens)


@pytest.mark.slow
def test_arrays_that_are_not_contiguous_are_read_as_they_stand(backend):
    """Transposed, reversed, every other column."""
    random = np.random.default_rng(0)
    big = random.standard_normal((16, 24))
    x, weight, bias, d_y = big.T[:9, ::-1], big[::2, 4:20], random.standard_normal(16)[::2], big[:9, ::3]
    cu_seqlens, positions = layout((4, 5))
    sequences = [backend.array(a) for a in (cu_seqlens, cu_seqlens, positions)]

    def results(convert):
        arrays = [convert(a) for a in (x, weight, bias, d_y)]
        y, cache = backend.linear_forward(*arrays[:3])
        context, attention_cache = backend.attention_forward(arrays[0], arrays[0], arrays[0], 2, *sequences)
        gelu, gelu_cache = backend.gelu_forward(arrays[0])
        norm, norm_cache = backend.layernorm_forward(arrays[3], arrays[2], arrays[2], 1e-12)
        return (
            y, *backend.linear_backward(arrays[3], cache),
            context, *backend.attention_backward(arrays[0], attention_cache),
            gelu, backend.gelu_backward(arrays[0], gelu_cache),
            norm, *backend.layernorm_backward(arrays[3], norm_cache),
        )  # fmt: skip

    for strided, contiguous in zip(
        results(backend.array), results(lambda a: backend.array(np.ascontiguousarray(a))), strict=True
    ):
        assert np.allclose(backend.numpy(strided), backend.numpy(contiguous), rtol=0, atol=1e-13)


class TestOrthogonalise:
    SHAPES = (3, 7), (7, 3), (5, 5), (1, 1), (40, 130)

    def by_singular_values(self, matrix):
        """The polynomial, applied to the singular values themselves."""
        left, singular, right = np.linalg.svd(matrix, full_matrices=False)
        singular = singular / np.sqrt((singular**2).sum())
        for _ in range(5):
            singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
        return left * singular @ right, singular

    def test_it_is_the_polynomial_of_the_singular_values(self, backend):
        random = np.random.default_rng(0)
        matrices = [
            random.standard_normal(shape) * scale
            for shape, scale in zip(self.SHAPES, (1, 1e-6, 1e6, 1, 1), strict=True)
        ]
        found = backend.orthogonalise([backend.array(matrix) for matrix in matrices])
        for matrix, result in zip(matrices, found, strict=True):
            expected, singular = self.by_singular_values(matrix)
            assert backend.numpy(result).shape == matrix.shape
            assert np.abs(backend.numpy(result) - expected).max() < 1e-12
            if min(matrix.shape) > 1:  # singular values from 0.01 to 1 come near 1
                assert singular.min() > 0.68 and singular.max() < 1.14

    def test_zeros_stay_zeros_and_nothing_is_nothing(self, backend):
        (result,) = backend.orthogonalise([backend.array(np.zeros((4, 3)))])
        assert np.array_equal(backend.numpy(result), np.zeros((4, 3)))
        assert backend.orthogonalise([]) == []

    def test_in_float32_it_is_off_by_roundings_only(self, backend):
        matrix = np.random.default_rng(1).standard_normal((24, 60))
        (result,) = backend.orthogonalise([backend.array(matrix.astype(np.float32))])
        assert result.dtype == np.float32
        # values are about 1 at most, and sums have 60 products: 11 units were measured, on every backend
        assert np.abs(backend.numpy(result) - self.by_singular_values(matrix)[0]).max() < 32 * 2**-24
