"""The style of all plots: colours suitable for colour-blind readers, and sizes that are legible on a web page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito 2008: eight colours that can be distinguished with any kind of colour vision
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000",
)  # fmt: skip
COLOURS = BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, BLACK
SEQUENTIAL = "cividis"  # dark blue to yellow; perceptually uniform, also for colour-blind readers


@contextmanager
def style() -> Iterator[None]:
    """A context manager that applies minibert's plot style to matplotlib within the block."""
    import matplotlib
    from cycler import cycler

    settings: Any = {
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.labelsize": 10,
        "font.size": 9,
        "legend.frameon": False,
        "figure.dpi": 110,
        "savefig.dpi": 110,
        "figure.constrained_layout.use": True,
        "text.usetex": False,
    }
    with matplotlib.rc_context(settings):
        yield


def figure(
    rows: int = 1, columns: int = 1, width: float = 8, height: float = 3.5, **options: Any
) -> tuple["Figure", Any]:
    """A new figure in minibert's plot style, and its axes; it opens no window.  width, height: in inches."""
    from matplotlib.figure import Figure

    with style():
        made = Figure(figsize=(width, height))
        return made, made.subplots(rows, columns, **options)
