"""Dropout: which values are dropped, bit for bit, and how they are spread.  One body for all backends."""

import math

import numpy as np
import pytest

from minibert.base.philox import philox4x32
from minibert.data.batch import running_sum
from minibert.nn import Dropouts, Sequences
from minibert.ops import Dropout
from minibert.ops.dropout import (
    ATTENTION_OUTPUT,
    ATTENTION_PROBABILITIES,
    EMBEDDINGS,
    FEED_FORWARD_OUTPUT,
    dropout_site,
)

KEY = (2**33 + 77, 123_456)  # a seed beyond 32 bits, of which the low ones count


def golden(rate, key, site, sequence, position, feature) -> float:
    """One entry of a mask, from the formula in minibert/ops/dropout.py and nothing else."""
    words = philox4x32(key, (feature // 8, position, sequence, site))
    j = feature % 8
    bits = (int(words[j // 2]) >> (16 * (j % 2))) & 0xFFFF
    threshold = round(rate * 65536)
    return 65536 / (65536 - threshold) if bits >= threshold else 0.0


def some_positions(shape, how_many=150):
    """Random places of an array, and its last one."""
    random = np.random.default_rng(0)
    indices = [tuple(int(random.integers(0, size)) for size in shape) for _ in range(how_many)]
    return [*indices, tuple(size - 1 for size in shape)]


class TestHiddenDropout:
    def dropout(self, backend, rows=400, rate=0.1, key=(1, 2), site=3 << 8, first=0):
        numbers = np.arange(first, first + rows)
        return Dropout(rate, key, site, backend.array(numbers // 20, np.int32), backend.array(numbers % 20, np.int32))

    def mask(self, backend, width=256, **options):
        ones = backend.array(np.ones((options.get("rows", 400), width)))
        return backend.numpy(backend.dropout_forward(ones, self.dropout(backend, **options))[0])

    @pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
    def test_drops_its_share_and_keeps_the_mean(self, backend, rate):
        mask = self.mask(backend, rate=rate)
        deviation = math.sqrt(rate * (1 - rate) / mask.size)
        assert abs((mask == 0).mean() - rate) < 5 * deviation
        kept = np.unique(mask[mask != 0])
        assert len(kept) == 1 and kept[0] == pytest.approx(1 / (1 - rate), rel=1e-4)

    def test_every_decision_is_its_own(self, backend):
        """No two rows, columns or neighbours agree more often than chance."""
        dropped = self.mask(backend, rate=0.5) == 0
        for other in (np.roll(dropped, 1, axis=0), np.roll(dropped, 1, axis=1), np.roll(dropped, 8, axis=1)):
            assert abs((dropped == other).mean() - 0.5) < 5 * 0.5 / math.sqrt(dropped.size)
        for change in (dict(key=(1, 3)), dict(key=(2, 2)), dict(site=(3 << 8) + 1), dict(first=400)):
            other = self.mask(backend, rate=0.5, **change) == 0
            assert abs((dropped == other).mean() - 0.5) < 5 * 0.5 / math.sqrt(dropped.size), change

    def test_a_row_keeps_its_mask_wherever_it_lies(self, backend):
        assert np.array_equal(self.mask(backend, rows=10, first=30), self.mask(backend, rows=400)[30:40])
        assert np.array_equal(self.mask(backend, width=13), self.mask(backend, width=256)[:, :13])

    def test_backward_drops_what_forward_dropped(self, backend):
        dropout = self.dropout(backend)
        ones = backend.array(np.ones((400, 30)))
        y, cache = backend.dropout_forward(ones, dropout)
        assert np.array_equal(backend.numpy(y), backend.numpy(backend.dropout_backward(ones, cache)))

    @pytest.mark.parametrize("rate", [0.1, 0.5, 1e-6, 0.999_999])
    def test_the_bits_are_those_of_the_formula(self, backend, rate):
        sequences, positions = np.array([0, 0, 7, 70_000, 2**31 - 1]), np.array([0, 511, 3, 40_000, 2**31 - 1])
        site, x = dropout_site(11, FEED_FORWARD_OUTPUT), np.random.default_rng(1).standard_normal((5, 37))
        dropout = Dropout(rate, KEY, site, *(backend.array(n.astype(np.int32)) for n in (sequences, positions)))
        y, cache = backend.dropout_forward(backend.array(x), dropout)
        back = backend.numpy(backend.dropout_backward(backend.array(2 * x), cache))
        for row, feature in some_positions(x.shape):
            mask = golden(min(rate, 65535 / 65536), KEY, site, int(sequences[row]), int(positions[row]), feature)
            assert backend.numpy(y)[row, feature] == pytest.approx(x[row, feature] * mask, rel=1e-14)
            assert back[row, feature] == pytest.approx(2 * x[row, feature] * mask, rel=1e-14)

    def test_it_is_the_same_after_a_sub_layer(self, backend):
        """add_layernorm drops what dropout drops."""
        dropout = self.dropout(backend, rows=6)
        x, residual = (backend.array(np.random.default_rng(i).standard_normal((6, 13))) for i in range(2))
        norm = backend.array(np.full(13, 1.5)), backend.array(np.full(13, 0.5))
        together, _ = backend.add_layernorm_forward(x, residual, *norm, 1e-12, dropout)
        dropped, _ = backend.dropout_forward(x, dropout)
        apart, _ = backend.layernorm_forward(residual + dropped, *norm, 1e-12)
        assert np.allclose(backend.numpy(together), backend.numpy(apart), rtol=0, atol=1e-13)

    @pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
    def test_refuses_rates_outside_0_to_1(self, rate):
        with pytest.raises(ValueError, match="rate"):
            Dropout(rate, (0, 0), 0, None, None)


class TestAttentionDropout:
    """Queries of zero look at all keys alike, and value j is the j-th unit vector: the context shows the mask."""

    LENGTHS, NUMBERS, HEADS, SITE = (5, 19, 2, 19), (3, 8, 70_000, 9), 2, dropout_site(4, ATTENTION_PROBABILITIES)
    WIDTH = max(LENGTHS)  # of a head

    def masks(self, backend, rate=0.5, rows=None):
        """For each sequence its mask [A, Tq, Tk] in the forward pass, and in the backward pass."""
        cu_seqlens = running_sum(self.LENGTHS)
        everything = np.arange(cu_seqlens[-1])
        rows = everything if rows is None else np.array(rows)
        tokens, queries = (Sequences.of_rows(backend, r, cu_seqlens, self.NUMBERS) for r in (everything, rows))
        units = np.tile(np.eye(self.WIDTH), (1, self.HEADS))  # [WIDTH, H]
        positions = backend.numpy(tokens.positions)
        query = backend.array(np.zeros((len(rows), units.shape[1])))
        key = backend.array(np.ones((len(everything), units.shape[1])))
        context, cache = backend.attention_forward(
            query,
            key,
            backend.array(units[positions]),
            self.HEADS,
            queries.cu_seqlens,
            tokens.cu_seqlens,
            queries.positions,
            False,
            Dropout(rate, KEY, self.SITE, queries.sequence_numbers, queries.positions),
        )
        # the same trick with d_context: its row i is a unit vector, and d_value shows the mask on its side
        cuts = backend.numpy(queries.cu_seqlens)
        index = np.concatenate([np.arange(stop - start) for start, stop in zip(cuts, cuts[1:], strict=False)])
        d_value = backend.numpy(backend.attention_backward(backend.array(units[index]), cache)[2])
        forward, backward = [], []
        for b, length in enumerate(self.LENGTHS):
            queries, keys = slice(cuts[b], cuts[b + 1]), slice(cu_seqlens[b], cu_seqlens[b + 1])
            by_head = backend.numpy(context)[queries].reshape(-1, self.HEADS, self.WIDTH).transpose(1, 0, 2)
            forward.append(by_head[:, :, :length] * length)
            by_head = d_value[keys].reshape(length, self.HEADS, self.WIDTH).transpose(1, 2, 0)
            backward.append(by_head[:, : cuts[b + 1] - cuts[b]] * length)
        return forward, backward

    @pytest.mark.parametrize("rate", [0.1, 0.5])
    def test_the_bits_are_those_of_the_formula_forward_and_backward(self, backend, rate):
        forward, backward = self.masks(backend, rate)
        for b, number in enumerate(self.NUMBERS):
            for head, query, key in some_positions(forward[b].shape, 60):
                mask = golden(rate, KEY, self.SITE + head, number, query, key)
                assert forward[b][head, query, key] == pytest.approx(mask, abs=1e-13)
                assert backward[b][head, query, key] == pytest.approx(mask, abs=1e-13)

    def test_forward_and_backward_drop_the_same(self, backend):
        for forward, backward in zip(*self.masks(backend), strict=True):
            assert np.allclose(forward, backward, rtol=0, atol=1e-13)

    def test_few_rows_that_ask_have_the_masks_that_they_had_among_all(self, backend):
        everything, _ = self.masks(backend)
        few, few_backward = self.masks(backend, rows=(0, 3, 6, 23, 24, 40))
        queries = ((0, 3), (1, 18), (0,), (14,))  # by sequence
        for b, positions in enumerate(queries):
            assert np.allclose(few[b], everything[b][:, positions], rtol=0, atol=1e-13)
            assert np.allclose(few_backward[b], few[b], rtol=0, atol=1e-13)

    @pytest.mark.parametrize("rate", [0.1, 0.5])
    def test_drops_its_share_and_scales_what_it_keeps(self, backend, rate):
        mask = np.concatenate([mask.ravel() for mask in self.masks(backend, rate)[0]])
        dropped = mask < 1e-9
        assert abs(dropped.mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / mask.size)
        assert np.allclose(mask[~dropped], 1 / (1 - rate), rtol=1e-4)

    def test_heads_sequences_queries_and_keys_each_have_their_own(self, backend):
        _, one, _, other = (mask < 1e-9 for mask in self.masks(backend)[0])
        pairs = {
            "heads": (one[0], one[1]),
            "sequences": (one, other),
            "queries": (one, np.roll(one, 1, axis=1)),
            "keys": (one, np.roll(one, 1, axis=2)),
            "query and key swapped": (one, one.transpose(0, 2, 1)),
        }
        for name, (a, b) in pairs.items():
            assert abs((a == b).mean() - 0.5) < 5 * 0.5 / math.sqrt(a.size / 2), name


class TestDropoutsOfAStep:
    """minibert.nn.Dropouts: from a place in the model to its Dropout."""

    POSITIONS = EMBEDDINGS, ATTENTION_PROBABILITIES, ATTENTION_OUTPUT, FEED_FORWARD_OUTPUT

    def rows(self, backend):
        return Sequences.of_batch(backend, running_sum((2, 3)), (40, 50))

    def test_hidden_and_attention_rates_are_not_swapped(self, backend):
        dropouts, rows = Dropouts(hidden=0.2, attention=0.3, key=KEY), self.rows(backend)
        rates = {which: dropouts.at(1, which, rows).rate for which in self.POSITIONS}
        assert rates == {which: 0.3 if which == ATTENTION_PROBABILITIES else 0.2 for which in self.POSITIONS}

    def test_a_rate_of_zero_gives_no_dropout(self, backend):
        rows = self.rows(backend)
        for hidden, attention in ((0.0, 0.3), (0.2, 0.0), (0, 0)):
            for which in self.POSITIONS:
                rate = attention if which == ATTENTION_PROBABILITIES else hidden
                assert (Dropouts(hidden, attention, KEY).at(1, which, rows) is None) == (rate == 0)

    def test_no_two_positions_share_a_counter(self, backend):
        """Whatever the layer, the place and the head: attention adds its head to the site."""
        dropouts, rows = Dropouts(0.2, 0.3, KEY), self.rows(backend)
        sites = []
        for layer in (0, 1, 2, 11, 255, 256, 32_767):
            for which in self.POSITIONS:
                site = dropouts.at(layer, which, rows).site
                sites += [site + head for head in range(256)] if which == ATTENTION_PROBABILITIES else [site]
        assert len(set(sites)) == len(sites) and 0 <= min(sites) and max(sites) < 2**31

    def test_it_counts_by_the_key_the_sequences_numbers_and_the_positions(self, backend):
        dropouts, rows = Dropouts(0.2, 0.3, KEY), self.rows(backend)
        for which in self.POSITIONS:
            dropout = dropouts.at(1, which, rows)
            assert dropout.key == KEY
            assert backend.numpy(dropout.positions).tolist() == [0, 1, 0, 1, 2]
            by_sequence = which == ATTENTION_PROBABILITIES  # hidden dropout counts row by row
            expected = [40, 50] if by_sequence else [40, 40, 50, 50, 50]
            assert backend.numpy(dropout.sequences).tolist() == expected
