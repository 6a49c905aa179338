"""Draws the stored curves of project 2's runs, and those of a repaired one."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from minibert.exercises.tiny_runs import RUNS, WORDS, lowest_loss, run
from minibert.pictures.two_runs import plot_two_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = Path("data") / "broken_runs.json"  # in the folder of the lessons
REPORTED, HELD_OUT = ("step", "training loss, nats"), ("step", "held-out loss, nats")
PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "run_1": {"reported": REPORTED, "held out": HELD_OUT},
    "run_2": {"reported": REPORTED, "held out": HELD_OUT},
    "run_3": {"reported": REPORTED, "norm": ("step", "norm of the gradient")},
    "run_4": {"reported": REPORTED, "padded": ("longest sequence in the batch, tokens", "held-out loss, nats")},
    "run_5": {"reported": REPORTED, "pairs": ("step", "share of held-out pairs right")},
    "run_6": {
        "reported": REPORTED,
        "held out": HELD_OUT,
        "again": ("number of the evaluation, same weights", "held-out loss, nats"),
    },
    "run_7": {"reported": REPORTED, "scale": ("step", "loss scale")},
    "run_8": {"reported": REPORTED, "layer norms": ("step", "mean weight of the layer norms")},
    "run_9": {"reported": ("epoch", "training loss, nats"), "held out": ("epoch", "held-out loss, nats")},
    "run_10": {"reported": REPORTED, "unknown": ("step", "share of unknown pieces")},
}
NOTHING, LOWEST = f"knows nothing: ln {WORDS}", "no model is below"
LEVELS = {"run_2": (LOWEST,), "run_3": (NOTHING,), "run_7": (NOTHING,), "run_9": (LOWEST,), "run_10": (NOTHING,)}
LOGARITHMIC = {"run_7": {"reported": 10, "scale": 2}}


def plot_run(name: str, yours: Callable | None = None, stored: Path | str = CURVES) -> "Figure":
    """The curves of a run and of the healthy one beside it; returns a matplotlib figure.

    yours: your repair, with which the model is trained now.  Raises ValueError if there is no such run, and
    FileNotFoundError outside the folder of the lessons.
    """
    if name not in RUNS:
        raise ValueError(f"there is no run {name!r}; choose one of {', '.join(RUNS)}")
    if not Path(stored).is_file():
        raise FileNotFoundError(
            f"{stored} is not in {Path().resolve()}; open the notebook in the folder of the lessons"
        )
    runs = json.loads(Path(stored).read_text(encoding="utf-8"))[name]
    if yours is not None:
        runs = {"healthy": runs["healthy"], "broken": runs["broken"], "yours": run(name, yours)}
    values = {NOTHING: math.log(WORDS), LOWEST: lowest_loss()}
    levels = {level: values[level] for level in LEVELS.get(name, ())}
    title = f"Run {name.removeprefix('run_')}"
    return plot_two_runs(runs, PANELS[name], title, levels, LOGARITHMIC.get(name, {}))
