"""Draws the curves of a broken run beside those of the healthy one."""

import math
from typing import TYPE_CHECKING

from minibert.pictures.style import BLUE, RED, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = tuple[list, list]
LINES = ("0.65", "o", 3.5, "-"), (RED, "^", 1.5, "-"), (BLUE, "s", 1.5, "--")  # colour, marker, width, dashes


def plot_two_runs(
    runs: dict[str, dict[str, Curve]],
    panels: dict[str, tuple[str, str]],
    title: str,
    levels: dict[str, float] | None = None,
    logarithmic: dict[str, int] | None = None,
) -> "Figure":
    """One panel for each quantity, with a curve for each run; returns a matplotlib figure.

    runs: name -> quantity -> (x, y), None in y for NaN; the first run is the healthy one, in grey.
    panels: quantity -> the labels of its axes, with units.  levels: name -> a value to mark in the first panel.
    logarithmic: quantity -> the base of its axis, if that is logarithmic.
    """
    made, axes = figure(1, len(panels), width=4 * len(panels) + 0.4, height=3.1, squeeze=False)
    with style():
        for axis, (quantity, (x_label, y_label)) in zip(axes[0], panels.items(), strict=True):
            for (name, curves), (colour, marker, width, dashes) in zip(runs.items(), LINES, strict=False):
                if quantity not in curves:
                    continue
                x, stored = curves[quantity]
                y = [math.nan if value is None else value for value in stored]
                few = marker if len(x) <= 12 else None
                axis.plot(x, y, color=colour, linewidth=width, linestyle=dashes, label=name, marker=few, markersize=4)
                if missing := [at for at, value in zip(x, y, strict=True) if not math.isfinite(value)]:
                    axis.axvspan(missing[0], missing[-1], color=colour, alpha=0.12, linewidth=0)
                    axis.annotate("NaN", ((missing[0] + missing[-1]) / 2, 0.5), xycoords=("data", "axes fraction"))
            axis.set_xlabel(x_label)
            axis.set_ylabel(y_label)
            if base := (logarithmic or {}).get(quantity):
                axis.set_yscale("log", base=base)
        for dashes, (name, level) in zip(("--", ":"), (levels or {}).items(), strict=False):
            axes[0][0].axhline(level, color="0.3", linestyle=dashes, linewidth=1, label=name)
        axes[0][0].legend(fontsize=8, frameon=True, facecolor="white", edgecolor="none", framealpha=0.9)
        made.suptitle(title, fontsize=11)
    return made
