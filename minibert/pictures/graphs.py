"""A plot of a computation graph: every number of its forward and backward passes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from minibert.pictures.style import BLUE, RED, figure, style
from minibert.pictures.text import arrow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_graph(
    values: Mapping[str, float],
    gradients: Mapping[str, float],
    edges: Sequence[tuple[str, str]],
    at: Mapping[str, tuple[float, float]],
    title: str,
) -> "Figure":
    """Plot scalars in boxes, each with its value above and its gradient below; returns a matplotlib figure.

    values, gradients: name -> number; edges: pairs (name, name of what is computed from it); at: name -> (column, row).
    """
    columns, rows = (max(point[axis] for point in at.values()) for axis in (0, 1))
    made, axes = figure(width=2.1 * columns + 2, height=1.1 * rows + 1.5)
    with style():
        box = dict(boxstyle="round,pad=0.9", facecolor="white", edgecolor=BLUE)
        boxes = {
            name: axes.text(x, y, f"d_{name} = {gradients[name]:g}\n", ha="center", va="center", alpha=0, bbox=box)
            for name, (x, y) in at.items()
        }
        for name, (x, y) in at.items():
            for colour, text, up in (
                ("black", f"{name} = {values[name]:g}", 4),
                (RED, f"d_{name} = {gradients[name]:g}", -12),
            ):
                offset = dict(xytext=(0, up), textcoords="offset points", ha="center", fontsize=10, zorder=6)
                axes.annotate(text, (x, y), color=colour, **offset)
        for begin, end in edges:
            arrow(axes, [at[begin], at[end]], boxes[begin], boxes[end])
        axes.set_xlim(-0.5, columns + 0.5)
        axes.set_ylim(-0.6, rows + 0.6)
        axes.axis("off")
        axes.set_title(title)
    return made
