"""Plot the loss curves of several training runs in one figure."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minibert.base.markup import in_plot
from minibert.pictures.style import COLOURS, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def read_losses(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """The step numbers and masked-language-model losses of a training run.

    path: a run's metrics.jsonl, or a stored curve, which is a .json file with the keys "steps" and "losses".
    """
    path = Path(path)
    if path.suffix == ".json":
        stored = json.loads(path.read_text(encoding="utf-8"))
        return np.array(stored["steps"]), np.array(stored["losses"])
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [(line["step"], line["mlm_loss"]) for line in lines if line["kind"] == "train"]
    steps, losses = np.array(rows).T
    return steps, losses


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """The centred moving average of `values` over `window` values, with shorter windows at both ends."""
    kernel = np.ones(min(window, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones_like(values), kernel, "same")


def plot_losses(
    curves: dict[str, tuple[np.ndarray, np.ndarray]],
    title: str,
    window: int = 1,
    levels: dict[str, float] | None = None,
) -> "Figure":
    """Plot losses against steps; returns a matplotlib figure.

    curves: name -> (steps, losses); window: the number of steps to average over; levels: name -> a loss to mark with a
    horizontal line.
    """
    made, axes = figure(width=7.5, height=3.6)
    with style():
        for colour, (name, (steps, losses)) in zip(COLOURS * 3, curves.items(), strict=False):
            axes.plot(
                steps, smoothed(np.asarray(losses, float), window), color=colour, label=in_plot(name), linewidth=1.4
            )
        for dashes, (name, level) in zip(("--", ":", "-.") * 3, (levels or {}).items(), strict=False):
            axes.axhline(level, color="0.4", linestyle=dashes, linewidth=1, label=in_plot(name))
        axes.autoscale_view(scalex=False)  # so that no level lies on an axis
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats")
        axes.set_title(title)
        axes.legend(fontsize=8, frameon=True, facecolor="white", edgecolor="none", framealpha=1)  # over the curves
    return made
