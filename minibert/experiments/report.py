"""Tables with means, standard deviations and paired differences, and their pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from minibert.base.files import write_file

# 97.5 % quantiles of Student's t distribution, by degrees of freedom (Student 1908; any table of statistics)
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
     2.110, 2.101, 2.093, 2.086)  # fmt: skip
UNKNOWN = "…"


@dataclass(frozen=True)
class Column:
    """A column: its title, and how its numbers are written."""

    title: str
    percent: bool = False
    digits: int = 1

    @property
    def label(self) -> str:
        """The title with the unit."""
        return self.title + (" (%)" if self.percent else "")

    def number(self, value: float) -> str:
        return f"{100 * value if self.percent else value:,.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    values     for each column, the values over the seeds, of which some may still be missing (None)
    against    the label of the row that it is compared with; None for the first row
    point      the curve to which it belongs and its x, if the table is drawn as curves
    """

    label: str
    values: tuple[tuple[float | None, ...], ...]
    against: str | None = None
    point: tuple[str, float] | None = None


@dataclass(frozen=True)
class Table:
    """The result of an experiment; rows are compared with the first one, unless they say otherwise.

    notes    sentences below the table
    x        the name of the x axis if the rows are points of curves
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    x: str | None = None

    @property
    def is_complete(self) -> bool:
        return all(value is not None for row in self.rows for values in row.values for value in values)

    def markdown(self) -> str:
        """Means and standard deviations, then the differences between rows with their 95 % intervals."""
        head = [
            f"| | {' | '.join(column.title for column in self.columns)} |",
            f"|---|{'---|' * len(self.columns)}",
        ]
        lines = [*head, *(self.line(row.label, map(spread, self.columns, row.values)) for row in self.rows)]
        by_label, first = {row.label: row for row in self.rows}, self.rows[0]
        pairs = [(row, by_label[row.against or first.label]) for row in self.rows]
        pairs = [(row, other) for row, other in pairs if row is not other]
        if pairs:
            lines += ["", "Differences over the same seeds, with 95 % intervals:", "", *head]
        for row, other in pairs:
            compared = map(difference, self.columns, row.values, other.values)
            lines.append(self.line(f"{row.label}, less {other.label}", compared))
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def line(self, label: str, cells: object) -> str:
        return f"| {label} | {' | '.join(cells)} |"  # type: ignore[arg-type]

    def draw(self, path: Path, title: str) -> None:
        """Draw each column as a panel: a dot for each seed, and the mean and standard deviation of each row."""
        from matplotlib.figure import Figure

        count = len(self.columns)
        size = (2.2 + 2.3 * count, 1.4 + 0.42 * len(self.rows)) if self.x is None else (1 + 5 * count, 4)
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(1, count, sharey=self.x is None, squeeze=False)[0]
        for number, panel in enumerate(panels):
            if self.x is None:
                self.draw_rows(panel, number)
            else:
                self.draw_curves(panel, number)
        if self.x is None:
            panels[0].set_yticks(*self.heights)
        elif any(known(values) for row in self.rows for values in row.values):
            panels[0].legend()
        write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))

    @property
    def heights(self) -> tuple[list[int], list[str]]:
        """The height of each row in the picture, from the top, and its label."""
        return list(range(len(self.rows), 0, -1)), [row.label for row in self.rows]

    def draw_rows(self, panel: Any, number: int) -> None:
        """Draw a column as dots, one row below the other."""
        for height, row in zip(self.heights[0], self.rows, strict=True):
            values = self.shown(row, number)
            panel.plot(values, [height] * len(values), "o", color="#9ecae1", markersize=4)
            if values:
                panel.errorbar(mean(values), height, xerr=deviation(values), fmt="D", color="#08519c", capsize=3)
        panel.set_ylim(0.5, len(self.rows) + 0.5)
        panel.set_xlabel(self.columns[number].label)
        panel.grid(alpha=0.25, axis="x")

    def draw_curves(self, panel: Any, number: int) -> None:
        """Draw a column as curves through the means."""
        curves: dict[str, list[tuple[float, list[float]]]] = {}
        for row in self.rows:
            if row.point is not None and (values := self.shown(row, number)):
                curves.setdefault(row.point[0], []).append((row.point[1], values))
        for colour, (name, points) in zip(("#08519c", "#d94801", "#238b45"), curves.items(), strict=False):
            for x, values in points:
                panel.plot([x] * len(values), values, "o", color=colour, markersize=3, alpha=0.4)
            xs, groups = zip(*points, strict=True)
            deviations = [deviation(values) for values in groups]
            panel.errorbar(xs, [mean(values) for values in groups], deviations, color=colour, capsize=3, label=name)
        panel.set_xlabel(self.x)
        panel.set_ylabel(self.columns[number].label)
        panel.grid(alpha=0.25)

    def shown(self, row: Row, number: int) -> list[float]:
        """The values of a row that are known, as they are shown."""
        return [value * (100 if self.columns[number].percent else 1) for value in known(row.values[number])]


def known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample, 0 for a single value."""
    return stdev(values) if len(values) > 1 else 0.0


def spread(column: Column, values: Sequence[float | None]) -> str:
    """The mean and standard deviation of one cell of a table, in words."""
    if len(found := known(values)) < len(values) or not found:
        return UNKNOWN
    if len(set(found)) == 1:
        return column.number(found[0])
    return f"{column.number(mean(found))} ± {column.number(deviation(found))}"


def difference(column: Column, values: Sequence[float | None], first: Sequence[float | None]) -> str:
    """The mean of the paired differences, and its 95 % interval, in words."""
    if not values or not first or None in values or None in first:
        return UNKNOWN
    low, middle, high = interval([a - b for a, b in zip(known(values), known(first), strict=True)])
    if low == high:
        return signed(column, middle)
    return f"{signed(column, middle)} [{signed(column, low)}, {signed(column, high)}]"


def share(values: Sequence[float | None], whole: Sequence[float | None]) -> str:
    """The mean over the seeds of values / whole, with its 95 % interval, in words."""
    if not values or None in values or None in whole:
        return UNKNOWN
    low, middle, high = interval([a / b for a, b in zip(known(values), known(whole), strict=True)])
    return f"{middle:.1%}" if low == high else f"{middle:.1%} [{low:.1%}, {high:.1%}]"


def signed(column: Column, value: float) -> str:
    return ("+" if value >= 0 else "−") + column.number(abs(value))


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """The lower end of a 95 % interval of the mean, the mean, and the upper end; by Student's t distribution.

    A single difference has no interval: all three are equal.
    """
    middle, count = mean(differences), len(differences)
    if count == 1:
        return middle, middle, middle
    quantile = T[min(count - 2, len(T) - 1)]  # beyond the table: slightly too wide
    half = quantile * deviation(differences) / math.sqrt(count)
    return middle - half, middle, middle + half
