"""The reference's plain attention, one sequence: it is what the general one computes, bit for bit, both ways."""

import numpy as np

from minibert.ops.reference import attention as reference


def test_plain_attention_is_the_general_one_on_one_sequence():
    random = np.random.default_rng(0)
    q, k, v, d_context = random.standard_normal((4, 3, 7, 5))  # [A, T, D]
    context, cache = reference.plain_attention_forward(q, k, v)
    gradients = reference.plain_attention_backward(d_context, cache)

    rows = [reference.merge_heads(x) for x in (q, k, v)]  # [T, H]
    cu_seqlens = np.array([0, 7])
    general, cache = reference.attention_forward(*rows, 3, cu_seqlens, cu_seqlens, np.arange(7))
    assert np.array_equal(general, reference.merge_heads(context))
    for ours, plain in zip(
        reference.attention_backward(reference.merge_heads(d_context), cache), gradients, strict=True
    ):
        np.testing.assert_allclose(ours, reference.merge_heads(plain), rtol=0, atol=1e-14)


def test_plain_attention_against_finite_differences():
    random = np.random.default_rng(1)
    inputs = list(random.standard_normal((3, 2, 4, 3)))
    upstream = random.standard_normal((2, 4, 3))
    _, cache = reference.plain_attention_forward(*inputs)
    for number, gradient in enumerate(reference.plain_attention_backward(upstream, cache)):
        numeric, step = np.zeros_like(gradient), 1e-6
        for position in np.ndindex(gradient.shape):
            totals = []
            for sign in (1, -1):
                moved = [x.copy() for x in inputs]
                moved[number][position] += sign * step
                totals.append((reference.plain_attention_forward(*moved)[0] * upstream).sum())
            numeric[position] = (totals[0] - totals[1]) / (2 * step)
        assert np.abs(gradient - numeric).max() < 1e-8
