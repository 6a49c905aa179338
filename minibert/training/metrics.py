"""The record of a run: metrics.jsonl, with one JSON object per line, and its plot, loss.png.

The kind of a line is "train" (one training step), "evaluation" (on held-out text) or "diverged" (the loss of a step was
NaN or infinite, which ended the run).
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from minibert.base.files import flush_to_disk, write_file, write_text
from minibert.base.markup import in_plot
from minibert.base.numbers import is_number
from minibert.training.checkpoints import is_count, no_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from minibert.training.systems import Target

FILE = "metrics.jsonl"
RAISED = "raised"  # the kind of the record of a run that was resumed with more steps
DIVERGED = "diverged"


class Metrics:
    """Appends to a run's metrics.jsonl."""

    def __init__(self, run: Path, step: int):
        """step: the number of steps done.  Lines of later steps, written before a crash, are dropped and rewritten."""
        self.path = run / FILE
        if self.path.exists():
            kept = [record for record in read_metrics(run) if record["step"] <= step]
            write_text(self.path, "".join(map(as_line, kept)))

    def write(self, kind: str, step: int, **values: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(as_line({"kind": kind, "step": step, **values}))

    def flush(self) -> None:
        """Flush the record to disk (fsync)."""
        flush_to_disk(self.path)
        flush_to_disk(self.path.parent)


def as_line(record: Mapping[str, Any]) -> str:
    """A record as a line of metrics.jsonl, with null for NaN and infinity, which JSON lacks."""
    lacking = {name: None for name, value in record.items() if isinstance(value, float) and not math.isfinite(value)}
    return json.dumps({**record, **lacking}, allow_nan=False) + "\n"


def read_metrics(run: Path | str) -> list[dict]:
    """The records in RUN/metrics.jsonl, without an incomplete last line that a crash left behind.

    Raises ValueError, naming the first of them, if other lines are damaged.
    """
    path = Path(run) / FILE
    *lines, last = path.read_bytes().split(b"\n")
    records, problems = [], []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                records.append(read_record(line))
        except ValueError as error:
            problems.append((number, str(error)))
    if problems:
        number, problem = problems[0]
        also = f" (and {len(problems) - 1} more lines)" if len(problems) > 1 else ""
        raise ValueError(f"{path}, line {number}: {problem}{also}; restore or delete the line to go on")
    with suppress(ValueError):  # a process that was killed has not written all of the last line
        records.append(read_record(last))
    return records


def read_record(line: bytes) -> dict[str, Any]:
    """The record in a line of metrics.jsonl.  Raises ValueError if it is damaged."""
    try:
        record = json.loads(line.decode("utf-8"), parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__}; expected an object")
    if not isinstance(record.get("kind"), str):
        raise ValueError(f"the kind is {record.get('kind')!r}; expected a string")
    if not is_count(record.get("step")):
        raise ValueError(f"the step is {record.get('step')!r}; expected an integer of at least 0")
    for name, value in record.items():
        if name != "kind" and not (value is None or is_number(value)):
            raise ValueError(f"{name} is {value!r}; expected a number or null")
    return record


COLOURS = {"training": "#2171b5", "held out": "#d94801", "baseline": "#555555"}
POINTS = 200  # number of points of each training curve; each point is the mean of consecutive steps


def plot_metrics(
    run: Path | str, title: str, targets: Sequence["Target"], baselines: dict[str, float] | None = None
) -> Path:
    """Draw RUN/loss.png from RUN/metrics.jsonl: a column for each target, with losses above and accuracies below.

    baselines: accuracies on the first target to draw as dashed lines, by name.
    """
    from matplotlib.figure import Figure  # matplotlib without pyplot opens no window and keeps no global state

    records = read_metrics(run)
    train = [record for record in records if record["kind"] == "train"]
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    figure = Figure(figsize=(5.5 * max(len(targets), 1.5), 7), layout="constrained")
    figure.suptitle(in_plot(title))
    panels = figure.subplots(2, len(targets), sharex=True, squeeze=False)
    figures = [item for target in targets for item in target.figures.items()]
    for panel, (key, name) in zip(panels.T.flat, figures, strict=True):
        scale = 100 if key.endswith("accuracy") else 1
        steps, values = averaged(*points(train, key, scale), max(len(train) // POINTS, 1))
        panel.plot(steps, values, color=COLOURS["training"], linewidth=1.2, label="training batches")
        steps, values = points(evaluations, key, scale)
        panel.plot(steps, values, "o-", color=COLOURS["held out"], markersize=4, label="held-out documents")
        panel.set_ylabel(name)
        panel.grid(alpha=0.25)
        mark_lengths(panel, train)
    for name, accuracy in (baselines or {}).items():
        panels[1, 0].axhline(100 * accuracy, color=COLOURS["baseline"], linestyle="--", linewidth=1)
        panels[1, 0].annotate(
            f"{name} {100 * accuracy:.1f} %",
            (0.99, 100 * accuracy - 0.4),  # below the line, since any model that learns ends above it
            xycoords=("axes fraction", "data"),
            ha="right",
            va="top",
            fontsize=8,
            color=COLOURS["baseline"],
        )
    for panel in panels[1]:
        panel.set_xlabel("step")
    panels[0, 0].legend(loc="upper right", fontsize=9)
    path = Path(run) / "loss.png"
    write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))
    return path


def points(records: Sequence[dict], key: str, scale: float) -> tuple[list[float], list[float]]:
    """The steps and values of the records that contain `key`."""
    chosen = [record for record in records if record.get(key) is not None]
    return [record["step"] for record in chosen], [scale * record[key] for record in chosen]


def averaged(steps: Sequence[float], values: Sequence[float], width: int) -> tuple[list[float], list[float]]:
    """The means of the steps and of the values of every `width` consecutive points."""
    starts = range(0, len(values), width)
    return [mean(steps[i : i + width]) for i in starts], [mean(values[i : i + width]) for i in starts]


def mark_lengths(panel: "Axes", train: Sequence[dict]) -> None:
    """Draw a labelled vertical line at each step where the sequence length changes."""
    for before, after in zip(train, train[1:], strict=False):
        if before.get("length") != (length := after.get("length")):
            panel.axvline(before["step"], color="#999999", linewidth=0.8, linestyle=":")
            panel.annotate(
                f" length {length}",
                (before["step"], 0.02),
                xycoords=("data", "axes fraction"),
                va="bottom",
                fontsize=8,
                color="#555555",
            )
