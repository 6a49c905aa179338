"""Plots of a fine-tuning run: the loss and score curves of all seeds, and the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minibert.base.files import write_file
from minibert.base.markup import in_plot
from minibert.training.finetuning import History

# from Okabe and Ito's palette, which suits colour-blind readers
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MOST_CLASSES = 25  # the maximum number of classes for which a confusion matrix is drawn
WINDOW = 25  # the maximum number of steps over which the plotted loss is averaged


def plot_curves(path: Path, title: str, histories: Sequence[tuple[int, History]]) -> None:
    """Plot training losses (left) and dev-set scores (right) to a PNG file; histories: pairs (seed, History)."""
    from matplotlib.figure import Figure  # matplotlib without pyplot opens no window and keeps no global state

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(in_plot(title))
    left, right = figure.subplots(1, 2)
    for number, (seed, history) in enumerate(histories):
        colour = COLOURS[number % len(COLOURS)]
        steps, losses = np.array(history.losses).T
        width = max(min(WINDOW, len(losses) // 4), 1)
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        left.plot(steps[width - 1 :], smooth, color=colour, linewidth=1.2, label=f"seed {seed}")
        name = next(iter(history.evaluations[0][2]))
        at, scores = zip(*[(step, scores[name]) for step, _, scores in history.evaluations], strict=True)
        right.plot(at, scores, "o-", color=colour, markersize=4, label=f"seed {seed}")
        right.plot(at[history.best], scores[history.best], "o", color=colour, markersize=10, fillstyle="none")
    left.set_ylabel(f"training loss (mean of {width} steps)")
    right.set_ylabel(f"dev set: {in_plot(name)} (circled: best, kept)")
    for panel in (left, right):
        panel.set_xlabel("step")
        panel.grid(alpha=0.25)
    left.legend(fontsize=9)
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def plot_confusion(path: Path, title: str, labels: Sequence[str], truth: Sequence[str], said: Sequence[str]) -> None:
    """Plot a confusion matrix to a PNG file, with true classes as rows and predicted classes as columns.

    Each cell shows a count and is coloured by its share of the row.
    """
    from matplotlib.figure import Figure

    number = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)  # [truth, said]
    for t, p in zip(truth, said, strict=True):
        counts[number[t], number[p]] += 1
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.62 * len(labels)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    panel = figure.subplots()
    picture = panel.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    panel.set_title(in_plot(title), fontsize=11)
    names = list(map(in_plot, labels))
    panel.set_xticks(
        range(len(names)), names, rotation=45 if len(labels) > 3 else 0, ha="right" if len(labels) > 3 else "center"
    )
    panel.set_yticks(range(len(names)), names)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true")
    for (row, column), count in np.ndenumerate(counts):
        colour = "black" if shares[row, column] > 0.55 else "white"
        panel.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(picture, ax=panel, label="share of the true class", shrink=0.8)
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
