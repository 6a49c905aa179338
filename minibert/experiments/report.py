"""Tables with means, standard deviations and paired differences, and their pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

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

    def number(self, value: float) -> str:
        return f"{100 * value if self.percent else value:,.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    values     for each column, the values over the seeds, of which some may still be missing (None)
    against    the label of the row that it is compared with; None for the first row
    """

    label: str
    values: tuple[tuple[float | None, ...], ...]
    against: str | None = None


@dataclass(frozen=True)
class Table:
    """The result of an experiment; rows are compared with the first one, unless they say otherwise."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

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
        return "\n".join(lines) + "\n"

    def line(self, label: str, cells: object) -> str:
        return f"| {label} | {' | '.join(cells)} |"  # type: ignore[arg-type]

    def draw(self, path: Path, title: str) -> None:
        """Draw each column as a panel: a dot for each seed, and the mean and standard deviation of each row."""
        from matplotlib.figure import Figure

        count = len(self.columns)
        figure = Figure(figsize=(2.2 + 2.3 * count, 1.4 + 0.42 * len(self.rows)), layout="constrained")
        figure.suptitle(title)
        panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
        heights = range(len(self.rows), 0, -1)
        for panel, column, number in zip(panels, self.columns, range(count), strict=True):
            for height, row in zip(heights, self.rows, strict=True):
                values = [value * (100 if column.percent else 1) for value in known(row.values[number])]
                panel.plot(values, [height] * len(values), "o", color="#9ecae1", markersize=4)
                if values:
                    panel.errorbar(mean(values), height, xerr=deviation(values), fmt="D", color="#08519c", capsize=3)
            panel.set_xlabel(column.title + (" (%)" if column.percent else ""))
            panel.grid(alpha=0.25, axis="x")
        panels[0].set_yticks(list(heights), [row.label for row in self.rows])
        panels[0].set_ylim(0.5, len(self.rows) + 0.5)
        write_file(path, lambda temporary: figure.savefig(temporary, format="png", dpi=110))


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
