"""Plots of the memory that a kernel's threads read and write, from the emulator's trace."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minibert.emulator.trace import Access
from minibert.pictures.style import BLUE, ORANGE, figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_accesses(accesses: Sequence[Access], title: str, names: dict | None = None, most: int = 64) -> "Figure":
    """Plot a dot for each element that a thread read or wrote, with threads on the y-axis and elements on the x-axis.

    accesses: the result of `Kernel.trace`; names: labels for arrays, keyed by an array's number or by the name of a
    shared array; most: the maximum number of elements to show per array.  Returns a matplotlib figure.
    """
    arrays = list(dict.fromkeys((a.space, a.array) for a in accesses))
    made, axes = figure(1, len(arrays), width=min(2 + 3.2 * len(arrays), 12), height=3.6, squeeze=False)
    threads = max((number(a, accesses) for a in accesses), default=0)
    with style():
        for panel, (space, array) in zip(axes[0], arrays, strict=True):
            here = [a for a in accesses if (a.space, a.array) == (space, array) and a.element < most]
            most_seen = max((a.element for a in here), default=0)
            for action, colour, marker, size in (("read", BLUE, "o", 26), ("write", ORANGE, "x", 60)):
                dots = sorted({(a.element, number(a, accesses)) for a in here if a.action == action})
                if dots:
                    x, y = np.array(dots).T
                    panel.scatter(x, y, size, color=colour, marker=marker, label=action, linewidths=1.2)
            panel.set_xlim(-0.7, max(most_seen, 1) + 0.7)
            panel.set_ylim(-0.7, threads + 0.7)
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.yaxis.get_major_locator().set_params(integer=True)
            panel.set_title(f"{(names or {}).get(array, array)} ({space})")
            panel.set_xlabel("element")
            panel.set_ylabel("thread (all blocks in sequence)")
            panel.legend(loc="best")
        made.suptitle(title)
    return made


def number(access: Access, accesses: Sequence[Access]) -> int:
    """The index of the accessing thread within the whole grid, which must be one-dimensional."""
    threads = max(a.thread[0] for a in accesses) + 1
    return access.block[0] * threads + access.thread[0]
