"""Pictures show what they are given."""

import json

import numpy as np
import pytest

from minibert.emulator.trace import Access
from minibert.pictures.curves import plot_losses, read_losses, smoothed
from minibert.pictures.graphs import plot_graph
from minibert.pictures.kernels import plot_accesses
from minibert.pictures.text import KEPT, MASKED, RANDOM, SAME, kind, plot_masking, plot_neighbours, plot_shapes


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_masking_shows_what_is_seen_and_what_is_asked_for():
    figure = plot_masking(["a", "b", "c", "d"], ["a", "[MASK]", "x", "d"], [False, True, True, True], "title")
    assert sorted(texts(figure.axes[0])) == sorted(["a", "[MASK]", "x", "d", "b", "c", "d"])
    assert [kind("a", "a", False), kind("b", "[MASK]", True), kind("c", "x", True), kind("d", "d", True)] == [
        KEPT, MASKED, RANDOM, SAME,
    ]  # fmt: skip


def test_neighbours_are_drawn_by_their_two_strongest_directions():
    vectors = np.array([[3.0, 0, 0.1], [-3, 0, -0.1], [0, 1, 0], [0, -1, 0]])
    figure = plot_neighbours(["a", "b", "c", "d"], vectors, [0, 0, 1, 1], "title")
    positions = figure.axes[0].collections[0].get_offsets()
    assert np.allclose(np.abs(positions[0]), [3.0017, 0], atol=1e-3) and np.allclose(
        np.abs(positions[2]), [0, 1], atol=1e-3
    )


def test_words_that_are_near_do_not_cover_each_other():
    vectors = np.random.default_rng(0).standard_normal((12, 4)) * [0.01, 0.01, 0, 0]
    vectors[0] = [3, 3, 0, 0]  # so that the others lie in one place
    words = [f"word{n}" for n in range(12)]
    figure = plot_neighbours(words, vectors, [0] * 12, "title")
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert [text.get_text() for text in texts] == words
    assert not any(box.overlaps(other) for n, box in enumerate(boxes) for other in boxes[:n])


def test_losses_of_a_run_and_of_a_stored_curve_are_read_alike(tmp_path):
    lines = [{"kind": "train", "step": s, "mlm_loss": 9 - s} for s in (1, 2)] + [{"kind": "evaluation", "step": 2}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "curve.json").write_text('{"steps": [1, 2], "losses": [8, 7]}')
    for name in ("metrics.jsonl", "curve.json"):
        steps, losses = read_losses(tmp_path / name)
        assert steps.tolist() == [1, 2] and losses.tolist() == [8, 7]
    figure = plot_losses({"run": (steps, losses)}, "title", levels={"nothing": 9.0})
    assert [line.get_label() for line in figure.axes[0].lines] == ["run", "nothing"]
    assert figure.axes[0].get_ylabel() == "loss, nats"


def test_no_level_lies_on_the_edge_of_the_plot():
    """A level just within the margin below the curve gets a margin of its own."""
    low = 6.06 - 0.045 * (8.84 - 6.06)
    axes = plot_losses({"run": (np.arange(2), np.array([8.84, 6.06]))}, "title", levels={"low": low}).axes[0]
    assert axes.get_ylim()[0] < low - 0.04 * (8.84 - low)


def test_a_running_mean_is_a_mean_at_both_ends_too():
    assert smoothed(np.array([1.0, 2, 3, 4]), 3) == pytest.approx([1.5, 2, 3, 3.5])


def test_a_kernels_accesses_have_a_dot_each():
    accesses = [Access((b, 0, 0), (t, 0, 0), "global", "read", 0, 2 * b + t, 1) for b in (0, 1) for t in (0, 1)]
    figure = plot_accesses(
        [*accesses, Access((0, 0, 0), (1, 0, 0), "shared", "write", "room", 1, 2)], "title", {0: "x"}
    )
    assert [axes.get_title() for axes in figure.axes] == ["x (global)", "room (shared)"]
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_shapes_are_drawn_in_their_order():
    figure = plot_shapes([("ids", "[N]"), ("embeddings", "[N, H]"), ("logits", "[M, V]")], "title")
    assert [text for text in texts(figure.axes[0]) if text] == ["ids\n[N]", "embeddings\n[N, H]", "logits\n[M, V]"]


def test_a_residual_is_an_arrow_past_the_stages_between():
    stages = [(name, "[N, H]") for name in ("ids", "embed", "attend", "add", "up", "down", "add", "logits")]
    axes = plot_shapes(stages, "title", residuals=[(1, 3), (4, 6)]).axes[0]
    assert texts(axes).count("residual") == 2
    assert len(plot_shapes(stages, "title").axes[0].texts) == len(axes.texts) - 2 * (1 + 3)  # a word, three lines


def test_a_graph_shows_each_number_and_its_gradient_and_an_arrow_for_each_use():
    at = {"x": (0, 0), "y": (1, 0), "L": (2, 0)}
    figure = plot_graph(dict(x=2, y=3, L=4.5), dict(x=-6, y=3, L=1), [("x", "y"), ("x", "y"), ("y", "L")], at, "title")
    shown = [text for text in texts(figure.axes[0]) if text.strip()]
    assert {"x = 2", "y = 3", "L = 4.5", "d_x = -6", "d_y = 3", "d_L = 1"} <= {*shown}
    assert sum(text.arrow_patch is not None for text in figure.axes[0].texts if hasattr(text, "arrow_patch")) == 3
