"""Trains the twenty tiny models of project 2, ten with a bug and ten without, and stores their curves.

    python scripts/make_broken_runs.py              # all: two minutes
    python scripts/make_broken_runs.py run_7        # some

Writes lessons/data/broken_runs.json: run -> "healthy" or "broken" -> quantity -> [x, y].  The bugs are those of
minibert/exercises/broken.py, the code that the project hands out.  Run 7 has a third model, in 32 bits.
"""

import argparse
import json
import math
from pathlib import Path

from minibert.exercises import EXERCISES, broken, tiny_runs

PATH = Path(__file__).resolve().parent.parent / "lessons" / "data" / "broken_runs.json"
DIGITS = 5  # that are stored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of runs; by default all")
    options = parser.parse_args()
    names = options.names or list(tiny_runs.RUNS)
    stored = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    for name in names:
        stored[name] = curves_of(name)
        print(name, flush=True)
    stored = {name: stored[name] for name in tiny_runs.RUNS if name in stored}
    lines = [f"{json.dumps(name)}: {json.dumps(curves)}" for name, curves in stored.items()]
    PATH.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


def curves_of(name: str) -> dict:
    exercise = EXERCISES[name]
    healthy = exercise.shown or exercise.solution
    with_bug = getattr(broken, healthy.__name__)
    found = {"healthy": rounded(tiny_runs.run(name, healthy)), "broken": rounded(tiny_runs.run(name, with_bug))}
    if name == "run_7":
        found["broken, in 32 bits"] = rounded(tiny_runs.with_peak(with_bug, precision="float32"))
    return found


def rounded(curves: tuple[list, list]) -> dict:
    """Curves for JSON: few digits, and None for what is not finite."""
    return {
        quantity: [x, [float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in y]]
        for quantity, (x, y) in curves.items()
    }


if __name__ == "__main__":
    main()
