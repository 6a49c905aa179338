"""Plots of text: the masking of a sentence, word vectors in two dimensions, and the shapes of a model's tensors."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from minibert.base.markup import in_plot
from minibert.pictures.style import BLUE, GREEN, ORANGE, RED, figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

KEPT, MASKED, RANDOM, SAME = "not chosen", "[MASK]", "a random piece", "chosen, as it was"
FACES = {KEPT: "0.93", MASKED: ORANGE, RANDOM: RED, SAME: GREEN}


def plot_masking(
    tokens: Sequence[str], seen: Sequence[str], chosen: Sequence[bool], title: str, wide: int = 12
) -> "Figure":
    """Plot the tokens that the model sees, in boxes, with the original below each token chosen for prediction.

    tokens: the original pieces; seen: the pieces that the model sees; chosen: whether each piece is to be predicted;
    wide: the number of pieces per line.
    Returns a matplotlib figure.
    """
    lines = -(-len(tokens) // wide)
    made, axes = figure(width=9.5, height=0.9 + 0.75 * lines)
    kinds = [kind(*one) for one in zip(tokens, seen, chosen, strict=True)]
    with style():
        for number, (token, shown, what) in enumerate(zip(tokens, seen, kinds, strict=True)):
            x, y = number % wide, -(number // wide)
            colour = "black" if what in (KEPT, MASKED) else "white"
            box = dict(boxstyle="round,pad=0.25", facecolor=FACES[what], edgecolor="none")
            axes.text(x, y, in_plot(shown), ha="center", va="center", fontsize=9, color=colour, bbox=box)
            if what != KEPT:
                axes.text(x, y - 0.42, in_plot(token), ha="center", va="center", fontsize=8, color="0.3")
        for what in dict.fromkeys(kinds):
            axes.scatter([], [], marker="s", s=60, color=FACES[what], label=what)
        axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8)
        axes.set_xlim(-0.6, wide - 0.4)
        axes.set_ylim(-lines + 0.2, 0.6)
        axes.axis("off")
        made.suptitle(title)
    return made


def kind(token: str, shown: str, chosen: bool) -> str:
    if not chosen:
        return KEPT
    if shown == "[MASK]":
        return MASKED
    return SAME if shown == token else RANDOM


def plot_neighbours(words: Sequence[str], vectors: np.ndarray, groups: Sequence[int], title: str) -> "Figure":
    """Plot words by the first two principal components of their vectors; returns a matplotlib figure.

    groups: a number for each word, which determines its colour.
    """
    centred = vectors - vectors.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    x, y = (left[:, :2] * sizes[:2]).T
    kept = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    colours = [(BLUE, ORANGE, GREEN, RED)[group % 4] for group in groups]
    made, axes = figure(width=7, height=4.6)
    with style():
        axes.scatter(x, y, s=16, c=colours)
        axes.margins(0.12)  # leaves room for the words at the edges
        axes.set_title(title)
        axes.set_xlabel(f"first direction (both together: {kept:.0%} of the variance)")
        axes.set_ylabel("second direction")
        made.draw_without_rendering()  # fixes the layout, so that text boxes can be measured
        taken = []
        for word, a, b, colour in zip(words, x, y, colours, strict=True):
            taken.append(label(axes, word, (a, b), colour, taken))
    return made


OFFSETS = [(right, up) for up in (-3, 5, -11, 16, -22, 27, -33, 38, -44) for right in (5, -5)]  # points, nearest first


def label(axes: "Axes", word: str, point: tuple[float, float], colour: str, taken: list) -> "Bbox":
    """Write a word beside its point, at the first of OFFSETS that is free; returns the word's bounding box.

    taken: the bounding boxes of the words already written.
    """
    look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": colour}
    for offset in OFFSETS:
        text = axes.annotate(in_plot(word), point, offset, ha="left" if offset[0] > 0 else "right", **look)
        box = text.get_window_extent()
        if not any(box.overlaps(other) for other in taken) or offset == OFFSETS[-1]:
            break
        text.remove()
    if abs(offset[1]) > 12:  # far from its point, so draw a line between them
        axes.annotate("", point, offset, textcoords="offset points", arrowprops={"arrowstyle": "-", "color": colour})
    return box


def plot_shapes(stages: Sequence[tuple[str, str]], title: str, residuals: Sequence[tuple[int, int]] = ()) -> "Figure":
    """Plot how a tensor's shape changes through a model; returns a matplotlib figure.

    stages: pairs (operation, shape of its output), each drawn as a box, left to right in two lines; residuals: pairs
    (from, to) of stages in one line, for arrows that carry the input of the first one past the others to the second.
    """
    half, gap = -(-len(stages) // 2), 1.35  # boxes per line; between the lines
    made, axes = figure(width=11, height=3.6)
    with style():
        at = [(number % half, -gap * (number // half)) for number in range(len(stages))]
        boxes = [
            axes.text(*point, f"{name}\n{shape}", ha="center", va="center", fontsize=8.5, linespacing=1.3,
                      bbox=dict(boxstyle="round,pad=0.4", facecolor="white", edgecolor=BLUE))
            for point, (name, shape) in zip(at, stages, strict=True)
        ]  # fmt: skip
        for number in range(1, len(stages)):
            (x, y), box = at[number], boxes[number]
            corners = [(half - 1, 0), (half - 1, -0.48), (-0.68, -0.48), (-0.68, y)]  # around, to the second line
            arrow(axes, [*(corners if number == half else at[number - 1 : number]), (x, y)], boxes[number - 1], box)
        for first, last in residuals:
            (x, y), (end, _) = at[first], at[last]
            arrow(axes, [(x - 0.56, y), (x - 0.56, y + 0.6), (end, y + 0.6), (end, y)], None, boxes[last], ORANGE)
            axes.text((x + end) / 2, y + 0.63, "residual", ha="center", va="bottom", fontsize=8, color=ORANGE)
        axes.set_xlim(-0.75, half - 0.45)
        axes.set_ylim(-gap - 0.4, 0.85)
        axes.axis("off")
        axes.set_title(title)
    return made


def arrow(
    axes: "Axes", points: Sequence[tuple[float, float]], begin: "Text | None", end: "Text", colour: str = "0.4"
) -> None:
    """Draw straight lines from point to point, from the edge of the box `begin` (if any) to that of the box `end`."""
    line: dict[str, Any] = dict(color=colour, linewidth=1, shrinkA=0, shrinkB=0)
    for number, (a, b) in enumerate(pairwise(points), start=2):
        first, last = number == 2, number == len(points)
        axes.annotate("", b, a, zorder=4, arrowprops=dict(
            line,
            arrowstyle="->" if last else "-",
            patchA=begin.get_bbox_patch() if first and begin else None,
            patchB=end.get_bbox_patch() if last else None,
        ))  # fmt: skip
