"""The project's targets on the CPU, measured: minibert against transformers with PyTorch, on the same machine.

    python benchmarks/targets.py --times 3

Each row is measured as a whole that many times, as `minibert bench` does it, with the contenders in turns; the
median of these measurements is printed, with the smallest and the largest.  PyTorch's contenders that were more
than a tenth slower than the best of their family in the first measurement are left out of the others.  It takes half an
hour or more: let nothing else run meanwhile.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from minibert.bench import peers
from minibert.commands.bench import BenchConfig, run


@dataclass(frozen=True)
class Row:
    """A workload and its targets."""

    name: str
    options: dict
    """Fields of a BenchConfig."""
    targets: dict[str, float]
    """family -> how many times as fast as the best of it minibert must be; "sgemm" -> share of the sgemm rate that a
    whole step must reach"""


ROWS = {
    "mini-8192": Row("training, mini, vocabulary 8,192", dict(size="mini"), {"stock": 2.0, "tuned": 1.2}),
    "mini-30522": Row(
        "training, mini, vocabulary 30,522", dict(size="mini", vocab_size=30522), {"stock": 3.0, "tuned": 1.2}
    ),
    "small-30522": Row(
        "training, small, vocabulary 30,522",
        dict(size="small", vocab_size=30522),
        {"stock": 2.0, "tuned": 1.1, "sgemm": 0.7},
    ),
    "inference": Row("inference, MiniLM's shape", dict(inference=True), {"stock": 1.5, "sorted": 0.75}),
}

LABELS = {
    "stock": "times as fast as stock PyTorch",
    "tuned": "times as fast as tuned PyTorch",
    "sorted": "times as fast as PyTorch on sorted sentences",
    "sgemm": "of the sgemm rate, over the whole step",
}


def main() -> int:
    options = arguments()
    if missing := peers.missing():
        print(f'targets.py: {", ".join(missing)} not installed: pip install -e ".[peers]"', file=sys.stderr)
        return 2
    reports = {name: [] for name in options.rows}
    contenders = {}
    for time in range(options.times):
        for name in options.rows:
            print(f"{time + 1} of {options.times}: {ROWS[name].name}", file=sys.stderr)
            config = BenchConfig(**ROWS[name].options, threads=options.threads, repeats=options.repeats)
            reports[name].append(run(config, contenders.get(name)))
            contenders.setdefault(name, good_contenders(reports[name][0]))
            if options.json:  # after each measurement, since an hour's work may be interrupted
                options.json.write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    print(as_markdown(reports))
    return 0


def good_contenders(report: dict) -> list[str]:
    """minibert, and the members of each PyTorch family that are at most a tenth slower than its best."""
    names = [report["first"]]
    for family, best in report["best"].items():
        members = peers.FAMILIES[report["workload"]["kind"]][family]
        there = [name for name in members if name in report["contenders"]]
        names += [name for name in there if report["contenders"][name]["ratio"] <= 1.1 * best["ratio"]]
    return names


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=positive, default=3, help="measurements of each row (default: 3)")
    parser.add_argument("--repeats", type=positive, default=5, help="turns in a measurement (default: 5)")
    parser.add_argument("--threads", type=positive, help="of each contender (default: all cores)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="which rows (default: all)")
    parser.add_argument("--json", type=Path, help="write all reports to this file too")
    return parser.parse_args()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, given {number}")
    return number


def as_markdown(reports: dict[str, list[dict]]) -> str:
    """The table, for a page of documentation.  reports: the measurements of each row."""
    machine = next(iter(reports.values()))[0]["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    lines = [
        f"{machine['processor']}, {machine['threads']} threads, {machine['system']}",
        f"({versions}; BLAS {machine['blas']})",
        "",
        "| workload | speed | figure | measured (range) | target | reached |",
        "|---|---|---|---|---|---|",
    ]
    for name, of_row in reports.items():
        first, unit = of_row[0]["first"], of_row[0]["workload"]["unit"]
        speed = median(report["contenders"][first]["per_second"] for report in of_row)
        for figure, target in ROWS[name].targets.items():
            values = [value_of(report, figure) for report in of_row]
            lines.append(
                f"| {ROWS[name].name} | {speed:,.0f} {unit}/s | {LABELS[figure]} | {shown(values, figure)} | "
                f"{as_figure(target, figure)} | {verdict(values, target)} |"
            )
    return "\n".join(lines)


def value_of(report: dict, figure: str) -> float | None:
    """The measured figure; None if no contender of the family ran."""
    if figure == "sgemm":
        return report["step"]["share_of_sgemm"]
    return report["best"][figure]["ratio"] if figure in report["best"] else None


def shown(values: list[float | None], figure: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "not measured"
    low, middle, high = (as_figure(value, figure) for value in (min(known), median(known), max(known)))
    return f"{middle} ({low} to {high})"


def as_figure(value: float, figure: str) -> str:
    return f"{value:.0%}" if figure == "sgemm" else f"{value:.2f}"


def verdict(values: list[float | None], target: float) -> str:
    known = [value for value in values if value is not None]
    return "-" if not known else "yes" if median(known) >= target else "no"


if __name__ == "__main__":
    sys.exit(main())
